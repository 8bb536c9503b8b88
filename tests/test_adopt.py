"""Runs of tensors that were computed elsewhere."""

from __future__ import annotations

import importlib.util
import json
import pickle
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import layers

import runner
from runner.command_line.commands import main
from runner.converted_models.graph import unique
from runner.model.model_archive import weights_file

_rng = np.random.default_rng(0)
IDS = [f"s{row}" for row in range(5)]
X = _rng.normal(size=(5, 3)).astype(np.float32)
HIDDEN = _rng.normal(size=(5, 4)).astype(np.float32)
MAPS = _rng.normal(size=(5, 2, 2, 3)).astype(np.float32)


def test_adopted_tensors_are_compared_with_those_of_a_model() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="hidden")])
    mine = runner.save_run(model, X, "mine", sample_ids=IDS)
    same = runner.adopt_run("same", {"hidden": mine.array("hidden")}, sample_ids=IDS)
    found = runner.diff(mine, same, weights=False)
    assert [each.bitwise for each in found.tensors] == [True]
    assert found.facts == (("backend.name", "tensorflow", "adopted"),)
    assert same.record.backend is not None
    assert same.record.backend.name == "adopted"
    changed = mine.array("hidden") + np.float32(0.1)
    other = runner.adopt_run("other", {"theirs": changed}, sample_ids=IDS)
    assert [each.within for each in runner.diff(mine, other, align="order").compared][:1] == [False]
    assert runner.diff(same, other, align="order").facts == ()
    with pytest.raises(runner.InputError, match="the runs were shown different sample ids"):
        runner.diff(mine, runner.adopt_run("ids", {"hidden": changed}, sample_ids=IDS[::-1]))


def _write(kind: str) -> list[str]:
    """Write both tensors, and the ids, in a kind of file; return the arguments that name them."""
    whole: dict[str, Any] = {"hidden": HIDDEN, "block/maps": MAPS}
    if kind == "npz":
        np.savez("t.npz", **whole, ids=IDS)
        return ["t.npz"]
    Path("ids.txt").write_text("\n".join(IDS) + "\n")
    if kind == "npy":
        Path("all/block").mkdir(parents=True)
        np.save("all/hidden.npy", HIDDEN)
        np.save("all/block/maps.npy", MAPS)
        return ["all", "--ids", "ids.txt"]
    if kind == "h5":
        with h5py.File("t.h5", "w") as file:
            for name, array in whole.items():
                file.create_dataset(name, data=array, compression="gzip", fletcher32=True)
            file.create_dataset("sample_ids", data=IDS, compression="lzf")
        return ["t.h5"]
    if kind == "safetensors":
        from safetensors.numpy import save_file

        save_file(whole, "t.safetensors")
        return ["t.safetensors", "--ids", "ids.txt"]
    torch = pytest.importorskip("torch")
    nested = {"hidden": torch.from_numpy(HIDDEN), "block": {"maps": torch.from_numpy(MAPS)}}
    torch.save(nested, "t.pt")
    return ["t.pt", "--ids", "ids.txt"]


_HAS = {
    name: importlib.util.find_spec(name) is not None for name in ("safetensors", "torch", "zarr")
}


