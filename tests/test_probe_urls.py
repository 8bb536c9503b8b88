"""Probes in object stores: read by parts, equal to those on a disk, refused in one line."""

from __future__ import annotations

import gzip
import io
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from command import in_process
from object_servers import Proxy, client_of
from pydantic import TypeAdapter
from test_datasets import dataset, png, saved, shards, tar

import runner
from runner.config.probe_config import ProbeConfig
from runner.errors import InputError
from runner.given_folders import given_folder
from runner.probe.batch import Batch
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.store_urls import store_url
from runner.stores import bucket as buckets
from runner.tensors import InputSpec

pytest.importorskip("obstore")
pytest.importorskip("moto")

X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")

pytestmark = pytest.mark.usefixtures("s3")  # an empty bucket, and what names it


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> str:
    return f"{request.param}://bucket"


def put(place: str, data: bytes) -> None:
    url = store_url(place, "")
    assert url is not None
    buckets.bucket_of(url).put(url.key, data)


def put_files(folder: str, place: str) -> None:
    for path in Path(folder).rglob("*"):
        if path.is_file():
            put(f"{place}/{path.as_posix()}", path.read_bytes())


def opened(*shape: int, **config: Any) -> Probe:
    expected = [InputSpec("input", shape, "float32")] if shape else []
    return open_probe(TypeAdapter(ProbeConfig).validate_python(config), expected)


def whole(*shape: int, **config: Any) -> Batch:
    [batch] = opened(*shape, **config).batches(1_000_000)
    return batch


def same(found: Batch, expected: Batch) -> bool:
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    assert found.samples.tolist() == expected.samples.tolist()
    assert (found.labels is None) == (expected.labels is None)
    return found.labels is None or found.labels.tolist() == (expected.labels.tolist())  # type: ignore[union-attr]


