"""Probes of datasets: tar files of WebDataset, and folders of Hugging Face's library."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from pydantic import TypeAdapter

from runner.config.probe_config import ProbeConfig
from runner.errors import InputError
from runner.probe.batch import Batch
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.tensors import InputSpec

X = np.arange(30, dtype="float32").reshape(10, 3)


def opened(*shape: int, **config: Any) -> Probe:
    expected = [InputSpec("input", shape, "float32")] if shape else []
    return open_probe(TypeAdapter(ProbeConfig).validate_python(config), expected)


def whole(*shape: int, **config: Any) -> Batch:
    [batch] = opened(*shape, **config).batches(1000)
    return batch


def tar(name: str, files: dict[str, bytes], mode: Any = "w") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    with tarfile.open(name, mode) as archive:
        for each, data in files.items():
            info = tarfile.TarInfo(each)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(value: int, size: tuple[int, int] = (2, 2)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shards(names: tuple[str, ...] = ("t/0.tar", "t/1.tar.gz")) -> None:
    for shard, name in enumerate(names):
        files = {}
        for row in range(5 * shard, 5 * shard + 5):
            files[f"./a/{row:03}.x.npy"] = npy(X[row])
            files[f"./a/{row:03}.cls"] = b"%d\n" % (row % 3)
            files[f"./a/{row:03}.json"] = json.dumps({"kind": f"k{row % 2}"}).encode()
        tar(name, files, "w:gz" if name.endswith("gz") else "w")


def test_tar_files_are_samples_by_their_keys() -> None:
    shards()
    Path("t/notes.txt").write_text("not a tar file")
    batch = whole(3, source="webdataset", path="t")
    assert batch.samples.tolist() == [f"a/{row:03}" for row in range(10)]
    np.testing.assert_array_equal(batch.inputs, X)
    assert batch.labels is not None
    assert batch.labels.tolist() == [row % 3 for row in range(10)]
    batch = whole(3, source="webdataset", path="t/1.tar.gz", label_key="kind")
    assert batch.labels is not None
    assert batch.labels.tolist() == ["k1", "k0", "k1", "k0", "k1"]


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 2, 3), ()])
def test_pictures_in_tar_files_are_those_of_a_folder(shape: tuple[int, ...]) -> None:
    Path("folder").mkdir()
    files = {f"{row}.png": png(40 * row) for row in range(6)}
    for name, data in files.items():
        (Path("folder") / name).write_bytes(data)
    tar("p.tar", {**files, "6.png": png(250, (2, 2))})
    (Path("folder") / "6.png").write_bytes(png(250))
    found = whole(*shape, source="webdataset", path="p.tar")
    expected = whole(*shape, source="images", path="folder")
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    assert [f"{key}.png" for key in found.samples] == expected.samples.tolist()


def test_what_libraries_write_is_read() -> None:
    webdataset = pytest.importorskip("webdataset")
    datasets = pytest.importorskip("datasets")
    with webdataset.ShardWriter("t-%03d.tar", maxcount=4, verbose=0) as writer:
        for row in range(10):
            writer.write({"__key__": f"{row:03}", "npy": X[row], "cls": row % 2})
    Path("t").mkdir()
    for path in Path().glob("*.tar"):
        path.rename(Path("t") / path.name)
    np.testing.assert_array_equal(whole(3, source="webdataset", path="t").inputs, X)
    ids, labels = [f"s{row}" for row in range(10)], [row % 2 for row in range(10)]
    columns = {"id": ids, "x": X, "label": labels}
    made = datasets.Dataset.from_dict(columns)
    made.save_to_disk("d", num_shards=3)
    datasets.DatasetDict({"train": made, "test": made.select([3, 1])}).save_to_disk("splits")
    batch = whole(3, source="huggingface", path="d")
    np.testing.assert_array_equal(batch.inputs, X)
    assert batch.samples.tolist() == ids
    assert batch.labels is not None
    assert batch.labels.tolist() == labels
    picked = whole(3, source="huggingface", path="splits", split="test")
    np.testing.assert_array_equal(picked.inputs, X[[3, 1]])


def test_an_input_or_a_size_that_is_not_clear_is_asked_for() -> None:
    tar("two.tar", {"0.a.npy": npy(X[0]), "0.b.npy": npy(X[1])})
    with pytest.raises(InputError, match=r"one picture or \.npy file in a .* a\.npy, b\.npy"):
        opened(3, source="webdataset", path="two.tar")
    np.testing.assert_array_equal(
        whole(3, source="webdataset", path="two.tar", input="b.npy").inputs, X[1:2]
    )
    tar("sizes.tar", {"0.png": png(1), "1.png": png(1, (3, 2))})
    with pytest.raises(InputError, match=r"sizes\.tar/1\.png: .* 2 x 2, 2 x 3; set probe\.size"):
        whole(source="webdataset", path="sizes.tar")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"0.npy": npy(X[0]), "1.cls": b"1"}, r"t\.tar/1\.npy: there is no such file"),
        ({"0.npy": npy(X[0]), "1.npy": npy(X[:2])}, r"1\.npy: has the shape 2 x 3, others 3"),
        ({"0.npy": b"what"}, r"t\.tar/0\.npy is not an \.npy array"),
        ({"0.npy": npy(X[0]) + bytes(2000)}, r"t\.tar/0\.npy: has 2\.1 kB, the limit is 2\.0 kB"),
        ({"0.png": png(1)[:50]}, r"t\.tar/0\.png: cannot be read as a picture: "),
        ({"0.pkl": b"\x80\x04"}, r"expected one picture or \.npy file"),
        ({"notes": b""}, r"t\.tar holds no samples"),
        ({"0.npy": npy(X[0]), "0.cls": b"\xff"}, r"0\.cls: is not UTF-8"),
    ],
)
def test_a_sample_that_cannot_be_shown_is_named(files: dict[str, bytes], said: str) -> None:
    tar("t.tar", files)
    with pytest.raises(InputError, match=said):
        whole(*([] if "0.png" in files else [3]), source="webdataset", path="t.tar", max_bytes=2000)


def header(**changes: Any) -> bytes:
    info = tarfile.TarInfo("0.npy")
    for name, value in changes.items():
        setattr(info, name, value)
    return info.tobuf()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "neither a file nor a folder"),
        (header(type=tarfile.LNKTYPE, linkname="a"), "neither a file nor a folder"),
        (header(type=tarfile.CHRTYPE), "neither a file nor a folder"),
        (header(type=tarfile.GNUTYPE_SPARSE), "neither a file nor a folder"),
        (header(size=2**40), "unexpected end of data"),
        (header(size=10**6), "unexpected end of data"),
        (header(type=tarfile.XHDTYPE, size=10**9), "the header of a file is damaged"),
        (header(type=tarfile.GNUTYPE_LONGNAME, size=10**9), "the header of a file is damaged"),
        (header(size=-512), "is damaged, or no tar file"),
        (header(type=tarfile.XHDTYPE, size=-512), "is damaged, or no tar file"),
        (header(type=tarfile.XHDTYPE) * 3000, "is damaged, or no tar file"),
        (header(type=tarfile.XHDTYPE, size=25) + b"9" * 20 + b" a=b\n" + bytes(487), "is damaged"),
        (b"", "is damaged, or no tar file"),
        (b"some text", "is damaged, or no tar file: .*; it is a text file"),
    ],
)
def test_a_tar_file_made_to_harm_is_refused_in_one_line(content: bytes, said: str) -> None:
    Path("t.tar").write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        whole(3, source="webdataset", path="t.tar")
    assert "\n" not in str(refused.value)


def test_a_tar_file_that_unpacks_to_far_more_than_its_size_is_refused() -> None:
    tar("t.tar.gz", {"0.npy": npy(X[0]), "0.txt": bytes(2**26)}, "w:gz")
    with pytest.raises(InputError, match=r"t\.tar\.gz has .* and unpacks to more than 67\.1 MB"):
        whole(3, source="webdataset", path="t.tar.gz")


def saved(
    folder: str, *tables: pa.Table, names: list[Any] | None = None, rows: int = 2, **options: Any
) -> None:
    Path(folder).mkdir(parents=True)
    files = [f"data-{n:05}-of-{len(tables):05}.arrow" for n in range(len(tables))]
    for name, table in zip(files, tables, strict=True):
        with pa.ipc.new_stream(f"{folder}/{name}", table.schema, **options) as writer:
            writer.write_table(table, max_chunksize=rows)
    state = {"_data_files": [{"filename": name} for name in names or files]}
    (Path(folder) / "state.json").write_text(json.dumps(state))
    (Path(folder) / "dataset_info.json").write_text("{}")


def dataset(rows: slice = slice(None)) -> pa.Table:
    ids = [f"s{row}" for row in range(10)][rows]
    return pa.table({"id": ids, "x": [*X[rows]], "label": [*range(10)][rows]})


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_dataset_is_one_table(kind: str) -> None:
    if kind == "arrow":
        saved("d", dataset(slice(4)), dataset(slice(4, 10)))
    else:
        Path("d/data").mkdir(parents=True)
        for part, rows in enumerate((slice(4), slice(4, 10))):
            name = f"d/data/train-{part:05}-of-00002.parquet"
            pa.parquet.write_table(dataset(rows), name)
    batch = whole(3, source="huggingface", path="d")
    np.testing.assert_array_equal(batch.inputs, X)
    assert batch.samples.tolist() == [f"s{row}" for row in range(10)]
    assert batch.labels is not None
    assert batch.labels.tolist() == [*range(10)]


def test_a_split_is_named() -> None:
    for split in ("test", "train"):
        saved(f"d/{split}", dataset())
    (Path("d") / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(InputError, match=r"probe\.split: 'd' holds the splits test, train"):
        opened(3, source="huggingface", path="d")
    with pytest.raises(InputError, match=r"no split 'tran'; did you mean 'train'\?"):
        opened(3, source="huggingface", path="d", split="tran")
    assert len(whole(3, source="huggingface", path="d", split="test").inputs) == 10


def test_a_folder_without_a_dataset_or_with_half_of_one_is_refused() -> None:
    Path("none").mkdir()
    with pytest.raises(InputError, match=r"'none' holds no dataset; give a folder that Dataset\."):
        opened(3, source="huggingface", path="none")
    saved("lost", dataset(), names=["../other/data.arrow"])
    with pytest.raises(InputError, match=r"'lost' has no file '\.\./other/data\.arrow', which its"):
        opened(3, source="huggingface", path="lost")
    saved("odd", dataset(), dataset().drop_columns("label"))
    with pytest.raises(InputError, match="has other columns, or other types, than"):
        opened(3, source="huggingface", path="odd")
    for number, text in enumerate(["", "[]", '{"_data_files": [1]}', "[" * 100_000]):
        saved(f"bad{number}", dataset())
        (Path(f"bad{number}") / "state.json").write_text(text)
        with pytest.raises(InputError, match=r"state\.json does not name the files of a dataset"):
            opened(3, source="huggingface", path=f"bad{number}")


def test_an_arrow_stream_made_to_harm_is_refused_in_one_line() -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    saved("zipped", dataset(), options=options)
    with pytest.raises(InputError, match="it is compressed"):
        whole(3, source="huggingface", path="zipped")
    codes = dataset().set_column(0, "id", pa.array(["a", "b"] * 5).dictionary_encode())
    saved("coded", codes)
    with pytest.raises(InputError, match="it holds dictionaries"):
        whole(3, source="huggingface", path="coded")
    saved("large", dataset())
    with pytest.raises(InputError, match=r"probe\.max_bytes: .* a batch has .* the limit is 50 B"):
        whole(3, source="huggingface", path="large", max_bytes=50)
    saved("nulls", pa.table({"x": pa.nulls(12345)}), rows=12345)
    [path] = Path("nulls").glob("*.arrow")
    rows, more = ((count).to_bytes(8, "little") for count in (12345, 2**40))
    path.write_bytes(path.read_bytes().replace(rows, more))
    with pytest.raises(InputError, match="unpacks to 1,099,511,627,776 samples"):
        whole(1, source="huggingface", path="nulls", allow_nan=True)


def labelled(values: pa.Array, **config: Any) -> Batch:
    saved("d", pa.table({"x": [[1.0]] * len(values), "q": values}), rows=len(values))
    return whole(1, source="huggingface", path="d", label_column="q", **config)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()])
def test_texts_are_read_from_views_of_them(kind: pa.DataType) -> None:
    texts = ["a", "a text of more than 12 bytes", ""]
    assert [*labelled(pa.array(texts, kind)).labels] == texts


def test_one_column_may_be_ids_and_labels() -> None:
    batch = labelled(pa.array(["a", "b"]), id_column="q")
    assert [*batch.samples] == [*batch.labels] == ["a", "b"]


def views(text: str, count: int) -> pa.Array:
    """Return many views of one text."""
    _, view, *held = pa.array([text], pa.string_view()).buffers()
    return pa.Array.from_buffers(
        pa.string_view(), count, [None, pa.py_buffer(view.to_pybytes()[:16] * count), *held]
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([2**62], pa.timestamp("s")), "holds a timestamp[s] that is out of range"),
        (views("y" * 20_000, 1), "column 'q': a text of 20.0 kB is not an id or label"),
        (
            views("y" * 9_000, 3_000),
            "the first 3,000 values of column 'q' take 27.0 MB, the limit is 1.0 MB",
        ),
    ],
)
def test_values_that_are_no_labels_are_refused(values: pa.Array, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        labelled(values, max_bytes=1_000_000)


@pytest.mark.filterwarnings("ignore:huggingface d")
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_dataset_is_refused_or_read(seed: int) -> None:
    """Bytes are changed at random: what is read has the rows, and nothing else is raised."""
    rng = np.random.default_rng(seed)
    saved("d", dataset())
    shards(("t.tar",))
    [arrow] = Path("d").glob("*.arrow")
    for path, config in (
        (arrow, {"source": "huggingface", "path": "d"}),
        (Path("t.tar"), {"source": "webdataset", "path": "t.tar"}),
    ):
        good = path.read_bytes()
        for _ in range(40):
            data = bytearray(good)
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(data[: rng.integers(len(data) // 2, 2 * len(data))])
            try:
                assert whole(3, **config, allow_nan=True).inputs.shape[1:] == (3,)
            except InputError:
                continue