@pytest.mark.parametrize(
    "kind",
    [
        *("npy", "npz", "h5"),
        pytest.param(
            "safetensors",
            marks=pytest.mark.skipif(not _HAS["safetensors"], reason="needs safetensors"),
        ),
        pytest.param("pt", marks=pytest.mark.skipif(not _HAS["torch"], reason="needs PyTorch")),
    ],
)
def test_tensors_are_read_from_files(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adopt", *_write(kind), "--name", "theirs", "--output", "run"]) == 0
    assert "AdoptedTensors" in capsys.readouterr().out
    run = runner.open_run("run")
    assert run.record.name == "theirs"
    assert list(run.samples) == IDS
    assert sorted(each.name for each in run.record.tensors) == ["block/maps", "hidden"]
    assert np.array_equal(run.array("hidden"), HIDDEN)
    assert np.array_equal(run.array("block/maps"), MAPS)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (["none.npy"], "FILES: no file 'none.npy'"),
        (["a.txt"], "FILES: 'a.txt' is of an unknown kind; the kinds are .npy, .npz"),
        (["h.npy"], "sample_ids: are missing; give the ids of the run to compare with"),
        (["h.npy", "h.npy"], "FILES: 'h' is there twice"),
        (["h.npy", "--ids", "two.txt"], "tensors.h: has shape [5, 4], and there are 2 sample ids"),
        (["words.npy", "--ids", "ids.txt"], "tensors.words: expected numbers, found str"),
        (["pickled.npy", "--ids", "ids.txt"], "FILES: pickled.npy"),
        (["bad.h5", "--ids", "ids.txt"], "FILES: bad.h5 cannot be read"),
        (["linked.h5", "--ids", "ids.txt"], "FILES: 'a' in linked.h5 lies in other files"),
        (["empty", "--ids", "ids.txt"], "FILES: the folder 'empty' has no file of tensors"),
    ],
)
def test_a_mistake_is_one_line(
    files: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("h.npy", HIDDEN)
    np.save("words.npy", np.array(IDS))
    np.save("pickled.npy", np.array([{}] * 5, dtype=object), allow_pickle=True)
    Path("a.txt").write_text("1")
    Path("ids.txt").write_text("\n".join(IDS))
    Path("two.txt").write_text("a\nb")
    Path("bad.h5").write_bytes(b"\x89HDF nothing")
    Path("empty").mkdir()
    with h5py.File("linked.h5", "w") as file:
        file.create_dataset("a", (5,), "f4", external=[("/etc/passwd", 0, 20)])
    assert main(["adopt", *files]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}"), said
    assert len(said.splitlines()) == 1
    assert not Path("outputs").exists()


@pytest.mark.skipif(not _HAS["torch"], reason="needs PyTorch")
def test_no_code_in_a_file_of_pytorch_runs(capsys: pytest.CaptureFixture[str]) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path("evil").touch, ())

    Path("evil.pt").write_bytes(pickle.dumps(Evil()))
    Path("ids.txt").write_text("\n".join(IDS))
    assert main(["adopt", "evil.pt", "--ids", "ids.txt"]) == 2
    said = capsys.readouterr().err
    assert "FILES: evil.pt is a pickle of other things than tensors" in said
    assert "weights_only" not in said
    assert not Path("evil").exists()
    torch = pytest.importorskip("torch")
    torch.save({"a": Evil()}, "evil.pt")
    said = _refused(capsys, "evil.pt", "--ids", "ids.txt")
    assert "FILES: evil.pt holds " in said
    assert "save the tensors alone: torch.save(model.state_dict(), path)" in said
    assert not Path("evil").exists()


def _doubled() -> Any:
    """Return a mapping of few parts, each of which stands in two places."""
    torch = pytest.importorskip("torch")
    found: Any = {"t": torch.zeros(5, 2)}
    for _ in range(40):
        found = {"a": found, "b": found}
    return found


def _itself() -> Any:
    found: dict[str, Any] = {}
    found["itself"] = found
    return found