def table(rows: int = 200) -> pa.Table:
    ids, labels = [f"s{row}" for row in range(rows)], ["cat", "dog"] * (rows // 2)
    return pa.table({"id": ids, **{f"x{n}": X[:rows, n] for n in range(3)}, "label": labels})


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def made(source: str) -> str:
    """Make a probe on the disk, and return its file or folder."""
    if source == "parquet":
        pa.parquet.write_table(table(), "x.parquet", row_group_size=30, compression="zstd")
    elif source == "csv":
        Path("x.csv").write_bytes(gzip.compress(table().to_pandas().to_csv(index=False).encode()))
    elif source == "npy":
        Path("x.npy").write_bytes(npy(X))
    elif source == "npz":
        np.savez("x.npz", x=X, id=np.arange(200), label=np.arange(200) % 3)
    elif source == "images":
        for row in range(9):
            Path(f"images/{row % 2}").mkdir(parents=True, exist_ok=True)
            Path(f"images/{row % 2}/{row}.png").write_bytes(png(9 * row, (4, 4)))
        Path("images/.hidden").write_text("no picture")
    elif source == "webdataset":
        shards()
        Path("t").rename("webdataset")
    else:
        saved("huggingface", dataset(slice(4)), dataset(slice(4, 10)))
    return f"x.{source}" if Path(f"x.{source}").exists() else source


SOURCES = {"parquet": (3,), "csv": (3,), "npy": (3,), "npz": (3,), "images": (4, 4, 3),
    "webdataset": (3,), "huggingface": (3,)}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_a_probe_in_a_store_is_that_on_the_disk(store: str, source: str) -> None:
    path = made(source)
    if Path(path).is_dir():
        put_files(path, store)
    else:
        put(f"{store}/{path}", Path(path).read_bytes())
    shape = SOURCES[source]
    expected = whole(*shape, source=source, path=path)
    found = opened(*shape, source=source, path=f"{store}/{path}")
    assert f"{store}/{path}" in found.source
    assert same(next(found.batches(1000)), expected)
    for probe in (found, opened(*shape, source=source, path=path)):  # as a part of a run reads it
        for row in (0, 3, 7):
            later = [*probe.blocks_from(row)]
            shown = np.concatenate([block.inputs for block in later])
            np.testing.assert_array_equal(shown, expected.inputs[row:])
            ids = [sample for block in later for sample in block.samples]
            assert ids == expected.samples[row:].tolist()


@pytest.mark.slow
@pytest.mark.usefixtures("proxy")
def test_a_run_says_which_url_it_read_and_a_sweep_notices_a_new_object() -> None:
    place = "s3://bucket/x.parquet"
    made("parquet")
    put(place, Path("x.parquet").read_bytes())
    words = "-m", "model=tutorial", "probe=parquet", f"probe.path={place}", "seed=0", "name=far"
    in_process(*words)
    runs = runner.open_runs("far")
    assert runs[0].config["probe"]["path"] == place
    assert runs[0].record.probe is not None
    assert runs[0].record.probe.source == f"parquet {place}"
    for path in Path("outputs").rglob("*"):
        if path.is_file():
            assert b"the-secret" not in path.read_bytes(), path
    ids = {run.id for run in runs}
    again = [*words, f"hydra.sweep.dir={runs[0].path.parent}"]
    in_process(*again)
    assert {run.id for run in runner.open_runs("far")} == ids
    pa.parquet.write_table(table(100), "x.parquet")
    put(place, Path("x.parquet").read_bytes())
    in_process(*again)
    changed = runner.open_runs("far")
    assert not {run.id for run in changed} & ids
    assert changed[0].record.probe is not None
    assert changed[0].record.probe.rows == 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("probe=npy probe.path=s3://bucket/none.npy", "probe.path: there is no object"),
        ("probe=npy probe.path=s3://bucket", "probe.path: "),
        ("probe=npy probe.path=s3:/bucket/../x.npy", "expected s3://bucket/path"),
        ("probe=npy probe.path=s3://key:secret@bucket/x.npy", "holds credentials, in a s3://"),
        ("probe=npy probe.path=s3://other/x.npy", "probe.path: there is no object"),
        ("probe=npy probe.path=http://host/x.npy", "cannot read http://; give a path of this"),
        ("probe=npy probe.path=file:///x.npy", "give the path without file://"),
        ("probe=images probe.path=s3://bucket/none", "there are no objects below"),
        ("probe=huggingface probe.path=s3://bucket/none", "there are no objects below"),
        ("probe=webdataset probe.path=s3://bucket/none", "probe.path: there is no object"),
        ("probe=iris +model.weights=s3://bucket/w.h5", "cannot read s3://; give a path of this"),
        ("probe=images probe.path=/", "holds files of the system"),
    ],
)
@pytest.mark.usefixtures("proxy")
def test_a_wrong_url_is_told_in_one_line(words: str, said: str) -> None:
    done = in_process(*words.split(), code=2)
    assert said in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    assert not Path("outputs").exists()


def test_only_the_columns_of_a_table_are_fetched(proxy: Proxy) -> None:
    wide = {f"x{n}": np.random.default_rng(n).normal(size=20_000) for n in range(40)}
    pa.parquet.write_table(pa.table(wide), "w.parquet", row_group_size=5000)
    put("s3://bucket/w.parquet", Path("w.parquet").read_bytes())
    proxy.fetched = 0
    batch = whole(2, source="parquet", path="s3://bucket/w.parquet", input_columns=["x3", "x30"])
    np.testing.assert_array_equal(batch.inputs[:, 1], wide["x30"].astype("float32"))
    size = Path("w.parquet").stat().st_size
    assert size > 6_000_000
    assert proxy.fetched < size / 8
    probe = opened(40, source="parquet", path="s3://bucket/w.parquet")
    proxy.fetched = 0
    assert sum(len(block) for block in probe.blocks_from(15_000)) == 5_000
    assert proxy.fetched < size / 3


@pytest.mark.slow
@pytest.mark.parametrize("source", ["npy", "huggingface", "webdataset"])
def test_memory_is_flat_however_large_the_object(source: str) -> None:
    array, rows = np.zeros((1_000_000, 32), "float32"), 100  # 128 MB
    if source == "npy":
        put("memory://bucket/npy", npy(array))
    elif source == "huggingface":
        columns = {f"x{n}": array[:, n] for n in range(32)}
        saved("huggingface", pa.table(columns), rows=10_000)
    else:
        Path("webdataset").mkdir()
        one = npy(array[:: 1_000_000 // 10_000])
        tar("webdataset/0.tar", {f"{row}.npy": one for row in range(rows)})
    if source != "npy":
        put_files(source, "memory://bucket")
    shape = (10_000, 32) if source == "webdataset" else (32,)
    config = {"source": source, "path": f"memory://bucket/{source}"}
    del array
    tracemalloc.start()
    try:
        for batch in opened(*shape, **config).batches(1 if source == "webdataset" else 10_000):
            rows -= len(batch) if source == "webdataset" else len(batch) // 10_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 0
    assert peak < 64_000_000


@pytest.mark.parametrize("source", ["parquet", "csv", "npy", "images", "webdataset", "huggingface"])
def test_a_store_that_fails_meanwhile_is_told_in_one_line(proxy: Proxy, source: str) -> None:
    path = made(source)
    put_files(path, "s3://bucket") if Path(path).is_dir() else put(
        f"s3://bucket/{path}", Path(path).read_bytes()
    )
    probe = opened(*SOURCES[source], source=source, path=f"s3://bucket/{path}")
    client = client_of(proxy.port)
    for each in client.list_objects_v2(Bucket="bucket")["Contents"]:
        client.put_object(Bucket="bucket", Key=each["Key"], Body=b"other")
    with pytest.raises(InputError, match="cannot be read: was changed while it was read") as told:
        list(probe.batches(10))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("fault", ["cut", "500"])
def test_a_store_that_fails_now_and_then_is_asked_again(proxy: Proxy, fault: str) -> None:
    path = made("parquet")
    put(f"s3://bucket/{path}", Path(path).read_bytes())
    expected = whole(3, source="parquet", path=path)
    count = itertools.count()
    proxy.verdict = lambda *_: fault if next(count) % 3 == 0 else ""
    assert same(whole(3, source="parquet", path=f"s3://bucket/{path}"), expected)
    proxy.verdict = lambda method, _: "500" if method == "GET" else ""
    with pytest.raises(InputError, match=r"x\.parquet: cannot be read: the store fails"):
        whole(3, source="parquet", path=f"s3://bucket/{path}")


def test_pictures_without_a_common_size_or_labels_are_those_of_the_folder(store: str) -> None:
    made("images")
    labels = "\n".join(["file,label", *(f"{row % 2}/{row}.png,{row}" for row in range(9))])
    Path("labels.csv").write_text(labels)
    put_files("images", store)
    put(f"{store}/labels.csv", labels.encode())
    expected = whole(source="images", path="images", labels="labels.csv")
    found = whole(source="images", path=f"{store}/images", labels=f"{store}/labels.csv")
    assert same(found, expected)
    pa.parquet.write_table(pa.csv.read_csv("labels.csv"), "labels.parquet")
    put(f"{store}/labels.parquet", Path("labels.parquet").read_bytes())
    found = whole(source="images", path=f"{store}/images", labels=f"{store}/labels.parquet")
    assert same(found, expected)


def test_a_folder_of_too_many_files_is_refused(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made("images")
    put_files("images", store)
    monkeypatch.setattr("runner.given_folders.MOST_FILES", 8)
    for place in ("images", f"{store}/images"):
        with pytest.raises(InputError, match="holds more than 8 files; name the folder of the"):
            given_folder(place, "probe.path").files()