@pytest.mark.skipif(not _HAS["torch"], reason="needs PyTorch")
@pytest.mark.parametrize(
    ("make", "line"),
    [
        (_doubled, "t.pt holds more than 100,000 entries"),
        (_itself, "t.pt is nested too deeply, or has names that are too long"),
        (lambda: {"a" * 900: {"b" * 900: {}}}, "t.pt is nested too deeply, or has names"),
        (lambda: {"ids": [[1]]}, "'ids' in t.pt holds others than texts and integers"),
    ],
    ids=["doubled", "itself", "long", "ids"],
)
def test_mappings_of_pytorch_without_end_are_refused(
    make: Any, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    torch.save(make(), "t.pt")
    assert line in _refused(capsys, "t.pt")


@pytest.mark.skipif(not _HAS["torch"], reason="needs PyTorch")
def test_files_of_pytorch_before_version_1_6_are_read() -> None:
    torch = pytest.importorskip("torch")
    whole = {"hidden": torch.from_numpy(HIDDEN), "ids": tuple(IDS)}
    torch.save(whole, "t.pt", _use_new_zipfile_serialization=False)
    assert np.array_equal(_adopted("t.pt").array("hidden"), HIDDEN)


def test_an_array_of_hdf5_without_values_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("t.h5", "w") as file:
        file.create_dataset("a", data=h5py.Empty("f4"))
    assert "'a' in t.h5 is empty: it has no shape and no values" in _refused(capsys, "t.h5")


def _adopted(*words: str) -> runner.Run:
    assert main(["adopt", *words, "--output", "run"]) == 0
    return runner.open_run("run")


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line with which files are refused."""
    assert main(["adopt", *words]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert not Path("outputs").exists()
    return said


def test_tables_of_a_run_are_adopted() -> None:
    rest = [layers.ReLU(name="maps"), layers.Flatten(name="flatten")]
    model = keras.Sequential([keras.Input((2, 2, 3)), *rest])
    mine = runner.save_run(model, MAPS, "mine", sample_ids=IDS)
    files = [str(path) for path in Path("mine").rglob("*.parquet") if path.parent.name != "mine"]
    run = _adopted(*files)
    assert list(run.samples) == IDS
    assert np.array_equal(run.array("maps"), mine.array("maps"))
    assert np.array_equal(run.array("flatten"), mine.array("flatten"))
    assert run.tensor("maps").shape == (2, 2, 3)


def test_other_tables_are_adopted() -> None:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(MAPS.reshape(-1)), 12)
    table = pa.table({"id": IDS, "a": HIDDEN[:, 0], "b": HIDDEN[:, 1], "maps": lists})
    pq.write_table(table, "t.parquet", compression="zstd")
    run = _adopted("t.parquet")
    assert list(run.samples) == IDS
    assert np.array_equal(run.array("t"), HIDDEN[:, :2])
    assert np.array_equal(run.array("maps"), MAPS.reshape(5, 12))


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"x": ["a"] * 5}, "FILES: t.parquet: column 'x' holds string, not numbers"),
        ({"x": [1.0, None, 2, 3, 4]}, "FILES: t.parquet: column 'x', row 1: found an empty cell"),
        ({"x": [[1.0]] * 4 + [[1.0, 2.0]]}, "FILES: t.parquet: column 'x', row 4: 2 values"),
        ({"id": ["a", None] * 3, "x": [1.0] * 6}, "FILES: column 'id' has an empty cell"),
    ],
)
def test_a_table_that_is_no_tensor_is_one_line(
    columns: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table(columns), "t.parquet")
    assert _refused(capsys, "t.parquet").startswith(f"error: {line}")


def test_a_table_that_unpacks_to_far_more_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    group = pa.table({"x": np.zeros(1 << 22)})
    with pq.ParquetWriter("t.parquet", group.schema, compression="zstd") as writer:
        for _ in range(40):
            writer.write_table(group)
    assert "and declares 1.3 GB" in _refused(capsys, "t.parquet")


def test_files_of_other_ids_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("a.npz", a=HIDDEN, ids=IDS)
    np.savez("b.npz", b=HIDDEN, ids=IDS[::-1])
    assert "FILES: b.npz has other sample ids than a.npz" in _refused(capsys, "a.npz", "b.npz")


def test_a_run_and_a_pickle_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    runner.adopt_run("mine", {"hidden": HIDDEN}, sample_ids=IDS)
    assert "FILES: 'mine' is a run; compare it as it is" in _refused(capsys, "mine")
    Path("a.pkl").write_bytes(b"")
    assert "FILES: 'a.pkl' is a pickle, which can run code" in _refused(capsys, "a.pkl")


def test_texts_of_hdf5_that_are_all_one_long_text_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with h5py.File("a.h5", "w") as file:
        texts = file.create_dataset("ids", 3000, h5py.string_dtype())
        texts[0], texts[1:] = "a" * 100_000, "b"
        place = texts.id.get_offset()
    content = bytearray(Path("a.h5").read_bytes())
    content[place : place + 16 * 3000] = content[place : place + 16] * 3000  # 16 bytes each
    Path("a.h5").write_bytes(content)
    assert "FILES: a.h5 declares more texts than it holds" in _refused(capsys, "a.h5")


def test_texts_of_hdf5_without_end_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("t.h5", "w") as file:
        file["x"], file["ids"] = HIDDEN, [str(row) for row in range(5)]
    assert _adopted("t.h5").samples.tolist() == [str(row) for row in range(5)]
    data = bytearray(Path("t.h5").read_bytes())
    data[data.index(b"GCOL") + 24] = 0x81  # so that the next entry has neither a number nor a size
    Path("t.h5").write_bytes(data)
    Path("run").rename("other")
    capsys.readouterr()
    assert "FILES: t.h5 is damaged: its texts have no end" in _refused(capsys, "t.h5")
    with pytest.raises(
        runner.InputError, match=r"^model\.weights: t\.h5 is damaged: its texts have"
    ):
        weights_file("t.h5", "model.weights")


@pytest.mark.parametrize("dtype", [h5py.vlen_dtype(np.float32), h5py.ref_dtype, [("a", "f4")]])
def test_what_hdf5_holds_besides_numbers_and_texts_is_refused(
    dtype: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", 3, dtype)
    assert "'x' in a.h5 holds values of type" in _refused(capsys, "a.h5")


def test_an_array_of_hdf5_that_is_packed_twice_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((3, 4))
    for _ in range(2):
        made.set_deflate(9)
    with h5py.File("a.h5", "w") as file:
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((3, 4)), made)
    assert "'x' in a.h5 is not packed with gzip or lzf alone" in _refused(capsys, "a.h5")


def test_very_many_chunks_of_hdf5_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", (100_000, 1), "u1", chunks=(9, 1))
    said = _refused(capsys, "a.h5")
    assert "FILES: a.h5 declares 11,112 chunks, and has 1.4 kB; save it in larger chunks" in said


def test_groups_of_hdf5_nested_without_end_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("a.h5", "w") as file:
        file.create_group("/".join(150 * "g"))["x"] = np.zeros(3)
    assert "FILES: a.h5 is nested too deeply to be read" in _refused(capsys, "a.h5")


def zarr_array(folder: Path, values: np.ndarray, version: int, **changed: Any) -> None:
    """Write an array of Zarr by hand: one chunk without compression."""
    kind, zeros = values.dtype, [0] * values.ndim
    if version == 2:
        about = {
            "zarr_format": 2, "shape": values.shape, "chunks": values.shape, "filters": None,
            "dtype": kind.str, "compressor": None, "fill_value": None, "order": "C",
        }  # fmt: skip
        name, chunk = ".zarray", ".".join(map(str, zeros))
    else:
        about = {
            "zarr_format": 3, "node_type": "array", "shape": values.shape, "data_type": kind.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": values.shape}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {},
        }  # fmt: skip
        name, chunk = "zarr.json", "/".join(["c", *map(str, zeros)])
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps({**about, **changed}))
    (folder / chunk).parent.mkdir(parents=True, exist_ok=True)
    (folder / chunk).write_bytes(values.tobytes())


def zarr_group(version: int) -> None:
    zarr_array(Path("t.zarr/hidden"), HIDDEN, version)
    zarr_array(Path("t.zarr/block/maps"), MAPS, version)
    zarr_array(Path("t.zarr/ids"), np.arange(5), version)
    for group in ("t.zarr", "t.zarr/block"):
        name = ".zgroup" if version == 2 else "zarr.json"
        text = {"zarr_format": version, **({} if version == 2 else {"node_type": "group"})}
        Path(group, name).write_text(json.dumps(text))


needs_zarr = pytest.mark.skipif(not _HAS["zarr"], reason="needs Zarr")


@needs_zarr
@pytest.mark.parametrize("version", [2, 3])
def test_a_folder_of_zarr_is_adopted(version: int) -> None:
    zarr_group(version)
    run = _adopted("t.zarr")
    assert list(run.samples) == [0, 1, 2, 3, 4]
    assert np.array_equal(run.array("hidden"), HIDDEN)
    assert np.array_equal(run.array("block/maps"), MAPS)


def shards(chunk: tuple[int, int], inner: tuple[int, int]) -> dict[str, Any]:
    """Return what an array of Zarr says of its chunks if each of them holds further ones."""
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    sharding = {"chunk_shape": inner, "codecs": plain, "index_codecs": plain}
    return {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }


TEXTS = {
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1000]}},
    "codecs": [{"name": "vlen-utf8"}],
}


@needs_zarr
def test_an_array_of_zarr_in_shards_is_adopted() -> None:
    values = np.arange(600, dtype=np.float32).reshape(60, 10)
    group = importlib.import_module("zarr").create_group("t.zarr")
    group.create_array("x", data=values, chunks=(5, 10), shards=(20, 10))
    group.create_array("ids", data=np.array([f"s{row}" for row in range(60)], dtype="T"))
    run = _adopted("t.zarr")
    assert list(run.samples)[-1] == "s59"
    assert np.array_equal(run.array("x"), values)


@needs_zarr
@pytest.mark.parametrize(
    ("version", "changed", "line"),
    [
        (2, {"filters": [{"id": "pickle"}]}, "uses the codec 'pickle', which is not read"),
        (3, {"codecs": [{"name": "own.codec"}]}, "uses the codec 'own.codec'"),
        (
            3,
            {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": ["pickle"]}}]},
            "uses the codec 'pickle'",
        ),
        (2, {"dtype": "|O"}, "a.zarr holds |O, expected numbers"),
        (2, {"shape": [1 << 40], "chunks": [1 << 40]}, "a.zarr declares 4.4 TB"),
        (3, {"shape": [1 << 40, 4]}, "a.zarr declares "),
        (2, {"shape": [10**8, 1], "chunks": [1, 1]}, "a.zarr declares 100,000,000 chunks"),
        (2, {"chunks": [0, 1]}, "a.zarr has chunks of shape [0, 1], which hold no values"),
        (3, {"data_type": None}, "a.zarr holds None, expected numbers"),
        (2, {"shape": None}, "a.zarr cannot be read"),
        (
            2,
            {"filters": [{"id": "delta", "dtype": "<c16", "astype": "|i1"}]},
            "uses the codec 'delta', which is not read",
        ),
        (2, {"filters": 20 * [{"id": "shuffle"}]}, "a.zarr uses 20 codecs"),
        (
            3,
            {"shape": [10**5], "data_type": "string", "fill_value": 10**5 * "y", **TEXTS},
            "a.zarr has 100.4 kB, and declares 10.0 GB",
        ),
        (3, {"shape": [10**5, 4], **shards((10**5, 4), (1, 4))}, "declares 100,000 chunks, and"),
        (3, shards((5, 4), (0, 4)), "has chunks of shape [0, 4], which hold no values"),
    ],
)
def test_an_array_of_zarr_that_may_harm_is_refused(
    version: int, changed: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    zarr_array(Path("a.zarr"), HIDDEN, version, **changed)
    assert line in _refused(capsys, "a.zarr")


@needs_zarr
@pytest.mark.parametrize("kind", ["blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"])
@pytest.mark.parametrize("holds", ["numbers", "texts"])
def test_a_chunk_of_zarr_that_unpacks_to_far_more_is_refused(
    kind: str, holds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = importlib.import_module("numcodecs").get_codec({"id": kind})
    values, about = HIDDEN, {}
    if holds == "texts":
        values, about = np.zeros(1, np.int64), {"dtype": "|O", "filters": [{"id": "vlen-utf8"}]}
    zarr_array(Path("a.zarr"), values, 2, compressor=codec.get_config(), **about)
    chunk = Path("a.zarr", ".".join("0" * values.ndim))
    chunk.write_bytes(codec.encode(values.tobytes() if holds == "numbers" else bytes(4)))
    assert "unpacks to" not in _refused(capsys, "a.zarr")  # the sample ids are missing
    size = values.nbytes + 8 if holds == "numbers" else 2**26 + 8
    chunk.write_bytes(codec.encode(bytes(size)))
    assert "a chunk of a.zarr unpacks to far more than it declares" in _refused(capsys, "a.zarr")


@needs_zarr
def test_a_link_in_a_folder_of_zarr_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    zarr_array(Path("a.zarr"), HIDDEN, 2)
    Path("a.zarr/0.0").unlink()
    Path("a.zarr/0.0").symlink_to("/etc/passwd")
    assert "'a.zarr/0.0' is a link or no regular file" in _refused(capsys, "a.zarr")


@pytest.mark.skipif(_HAS["zarr"], reason="Zarr is installed")
def test_what_to_type_for_zarr_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    zarr_array(Path("a.zarr"), HIDDEN, 2)
    said = _refused(capsys, "a.zarr")
    assert 'a.zarr needs zarr; type: pip install "activation-runner[zarr]"' in said


def bundle(**changed: str) -> None:
    """Write a bundle as TorchLens does: a manifest, files of one tensor, and a pickle."""
    Path("log/blobs").mkdir(parents=True)
    tensors = {
        "input_1:1": MAPS,
        "relu_1_2:1": HIDDEN,
        "relu_1_2:2": HIDDEN + 1,
        "linear_1_3:1": MAPS,
    }
    listed = []
    for place, (label, values) in enumerate(tensors.items()):
        path = f"blobs/{place:010}.safetensors"
        Path("log", path).write_bytes(safetensors_bytes(values))
        known = {"label": label, "relative_path": path, "kind": "out", **changed}
        listed += [known, {**known, "label": "buffer_1:1"}, {**known, "kind": "grad"}]
    Path("log/manifest.json").write_text(json.dumps({"tlspec_version": 2, "tensors": listed}))
    Path("log/metadata.pkl").write_bytes(b"not read")
    Path("ids.txt").write_text("\n".join(IDS))


def safetensors_bytes(values: np.ndarray) -> bytes:
    about = {"dtype": "F32", "shape": values.shape, "data_offsets": [0, values.nbytes]}
    head = json.dumps({"data": about}).encode()
    return len(head).to_bytes(8, "little") + head + values.astype(np.float32).tobytes()


needs_safetensors = pytest.mark.skipif(not _HAS["safetensors"], reason="needs safetensors")


@needs_safetensors
def test_a_bundle_of_torchlens_is_adopted() -> None:
    bundle()
    run = _adopted("log", "--ids", "ids.txt")
    names = [tensor.name for tensor in run.record.tensors]
    assert names == ["input_1", "relu_1_2_1", "relu_1_2_2", "linear_1_3"]
    assert np.array_equal(run.array("relu_1_2_2"), HIDDEN + 1)


@needs_safetensors
@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"relative_path": "../ids.txt"}, "FILES: 'log' lists '../ids.txt', which is outside"),
        ({"relative_path": "/etc/passwd"}, "FILES: 'log' lists '/etc/passwd', which is outside"),
        ({"relative_path": "manifest.json"}, "FILES: log cannot be read"),
        ({"kind": "grad"}, "FILES: 'log' is a bundle of TorchLens without saved outputs"),
    ],
)
def test_a_bundle_that_may_harm_is_refused(
    changed: dict[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(**changed)
    assert line in _refused(capsys, "log", "--ids", "ids.txt")


@needs_safetensors
@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        ('{"tensors": [{"label": "a:1"}]}', "manifest.json is not as TorchLens writes it: expec"),
        ("[]", "manifest.json is not as TorchLens writes it"),
        ("{", "manifest.json is not JSON"),
        ("[" * 100_000, "log is nested too deeply to be read"),
    ],
    ids=["key", "list", "cut", "deep"],
)
def test_a_manifest_that_is_none_is_refused(
    manifest: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle()
    Path("log/manifest.json").write_text(manifest)
    assert line in _refused(capsys, "log", "--ids", "ids.txt")


@needs_safetensors
def test_a_file_that_a_bundle_lists_without_end_is_read_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle()
    Path("log/blobs/0000000000.safetensors").write_bytes(safetensors_bytes(np.zeros((500, 1000))))
    listed = [
        {"label": f"a{row}:1", "relative_path": "blobs/0000000000.safetensors", "kind": "out"}
        for row in range(600)
    ]
    Path("log/manifest.json").write_text(json.dumps({"tensors": listed}))
    assert "log has 2.0 MB, and declares 1.2 GB" in _refused(capsys, "log", "--ids", "ids.txt")


def _safetensors(kind: str, values: np.ndarray) -> None:
    about = {"dtype": kind, "shape": values.shape, "data_offsets": [0, values.nbytes]}
    head = json.dumps({"hidden": about}).encode()
    Path("t.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + values.tobytes())
    Path("ids.txt").write_text("\n".join(IDS))


@needs_safetensors
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")],
)
def test_small_types_of_safetensors_are_read_as_float32(kind: str, dtype: str) -> None:
    stored = HIDDEN.astype(getattr(ml_dtypes, dtype))
    _safetensors(kind, stored)
    run = _adopted("t.safetensors", "--ids", "ids.txt")
    assert np.array_equal(run.array("hidden"), stored.astype(np.float32))


@needs_safetensors
def test_a_type_of_safetensors_that_is_not_read_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _safetensors("F8_E8M0", HIDDEN.astype(np.uint8))
    said = _refused(capsys, "t.safetensors", "--ids", "ids.txt")
    assert "'hidden' in t.safetensors has values of type F8_E8M0; the types are F64, F32" in said


PICTURES = [f"dog/{name}.jpg" for name in IDS]


def test_features_of_thingsvision_are_adopted() -> None:
    for module in ("features.10", "classifier.6"):
        Path("out", module).mkdir(parents=True)
    Path("out/file_names.txt").write_text("".join(f"{name}\n" for name in PICTURES))
    np.save("out/features.10/features_0-3.npy", MAPS[:3])
    np.save("out/features.10/features_3-5.npy", MAPS[3:])
    np.savetxt("out/classifier.6/features.txt", HIDDEN)
    run = _adopted("out")
    assert list(run.samples) == PICTURES
    assert np.array_equal(run.array("features.10"), MAPS)
    np.testing.assert_allclose(run.array("classifier.6"), HIDDEN, rtol=1e-6)


def test_features_in_a_file_of_matlab_are_adopted(capsys: pytest.CaptureFixture[str]) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    Path("out").mkdir()
    Path("out/file_names.txt").write_text("\n".join(f"{name}.jpg" for name in IDS))
    scipy_io.savemat("out/features.mat", dict(zip(IDS, HIDDEN, strict=True)))
    run = _adopted("out")
    assert list(run.samples) == [f"{name}.jpg" for name in IDS]
    assert np.array_equal(run.array("out"), HIDDEN)
    capsys.readouterr()
    Path("out/file_names.txt").write_text("\n".join(f"{name}.jpg" for name in IDS[::-1]))
    said = _refused(capsys, "out")
    assert "FILES: out/features.mat has other pictures than file_names.txt" in said


def test_a_file_of_matlab_that_unpacks_to_more_than_it_declares_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("scipy")

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)

    about = element(6, struct.pack("<2I", 6, 0)) + element(5, struct.pack("<2i", 1, 1))
    whole = element(14, about + element(1, b"features") + element(9, bytes(10**7)))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    Path("out").mkdir()
    Path("out/features.mat").write_bytes(header + element(15, zlib.compress(whole)))
    Path("out/file_names.txt").write_text("a.png\n")
    said = _refused(capsys, "out")
    assert "'features' in out/features.mat unpacks to far more than it declares; save" in said
    whole = element(14, about + element(1, bytes(2**30)))  # a name of a gigabyte
    Path("out/features.mat").write_bytes(header + element(15, zlib.compress(whole)))
    assert "out/features.mat has 1.0 MB, and declares 1.1 GB" in _refused(capsys, "out")


def test_a_tensor_of_more_axes_than_a_table_has_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(runner.InputError, match=r"^tensors\.x: has 33 axes, the limit is 32$"):
        runner.adopt_run("run", {"x": np.zeros((2, *(1,) * 32))}, sample_ids=[0, 1])
    assert not Path("run").exists()
    runner.adopt_run("run", {"x": np.zeros((2, *(1,) * 31))}, sample_ids=[0, 1])
    with h5py.File("holes.h5", "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((10**9,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, made)
    assert "'holes.h5' is a sparse file: almost nothing is writ" in _refused(capsys, "holes.h5")


def test_operations_of_one_name_are_numbered_at_once() -> None:
    taken: dict[str, int] = {}
    began = time.process_time()
    names = [unique(name, taken) for name in ["x", "x_2", "x:0"] * 20_000]
    assert time.process_time() - began < 5
    assert len({*names}) == 60_000
    assert names[:4] == ["x", "x_2", "x_3", "x_4"]


def test_a_file_of_the_name_of_features_is_none_of_thingsvision() -> None:
    Path("all").mkdir()
    np.save("all/features.npy", HIDDEN)
    np.save("all/other.npy", HIDDEN)
    Path("ids.txt").write_text("\n".join(IDS))
    names = [tensor.name for tensor in _adopted("all", "--ids", "ids.txt").record.tensors]
    assert names == ["features", "other"]
