"""Probes in files: what is read, in bounded memory, and where in a file the fault is."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from pydantic import TypeAdapter

from runner.config.probe_config import ProbeConfig
from runner.errors import InputError
from runner.probe import delimited_text, parquet_table
from runner.probe.batch import Batch
from runner.probe.fitting import fit_to_model
from runner.probe.memory_sources import as_probe
from runner.probe.picture_files import PictureFolder
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.sources import images as images_source
from runner.tensors import InputSpec


def opened(shape: tuple[int | None, ...] | None, dtype: str = "float32", **config: Any) -> Probe:
    expected = [] if shape is None else [InputSpec("input", shape, dtype)]
    return open_probe(TypeAdapter(ProbeConfig).validate_python(config), expected)


def whole(probe: Probe) -> Batch:
    [batch] = probe.batches(100_000)
    return batch


def csv(text: str | bytes, width: int = 2, dtype: str = "float32", **config: Any) -> Probe:
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return opened((width,), dtype, source="csv", path="t.csv", **config)


def parquet(columns: dict[str, Any], width: int = 2, **config: Any) -> Probe:
    pa.parquet.write_table(pa.table(columns), "t.parquet", row_group_size=2)
    return opened((width,), source="parquet", path="t.parquet", **config)


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header


def npy(data: bytes | np.ndarray, width: int = 3, **config: Any) -> Probe:
    Path("a.npy").write_bytes(data if isinstance(data, bytes) else npy_bytes(data))
    return opened((width,), source="npy", path="a.npy", **config)


def npz(width: int = 3, /, limit: int = 10**6, **members: bytes | np.ndarray) -> Probe:
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data if isinstance(data, bytes) else npy_bytes(data))
    return opened((width,), source="npz", path="a.npz", max_bytes=limit)


@pytest.mark.parametrize("source", ["csv", "npy", "npz", "parquet"])
def test_a_missing_file_is_said_with_the_folder_looked_in(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        opened((1,), source=source, path="data/none")
    assert str(caught.value) == f"probe.path: no file 'data/none' (looked in {tmp_path})"


def test_csv_columns_have_their_meaning_by_name() -> None:
    probe = csv("label,a,id,b,y\ncat,1,x7,2,0.5\ndog,3,x8,4,1\n", target_columns=["y"])
    batch = whole(probe)
    assert (probe.rows, probe.sample_type, probe.columns) == (2, "string", ("a", "b"))
    assert probe.source == "csv t.csv"
    assert batch.samples.tolist() == ["x7", "x8"]
    assert batch.labels is not None
    assert batch.labels.tolist() == ["cat", "dog"]
    assert batch.targets is not None
    assert batch.targets.tolist() == [[0.5], [1]]
    np.testing.assert_array_equal(batch.inputs, np.float32([[1, 2], [3, 4]]), strict=True)


def test_csv_columns_may_be_named() -> None:
    probe = csv(
        "a,name,b,kind\n1,5,2,0\n3,6,4,1\n",
        width=1,
        id_column="name",
        label_column="kind",
        input_columns=["b"],
    )
    batch = whole(probe)
    assert probe.sample_type == "int64"
    assert (batch.samples.tolist(), batch.inputs.tolist()) == ([5, 6], [[2], [4]])
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1]


def test_ids_keep_their_leading_zeros() -> None:
    assert whole(csv("id,a\n01,5\n1,6\n", width=1)).samples.tolist() == ["01", "1"]


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (b"a,b\n1,2\n3,4\n", {}),
        (b"a,b\r\n1,2\r\n3,4", {}),
        (b"\xef\xbb\xbfa,b\n1,2\n3,4\n", {}),
        (b"\xef\xbb\xbf1,2\n3,4\n", {"header": False}),
        (b"\n\na,b\n\n1,2\n\n3,4\n\n", {}),
        (b'"a\nx","b,y"\n"1",2\n 3 ,4.\n', {}),
        (b"a;b\n1;2\n3;+4e0\n", {"delimiter": ";"}),
        (b"a\tb\n1\t2\n3\t4\n", {"delimiter": "\t"}),
        ("가,b\n1,2\n3,4\n".encode("cp949"), {"encoding": "cp949"}),
        ("é,b\n1,2\n3,4\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("a,b\n1,2\n3,4\n".encode("utf-16"), {"encoding": "utf-16"}),
    ],
)
def test_csv_is_read_as_people_write_it(text: bytes, config: dict[str, Any]) -> None:
    assert whole(csv(text, **config)).inputs.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "config", "line"),
    [
        ("a,b\n1,2\n3\n", {}, "t.csv:3: 1 field, expected 2"),
        ("a,b\n1,2\n3,4,5\n", {}, "t.csv:3: 3 fields, expected 2"),
        (
            "a,b\n1,2\n\n3,n/a\n",
            {},
            "t.csv:4: column 'b': expected a number, found 'n/a'; set probe.allow_nan=true to read "
            "it as NaN, or name the inputs in probe.input_columns",
        ),
        (
            "a,b\n1,2\n3,\n",
            {},
            "t.csv:3: column 'b': found an empty cell; set probe.allow_nan=true to read "
            "it as NaN, or name the inputs in probe.input_columns",
        ),
        (
            "a;b\n1,5;2\n",
            {"delimiter": ";"},
            "t.csv:2: column 'a': expected a number, found '1,5'; set 'probe.decimal=\",\"'",
        ),
        (
            "1,2\n3,4\n",
            {},
            "t.csv:1: expected the columns' names, found numbers; set probe.header=false, "
            "or probe.header=true if they are the names",
        ),
        (
            "a;b\n1;2\n",
            {"delimiter": ","},
            "t.csv:1: one column found with probe.delimiter=','; "
            "leave out probe.delimiter to detect it",
        ),
        (
            "a,b\n1,2\n3,nan\n",
            {},
            "t.csv:3: column 'b': found nan; set probe.allow_nan=true to keep it",
        ),
        (
            "a,b\n-inf,2\n",
            {},
            "t.csv:2: column 'a': found -inf; set probe.allow_nan=true to keep it",
        ),
        ("", {}, "probe: t.csv has 0 rows; give at least one sample"),
        ("a,b", {}, "probe: csv t.csv has 0 rows below its header; give at least one sample"),
        ("a,b,c\n1,2,3\n", {}, "probe: csv t.csv has 3 values a sample, the model expects 2"),
        ("id,a,b\n7,1,2\n7,3,4\n", {}, "t.csv:3: the sample id 7 is already used by t.csv:2"),
        ("a,a\n1,2\n", {}, "t.csv:1: two columns are named 'a'"),
        ("a,\n1,2\n", {}, "t.csv:1: column 1 has no name; name the inputs in probe.input_columns"),
        ("id,label\n1,2\n", {}, "probe.path: csv t.csv has no column of inputs"),
        (
            "a,b\n1,2\n",
            {"label_column": "lable"},
            "probe.label_column: csv t.csv has no column 'lable'; columns are a, b",
        ),
        (
            "alpha,b\n1,2\n",
            {"input_columns": ["alhpa"]},
            "probe.input_columns: csv t.csv has no column 'alhpa'; did you mean 'alpha'?",
        ),
        ("a,b\n1,2\n", {"delimiter": "\n"}, "probe.delimiter: cannot be '\\n'"),
        ("id,a,b\n,1,2\n", {}, "t.csv:2: the sample id is empty"),
        ("PK\3\4", {}, "probe.path: t.csv is not text: it is a zip file; unpack it first"),
        ("a,b\n1,2\n", {"delimiter": "가"}, "probe.delimiter: cannot be '가'"),
        ("a,b\n1,2\n", {"encoding": "utf8000"}, "probe.encoding: unknown encoding 'utf8000'"),
        ("a,b\n1,2\n", {"encoding": "rot13"}, "probe.encoding: unknown encoding 'rot13'"),
    ],
)
def test_a_wrong_csv_is_said(text: str, config: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        csv(text, **config)
    assert str(caught.value) == line


def test_a_fraction_where_a_whole_number_is_needed_is_said() -> None:
    match = r"^t.csv:3: column 'b': found 0\.7; the model expects int32$"
    with pytest.raises(InputError, match=match):
        csv("a,b\n1,2\n3,0.7\n", dtype="int32")


@pytest.mark.parametrize("rows", [1, 60_000])
def test_the_byte_that_is_not_utf_8_is_counted_from_the_beginning(rows: int) -> None:
    above = b"a,label\n" + b"1,x\n" * rows + b"1,"
    match = rf"^t.csv: not utf-8 at byte {len(above)}; set probe.encoding, such as cp949"
    for text in (above + "가\n".encode("cp949"), above + "é".encode()[:1]):
        with pytest.raises(InputError, match=match):
            csv(text, width=1)


def test_a_row_longer_than_a_block_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_text, "_BLOCK_BYTES", 64)
    names = ",".join(f"c{column}" for column in range(50))
    text = names + "\n" + ("0.123456789," * 50)[:-1] + "\n"
    assert whole(csv(text, width=50)).inputs.shape == (1, 50)


def test_nan_may_be_kept() -> None:
    values = whole(csv("a,b\n1,nan\ninf,2\n", allow_nan=True)).inputs
    np.testing.assert_array_equal(values, np.float32([[1, np.nan], [np.inf, 2]]))


@pytest.mark.slow
def test_a_fault_far_down_a_csv_is_found_while_it_is_read() -> None:
    rows = 700_000
    probe = csv("a,b\n" + "1.25,2.5\n" * rows + "3,x\n")
    batches = probe.batches(1000)
    assert len(next(batches)) == 1000
    with pytest.raises(InputError, match=rf"^t.csv:{rows + 2}: column 'b': expected a number"):
        list(batches)


def peak(probe: Callable[[], Probe]) -> int:
    before = pa.default_memory_pool().bytes_allocated()
    arrow = 0
    tracemalloc.start()
    for _ in probe().batches(512):
        arrow = max(arrow, pa.default_memory_pool().bytes_allocated() - before)
    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return python + arrow


@pytest.mark.slow
@pytest.mark.parametrize("source", ["csv", "npy", "parquet"])
def test_a_file_need_not_fit_in_memory(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Arrow reads 32 blocks ahead; of the usual size they would hold all of a quick test's file.
    monkeypatch.setattr(delimited_text, "_BLOCK_BYTES", 2**16)
    monkeypatch.setattr(parquet_table, "_BLOCK_BYTES", 2**16)
    values = np.zeros((200_000, 50))
    path = f"large.{source}"
    names = [f"c{unit}" for unit in range(50)]
    if source == "npy":
        np.save(path, values)
    elif source == "csv":
        row = ",".join(["0"] * 50) + "\n"
        Path(path).write_text(",".join(names) + "\n" + row * len(values), encoding="ascii")
    else:
        table = pa.table(dict(zip(names, values.T, strict=True)))
        pa.parquet.write_table(table, path, row_group_size=20_000)
        del table
    size = values.nbytes
    del values
    assert peak(lambda: opened((50,), source=source, path=path)) < size / 2


def test_parquet_columns_have_their_meaning_by_name() -> None:
    probe = parquet(
        {
            "a": pa.array([1, 2, 3], pa.int16()),
            "b": [True, False, True],
            "id": ["p", "q", "r"],
            "label": [0, 1, 1],
        }
    )
    batch = whole(probe)
    assert (probe.rows, probe.sample_type, probe.has_labels) == (3, "string", True)
    assert batch.samples.tolist() == ["p", "q", "r"]
    np.testing.assert_array_equal(batch.inputs, np.float32([[1, 1], [2, 0], [3, 1]]), strict=True)
    assert [len(batch) for batch in probe.batches(2)] == [2, 1]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"a": [1.0, 2.0], "b": ["x", "y"]},
            "probe.path: t.parquet: column 'b' holds string, not numbers; name the inputs in "
            "probe.input_columns",
        ),
        (
            {"a": [1.0, 2.0], "b": [1, None]},
            "probe: parquet t.parquet: counted from 0, row 1, column 'b': found an empty cell; "
            "set probe.allow_nan=true to read it as NaN",
        ),
        (
            {"a": [1.0], "b": [1], "id": pa.array([None], pa.string())},
            "probe: parquet t.parquet: counted from 0, row 0, column 'id': found an empty cell",
        ),
        (
            {"a": pa.array([], pa.float32()), "b": pa.array([], pa.float32())},
            "probe: parquet t.parquet has 0 rows; give at least one sample",
        ),
    ],
)
def test_a_wrong_parquet_is_said(columns: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        parquet(columns)
    assert str(caught.value) == line


def test_a_damaged_parquet_is_said() -> None:
    Path("t.parquet").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InputError, match=r"^probe.path: t.parquet is not a Parquet file: "):
        opened((2,), source="parquet", path="t.parquet")


@pytest.mark.parametrize("dtype", ["float32", ">f8", "int16", "uint8", "bool"])
def test_npy_is_read_in_any_type_and_order(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for ordered in (array, np.asfortranarray(array)):
        np.testing.assert_array_equal(
            whole(npy(ordered)).inputs, array.astype("float32"), strict=True
        )


def test_npy_has_ids_labels_and_targets_beside_it() -> None:
    np.save("ids.npy", np.array(["a", "b"]))
    np.save("labels.npy", np.array([3, 4], "uint8"))
    np.save("targets.npy", np.array([[0.5], [1]]))
    beside = {f"{what}_path": f"{what}.npy" for what in ("ids", "labels", "targets")}
    batch = whole(npy(np.ones((2, 3)), **beside))
    assert batch.samples.tolist() == ["a", "b"]
    assert batch.labels is not None
    assert batch.labels.tolist() == [3, 4]
    assert batch.targets is not None
    assert batch.targets.tolist() == [[0.5], [1]]
    match = r"^probe: has 2 sample ids for 5 rows\nprobe: has 2 labels for 5 rows\n"
    with pytest.raises(InputError, match=match):
        npy(np.ones((5, 3)), **beside)


WRONG_ARRAYS = [
    (
        npy_header((10**12, 3)),
        r"declares 24\.0 TB, the limit leaves .*; if this is intended, raise",
    ),
    (npy_header((10, 3)), "declares 240 bytes of values, but holds 0$"),
    (npy_bytes(np.eye(3))[:-1], "declares 72 bytes of values, but holds 71$"),
    (npy_header((1, 3), "|O") + b"x" * 99, "holds pickled Python objects, which can run code"),
    (npy_header((-1, 3)) + b"x" * 99, r"declares float64 of shape \(-1, 3\), expected numbers$"),
    (npy_header((True, 3)) + b"x" * 99, r"declares float64 of shape \(True, 3\), expected number"),
    (npy_header((1,) * 33) + b"x" * 8, r"declares float64 of shape \(1, 1, .*\), expected number"),
    (b"\x93NUMPY\1\0\x2b\x23{'shape': " + b"-" * 8990 + b"1}\n", "has a header that is nested"),
    (npy_header((1, 3), "|V0"), r"declares \|V0 of shape \(1, 3\), expected numbers$"),
    (npy_bytes(np.zeros((2, 0))), r"holds no values, its shape is \(2, 0\)$"),
    (b"\x93NUMPY\2\0" + b"\xff" * 99, r"has a header of 4\.3 GB$"),
    (npy_header((1, 3), "<c16") + b"x" * 99, "declares complex128 of shape"),
    (b"\x93NUMPY", "has an unknown version, or is incomplete$"),
    (b"\x93NUMPY\1\0\x76\0{'shape': (", "has a header that describes no array$"),
    (b"\x93NUMPY\1\0\x10\0{'shape': f(1)} \n", "has a header that describes no array$"),
    (b"\x93NUMPY\1\0\x60\xea" + b" " * 60_000, r"has a header of 60\.0 kB$"),
    (b"\0\1\2\3", r"is not an \.npy array: it is of an unknown kind$"),
    (b"", r"is not an \.npy array: it is empty$"),
    (b"PK\3\4....", r"is not an \.npy array: it is a zip file$"),
    (b"PAR1\x15...", r"is not an \.npy array: it is a Parquet file$"),
    (b"a,b\n1,2\n", r"is not an \.npy array: it is a text file$"),
]


@pytest.mark.parametrize(("data", "message"), WRONG_ARRAYS)
def test_a_wrong_npy_is_said_before_anything_is_allocated(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"^probe\.(path|max_bytes): a\.npy {message}"):
        npy(data)
    with pytest.raises(InputError, match=rf"^probe\.(path|max_bytes): a\.npz: x {message}"):
        npz(x=data)


def test_row_numbers_take_no_more_memory_than_they_have(tmp_path: Path) -> None:
    rows = 1_000_000
    np.save(tmp_path / "a.npy", np.zeros((rows, 1), np.int8))
    values = np.load(tmp_path / "a.npy")
    tracemalloc.start()
    [batch] = as_probe(values).blocks()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert batch.samples[-1] == rows - 1
    assert most < 9 * rows


def test_npy_without_samples_is_said() -> None:
    with pytest.raises(InputError, match=r"^probe: npy a\.npy has 0 rows"):
        npy(np.zeros((0, 3)))
    with pytest.raises(InputError, match="expected arrays with a sample axis, found a single"):
        npy(np.array(3.0))


def test_an_array_that_the_model_does_not_take_is_said() -> None:
    said = r"^npz a\.npz: the model has no input 'mask', 'y'; left out$"
    with pytest.warns(UserWarning, match=said):
        probe = npz(x=np.ones((2, 3)), mask=np.ones((2, 3)), y=np.ones(2))
    assert whole(probe).inputs.tolist() == [[1] * 3] * 2


def test_npz_has_inputs_by_name_and_ids_labels_and_targets() -> None:
    members = {"id": np.array([5, 6]), "label": np.array(["u", "v"]), "target": np.zeros((2, 1))}
    probe = npz(anything=np.ones((2, 3)), **members)
    assert (probe.sample_type, probe.has_labels, probe.has_targets) == ("int64", True, True)
    assert whole(probe).samples.tolist() == [5, 6]


def test_an_npz_bomb_is_refused_by_its_size() -> None:
    match = r"^probe.max_bytes: a.npz: x declares 2\.4 MB, the limit leaves 1\.0 MB; if this is "
    with pytest.raises(InputError, match=match):
        npz(x=np.zeros((100_000, 3)))


def test_the_limit_is_for_all_arrays_of_an_npz_together() -> None:
    match = r"^probe.max_bytes: a.npz: y declares 600 B, the limit leaves 400 B; if this is "
    with pytest.raises(InputError, match=match):
        npz(limit=1000, x=np.zeros((25, 3)), y=np.zeros((25, 3)))


def test_a_wrong_npz_is_said() -> None:
    with pytest.raises(InputError, match=r"^probe.path: a.npz holds no input$"):
        npz()
    npz(x=np.random.default_rng(0).normal(size=(50, 3)))
    data = bytearray(Path("a.npz").read_bytes())
    data[700] ^= 255
    Path("a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"^probe.path: a.npz is damaged: "):
        opened((3,), source="npz", path="a.npz")
    Path("a.npz").write_bytes(data[:-40])
    with pytest.raises(InputError, match=r"a.npz is damaged: it begins as a zip file, and its end"):
        opened((3,), source="npz", path="a.npz")
    Path("a.npz").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"a.npz is not an .npz file: it is a text file$"):
        opened((3,), source="npz", path="a.npz")


def picture(path: str, colour: Any = 0, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def images(shape: tuple[int | None, ...] | None = (2, 2, 3), **config: Any) -> Probe:
    """Return the probe of a folder, for a model of one input, or of none that is declared."""
    return opened(shape, source="images", path="pictures", **config)


def test_pictures_come_sorted_with_their_folder_as_label() -> None:
    for name, colour in {"dog/2.png": "blue", "cat/1.PNG": "red", "dog/10.bmp": "white"}.items():
        picture(f"pictures/{name}", colour)
    probe = images()
    batch = whole(probe)
    assert (probe.rows, probe.sample_type, probe.has_labels) == (3, "string", True)
    assert batch.samples.tolist() == ["cat/1.PNG", "dog/10.bmp", "dog/2.png"]
    assert batch.labels is not None
    assert batch.labels.tolist() == ["cat", "dog", "dog"]
    assert (batch.inputs.shape, batch.inputs.dtype) == ((3, 2, 2, 3), np.float32)
    assert batch.inputs[:, 0, 0].tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 1]]
    assert whole(images(scale="0-255")).inputs.max() == 255


def test_what_a_system_leaves_beside_pictures_is_not_one() -> None:
    picture("pictures/1/a.png")
    Path("pictures/1/._a.png").write_bytes(b"left by a Mac")
    Path("pictures/album.png").mkdir()
    batch = whole(images())
    assert batch.samples.tolist() == ["1/a.png"]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1]


def test_pictures_without_folders_have_no_labels() -> None:
    picture("pictures/a.png")
    assert not images().has_labels


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_any_colours_become_the_channels_of_the_model(channels: int, mode: str) -> None:
    picture("pictures/a.tif", mode=mode)
    assert whole(images((2, 2, channels))).inputs.shape == (1, 2, 2, channels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_noted_by_a_camera_is_applied_on_wish(orientation: int) -> None:
    Path("pictures").mkdir()
    as_taken = Image.fromarray(np.arange(6, dtype="uint8").reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = orientation
    as_taken.save("pictures/a.png", exif=exif)
    with Image.open("pictures/a.png") as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    probe = images((*upright.shape, 1), exif_rotation=True, scale="0-255")
    assert np.array_equal(whole(probe).inputs[0, ..., 0], upright)
    probe = images((2, 3, 1), scale="0-255")
    assert np.array_equal(whole(probe).inputs[0, ..., 0], np.asarray(as_taken))


def test_a_rotation_that_cannot_be_read_is_said() -> None:
    Path("pictures").mkdir()
    Image.new("RGB", (2, 2)).save("pictures/a.png", exif=b"XX")
    said = r"^pictures/a\.png: cannot be read as a picture: it is incomplete or damaged$"
    for shape in ((2, 2, 3), None):  # of a model, or as the pictures are
        with pytest.raises(InputError, match=said):
            whole(images(shape, exif_rotation=True))


@pytest.mark.parametrize("content", [b"", b"\x28", b"\x0a"])
def test_a_file_of_a_few_bytes_is_no_picture(content: bytes) -> None:
    assert not PictureFolder("pictures").reads("notes", content)


def keras_values(size: tuple[int, int], mode: str, **how: Any) -> np.ndarray:
    dataset = keras.utils.image_dataset_from_directory(
        "pictures", labels=None, color_mode=mode, image_size=size, shuffle=False, verbose=False,
        **how,
    )  # fmt: skip
    return np.concatenate([np.asarray(batch) for batch in dataset])


def write_pictures() -> None:
    """Write pictures with fine detail in the formats that Keras reads."""
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 4), dtype="uint8")
    rgb, rgba = Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    rgb.save("pictures/a.jpg", quality=70)
    rgb.convert("L").save("pictures/b.jpeg")
    rgb.convert("CMYK").save("pictures/c.jpg")
    rgb.save("pictures/d.png")
    rgba.save("pictures/e.png")
    rgb.convert("P").save("pictures/f.png")
    rgb.convert("L").save("pictures/g.PNG")
    Image.fromarray(noise[..., 0].astype("uint16") * 257 + 99).save("pictures/h.png")
    rgb.convert("P").save("pictures/i.gif")


JPEG = (".jpg", ".jpeg")
METHODS = ["bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian",
           "mitchellcubic"]  # fmt: skip


@pytest.mark.parametrize("interpolation", METHODS)
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_pictures_have_the_values_that_keras_gives(interpolation: str, fit: str) -> None:
    write_pictures()
    how = {} if fit == "stretch" else {f"{fit}_to_aspect_ratio": True}
    chosen = {"interpolation": interpolation, "fit": fit, "scale": "0-255"}
    found = whole(images((11, 24, 3), **chosen)).inputs
    if fit == "crop" and interpolation in ("gaussian", "mitchellcubic"):  # which Keras refuses
        for path in Path("pictures").iterdir():
            with Image.open(path) as opened:
                middle = opened.crop((0, 6, 53, 30))  # 24 of 37 rows, the same share as of columns
            path.unlink()
            middle.convert("RGB").save(path.with_suffix(".png"))
        whole_ones = images((11, 24, 3), interpolation=interpolation, scale="0-255")
        lossless = [3, 4, 5, 6, 8]
        assert np.array_equal(found[lossless], whole(whole_ones).inputs[lossless])
        return
    expected = keras_values((11, 24), "rgb", interpolation=interpolation, **how)
    assert np.array_equal(found, expected.astype("float32"))


@pytest.mark.parametrize(("old", "new"), [((136, 161), (160, 230)), ((197, 172), (176, 281))])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_proportions_are_rounded_as_by_keras(
    old: tuple[int, int], new: tuple[int, int], fit: str
) -> None:
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype="uint8")
    Image.fromarray(noise).save("pictures/a.png")
    expected = keras_values(new, "rgb", **{f"{fit}_to_aspect_ratio": True})
    assert np.array_equal(whole(images((*new, 3), fit=fit, scale="0-255")).inputs, expected)


# The sampling factors of brightness, those of colours being 1: of every kind that is decoded in
# its own way. Pillow writes the first three; the others have as many blocks in the same file.
SAMPLINGS = [(0, 0x11), (1, 0x21), (2, 0x22), (1, 0x12), (2, 0x41), (2, 0x14)]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("subsampling", "factors"), SAMPLINGS)
def test_colours_of_a_lower_resolution_have_the_values_that_keras_gives(
    subsampling: int, factors: int, progressive: bool
) -> None:
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    sizes = (
        [(64, 64)] if factors not in (0x11, 0x21, 0x22) else [(64, 64), (37, 53), (5, 2), (1, 1)]
    )
    for number, (height, width) in enumerate(sizes):
        data = io.BytesIO()
        shown = Image.fromarray(noise[:height, :width])
        shown.save(data, "JPEG", quality=60, subsampling=subsampling, progressive=progressive)
        written = bytearray(data.getvalue())
        written[written.find(b"\xff\xc2" if progressive else b"\xff\xc0") + 11] = factors
        Path(f"pictures/{number}.jpg").write_bytes(written)
    for mode, channels in (("rgb", 3), ("grayscale", 1)):
        expected = keras_values((40, 40), mode, interpolation="nearest")
        probe = images((40, 40, channels), interpolation="nearest", scale="0-255")
        assert np.array_equal(whole(probe).inputs, expected)


def test_unusual_pictures_have_the_values_that_keras_gives() -> None:
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 4), dtype="uint8")
    rgb, few = Image.fromarray(noise[..., :3]), Image.fromarray(noise[..., :3]).quantize(16)
    for name, chunk in {
        "srgb": (b"sRGB", b"\0"),
        "gamma": (b"gAMA", bytes((0, 0, 0xA0, 0))),
    }.items():
        info = PngImagePlugin.PngInfo()
        info.add(*chunk)
        rgb.save(f"pictures/{name}.png", pnginfo=info)
    few.save("pictures/transparent.png", transparency=3)
    Image.fromarray(noise[..., :2]).save("pictures/gray.png")
    rgb.save("pictures/rgb.jpg", keep_rgb=True, subsampling=0)
    for channels, mode in ((1, "grayscale"), (3, "rgb")):
        if channels == 3:
            few.save("pictures/transparent.gif", transparency=3)
        probe = images((37, 53, channels), scale="0-255")
        assert np.array_equal(whole(probe).inputs, keras_values((37, 53), mode))


def test_a_jpeg_of_red_green_and_blue_at_two_resolutions_is_read() -> None:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), (128, 128, 128)).save(data, "JPEG", keep_rgb=True, subsampling=0)
    written = bytearray(data.getvalue())
    written[written.find(b"\xff\xc0") + 11] = 0x22
    Path("pictures").mkdir()
    Path("pictures/rgb.jpg").write_bytes(written)
    assert (whole(images((16, 16, 3), scale="0-255")).inputs == 128).all()


@pytest.mark.parametrize("interpolation", METHODS)
def test_a_picture_of_the_right_size_has_the_values_that_keras_gives(interpolation: str) -> None:
    write_pictures()
    expected = keras_values((37, 53), "rgb", interpolation=interpolation)
    found = whole(images((37, 53, 3), interpolation=interpolation, scale="0-255")).inputs
    assert np.array_equal(found, expected.astype("float32"))


@pytest.mark.parametrize(("mode", "channels"), [("grayscale", 1), ("rgba", 4)])
def test_pictures_of_other_channels_have_the_values_that_keras_gives(
    mode: str, channels: int
) -> None:
    write_pictures()
    for path in Path("pictures").iterdir():
        gray_from_cmyk = channels == 1 and path.name == "c.jpg"
        if path.suffix == ".gif" or gray_from_cmyk or (channels == 4 and path.suffix in JPEG):
            path.unlink()  # which Keras does not read so
    expected = keras_values((60, 31), mode)
    probe = images((60, 31, channels), scale="0-255")
    assert np.array_equal(whole(probe).inputs, expected)
    probe = images((60, 31, channels))
    assert np.array_equal(whole(probe).inputs, expected / np.float32(255))


def test_a_picture_is_what_its_content_says() -> None:
    Path("pictures").mkdir()
    red = Image.new("RGB", (4, 4), (250, 10, 10))
    kinds = {"a.jfif": "JPEG", "b.jpe": "JPEG", "c.ppm": "PPM", "d.TIF": "TIFF", "e.webp": "WEBP",
             "f": "PNG", "g.jpg": "PNG", "h.dat": "BMP", "i.tga": "TGA", "j.jp2": "JPEG2000",
             "k.avif": "AVIF"}  # fmt: skip
    for name, kind in kinds.items():
        if kind in Image.SAVE:  # AVIF is not in every Pillow
            red.save(f"pictures/{name}", kind)
    batch = whole(images((2, 2, 3), scale="0-255"))
    assert batch.samples.tolist() == sorted(path.name for path in Path("pictures").iterdir())
    np.testing.assert_allclose(batch.inputs, np.full_like(batch.inputs, (250, 10, 10)), atol=4)


def test_a_jpeg_with_further_pictures_behind_it_is_a_jpeg() -> None:
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8")
    first = Image.fromarray(noise)
    first.save("pictures/a.jpg", "MPO", save_all=True, append_images=[first.rotate(180)])
    expected = keras_values((20, 30), "rgb")
    assert np.array_equal(whole(images((20, 30, 3), scale="0-255")).inputs, expected)


def test_what_is_no_picture_is_left_out_and_said() -> None:
    picture("pictures/1/a.png")
    for name in ("notes.txt", "1/data.csv", ".DS_Store", "1/Thumbs.db", "__MACOSX/a.png"):
        Path("pictures", name).parent.mkdir(exist_ok=True)
        Path("pictures", name).write_text("a,b\n1,2\n")
    Path("pictures/model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    said = "3 files of 'pictures' left out (not pictures): 1/data.csv, model.h5, notes.txt"
    with pytest.warns(UserWarning, match=re.escape(said)):
        probe = images()
    assert probe.notes == (said,)
    assert whole(probe).samples.tolist() == ["1/a.png"]


def test_of_several_pages_or_frames_the_first_is_shown_and_that_is_said() -> None:
    Path("pictures").mkdir()
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    for name in ("a.tif", "b.gif", "c.webp", "d.png"):
        first.save(f"pictures/{name}", save_all=True, append_images=[second])
    first.save("pictures/e.tif")
    said = (
        "4 files of 'pictures' with several pages or frames, of which only the first is shown: "
        "a.tif, b.gif"
    )
    with pytest.warns(UserWarning, match=re.escape(said)):
        probe = images()
    assert (whole(probe).inputs > 0.9).all(axis=(1, 2)).tolist() == [[True, False, False]] * 5


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n(harmed) (w) file closefile\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (POSTSCRIPT, "expected a picture, it is a PostScript file"),
        (b"", "expected a picture, it is empty"),
        (b"<!doctype html><p>404", "expected a picture, it is a web page (HTML)"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.jfif", "a.tif"])
def test_what_is_called_a_picture_and_is_none_is_refused(name: str, data: bytes, why: str) -> None:
    picture("pictures/0.png")
    Path("pictures", name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        images()
    assert str(caught.value) == f"pictures/{name}: {why}; replace it, or move it away"
    assert not Path("harmed").exists()


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff", "webp", "ppm"])
def test_a_picture_that_is_cut_short_is_named(kind: str) -> None:
    Path("pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    Image.fromarray(noise).save("pictures/a", kind)
    data = Path("pictures/a").read_bytes()
    Path("pictures/a").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"^pictures/a: cannot be read as a picture: ") as caught:
        images()
    assert len(str(caught.value).splitlines()) == 1
    still_open = [handle.resolve() for handle in Path("/proc/self/fd").glob("*")]  # on Linux
    assert Path("pictures/a").resolve() not in still_open


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.ppm", b"P6\n\xff\xfe 8\n255\n"),
        ("a.ppm", b"P3\n8 8\n255\nxx yy"),
        ("a.ppm", b"P3\n2 2\n255\n" + b"1" * 30),
        ("a.pbm", b"P1\n8 8\n2 3 4"),
    ],
)
def test_a_damaged_picture_is_told_without_its_bytes(name: str, data: bytes) -> None:
    Path("pictures").mkdir()
    Path("pictures", name).write_bytes(data)
    said = f"^pictures/{name}: cannot be read as a picture: it is incomplete or damaged$"
    with pytest.raises(InputError, match=said):
        images()


def test_a_picture_that_declares_too_many_pixels_is_refused() -> None:
    picture("pictures/a.png")
    data = bytearray(Path("pictures/a.png").read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    Path("pictures/a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"^pictures/a.png: .*3600000000 pixels"):
        images()


def test_a_picture_of_gigabytes_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture("pictures/a.png")
    with monkeypatch.context() as patch:
        patch.setattr(images_source, "LARGEST", 10)
        with pytest.raises(InputError, match=r"^pictures/a\.png: has \d+ B, the limit of a pict"):
            whole(images())
    os.truncate("pictures/a.png", 10**11)  # takes no room, and would take as much memory
    with pytest.raises(InputError, match=r"^probe.path: 'pictures/a\.png' is a sparse file"):
        images()


def table(text: str, name: str = "labels.csv") -> None:
    Path(name).write_text(text, encoding="utf-8-sig")


def test_labels_and_ids_come_from_a_table() -> None:
    for name in ("cat/1.png", "dog/2.png", "dog/3.png"):
        picture(f"pictures/{name}")
    table("file,label,id\ndog/3.png,고양이,30\ncat/1.png,개,10\ndog\\2.png,개,20\n")
    batch = whole(images(labels="labels.csv"))
    assert batch.labels is not None
    assert (batch.samples.tolist(), batch.labels.tolist()) == ([10, 20, 30], ["개", "개", "고양이"])


@pytest.mark.parametrize("names", [("1.png", "2.png"), ("1", "2"), ("a/1.png", "b/2.png")])
def test_a_table_names_pictures_by_path_by_name_or_without_the_ending(
    names: tuple[str, str],
) -> None:
    picture("pictures/a/1.png")
    picture("pictures/b/2.png")
    table(f"image;species\n{names[1]};0\n{names[0]};1\n")
    batch = whole(images(labels="labels.csv", label_column="species"))
    assert batch.samples.tolist() == ["a/1.png", "b/2.png"]
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 0]


def test_a_table_of_labels_may_be_parquet_and_stand_among_the_pictures() -> None:
    picture("pictures/가.png")
    columns = {"file": [unicodedata.normalize("NFD", "가.png")], "label": [7]}
    pa.parquet.write_table(pa.table(columns), "pictures/labels.parquet")
    batch = whole(images(labels="pictures/labels.parquet"))
    assert batch.labels is not None
    assert batch.labels.tolist() == [7]


def test_one_long_label_does_not_become_many() -> None:
    picture("pictures/1.png")
    columns = {"file": ["1.png", "2.png"], "label": pa.array(["x" * 2_000] * 2)}
    pa.parquet.write_table(pa.table(columns), "labels.parquet")
    message = "labels.parquet, column 'label': a text has 2,000 bytes, at most 1,000 are allowed"
    with (
        pytest.raises(InputError, match=message),
        pytest.warns(UserWarning, match="names 1 picture not found in the folder: 2.png"),
    ):
        images(labels="labels.parquet")


def test_a_table_of_labels_may_have_columns_of_lists_but_not_of_labels() -> None:
    picture("pictures/1.png")
    columns = {"file": ["1.png"], "label": [7], "boxes": [[1, 2]]}
    pa.parquet.write_table(pa.table(columns), "labels.parquet")
    batch = whole(images(labels="labels.parquet"))
    assert batch.labels is not None
    assert batch.labels.tolist() == [7]
    message = r"labels\.parquet: column 'boxes' holds list<.*>, not one text or number a row"
    with pytest.raises(InputError, match=message):
        images(labels="labels.parquet", label_column="boxes")


def test_rows_of_labels_that_are_missing_or_spare_are_said() -> None:
    for name in ("1.png", "2.png", "3.png"):
        picture(f"pictures/{name}")
    table("file,label\n1.png,0\n")
    with pytest.raises(InputError) as caught:
        images(labels="labels.csv")
    assert str(caught.value) == (
        "probe.labels: labels.csv has no row of 2 pictures: 2.png, 3.png; "
        "add what is missing, or move these pictures away"
    )
    table("file,label\n1.png,0\n2.png,1\n3.png,1\n4.png,5\n5.png,6\n")
    said = "labels.csv names 2 pictures not found in the folder: 4.png, 5.png"
    with pytest.warns(UserWarning, match=said):
        images(labels="labels.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.png,0\n1.png,1\n", "labels.csv has several rows of 1.png"),
        ("file,species\n1.png,0\n", "expected a column of labels or ids in labels.csv, found fi"),
        ("file,label,label\n1.png,0,1\n", "labels.csv has several columns called 'label'"),
        ("file,label\n1.png,\n", "labels.csv has no 'label' for 1.png; fill it in"),
        ("file,label\n", "labels.csv has no rows below its columns' names"),
        ("file,label\n1.png\n", "labels.csv:2: 1 fields, expected 2"),
    ],
)
def test_a_wrong_table_of_labels_is_refused(text: str, message: str) -> None:
    picture("pictures/1.png")
    table(text)
    with pytest.raises(InputError, match=message):
        images(labels="labels.csv")


def test_more_pictures_than_a_block_come_in_order() -> None:
    for shade in range(70):
        picture(f"pictures/{shade:02}.png", shade, (1, 1), "L")
    batches = list(images((1, 1, 1), scale="0-255").batches(50))
    assert [len(batch) for batch in batches] == [50, 20]
    assert np.concatenate([batch.inputs for batch in batches]).ravel().tolist() == [*range(70)]


def test_wrong_pictures_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        images()
    assert str(caught.value) == f"probe.path: no folder 'pictures' (looked in {tmp_path})"
    Path("pictures").mkdir()
    with pytest.raises(InputError, match=r"^probe.path: no pictures in 'pictures'$"):
        images()
    picture("pictures/a.png")
    with pytest.raises(InputError, match=r"^probe: pictures need a model with one input of heig"):
        images((3,))
    Path("pictures/a.png").write_bytes(Path("pictures/a.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"^pictures/a.png: cannot be read as a picture: "):
        images()
    Path("pictures/a.png").unlink()
    picture("pictures/a.tif", mode="I;16")
    with pytest.raises(InputError, match=r"^pictures/a.tif: has pixels of more than 8 bits \(I"):
        images()


def test_without_pillow_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    picture("pictures/a.png")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    match = r'^probe: needs Pillow; type: pip install "activation-runner\[images\]"$'
    with pytest.raises(InputError, match=match):
        images()


def test_the_line_is_right_below_quoted_lines_and_empty_ones() -> None:
    above = 'id,a,b\r\n"one\r\ntwo",1,2\r\n\r\n"say ""so"", yes",3,4\r\n'
    for row, match in [
        ("x,5,nan", r"^t.csv:6: column 'b': found nan; set probe.allow_nan=true"),
        ("x,5", r"^t.csv:6: 2 fields, expected 3$"),
        ("x,5, ", r"^t.csv:6: column 'b': expected a number, found ' '"),
        (",5,6", r"^t.csv:6: the sample id is empty$"),
        ('"one\r\ntwo",5,6', r"^t.csv:6: the sample id 'one\\r\\ntwo' is already used by t.csv:2$"),
    ]:
        with pytest.raises(InputError, match=match):
            csv(f"{above}{row}\r\n")
    probe = csv(above)
    assert whole(probe).samples.tolist() == ["one\r\ntwo", 'say "so", yes']


MISSING = [
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "-nan",
    "null",
    "NULL",
    "None",
    "?",
    "<NA>",
]


def test_a_missing_value_is_nan_where_that_is_allowed() -> None:
    expected = [[1, np.nan], [2, 0.5]]
    for word in MISSING:
        for cell in (word, f" {word}", f"{word} ", f'"{word}"'):
            shown = whole(csv(f"a,b\n1,{cell}\n2,0.5\n", allow_nan=True)).inputs
            np.testing.assert_array_equal(shown, np.float32(expected), err_msg=repr(cell))
    for column in ([None, 0.5], pa.array([None, 0], pa.int64())):
        shown = whole(parquet({"a": [1.0, 2.0], "b": column}, allow_nan=True)).inputs
        assert np.isnan(shown[0, 1])


@pytest.mark.parametrize("word", [word for word in MISSING if "nan" not in word.lower()])
def test_how_a_missing_value_may_be_kept_is_said(word: str) -> None:
    with pytest.raises(InputError, match=r"^t.csv:2: column 'b': .*; set probe.allow_nan=true to"):
        csv(f"a,b\n1,{word}\n")


def test_ids_and_labels_that_read_as_missing_are_texts() -> None:
    batch = whole(csv("id,label,a\nNA,NA,1\nnull,?,2\n", width=1, allow_nan=True))
    assert batch.samples.tolist() == ["NA", "null"]
    assert batch.labels is not None
    assert batch.labels.tolist() == ["NA", "?"]


def test_an_integer_input_holds_no_nan() -> None:
    match = r"^t.csv:3: column 'b': found nan; int32 cannot hold it: give it a number$"
    for allow_nan in (False, True):
        with pytest.raises(InputError, match=match):
            csv("a,b\n1,2\n3,nan\n", dtype="int32", allow_nan=allow_nan)


def test_a_target_that_is_no_number_is_said() -> None:
    with pytest.raises(InputError, match=r"^t.csv:3: target, column 0: found inf; set probe"):
        csv("a,b,y\n1,2,3\n1,2,inf\n", target_columns=["y"])


def test_parquet_tells_text_from_numbers_by_its_types() -> None:
    probe = parquet({"id": ["7", "8"], "label": ["0", "1"], "a": [1, 2], "b": [0.5, 1]})
    assert probe.sample_type == "string"
    assert whole(probe).samples.tolist() == ["7", "8"]


def test_a_model_that_cannot_tell_takes_a_parquet_in_its_own_type() -> None:
    columns = {"a": pa.array([1, 2], pa.float32()), "b": pa.array([3, 4], pa.float32())}
    pa.parquet.write_table(pa.table(columns), "t.parquet")
    config = TypeAdapter(ProbeConfig).validate_python({"source": "parquet", "path": "t.parquet"})
    assert open_probe(config, []).inputs == (InputSpec("input", (2,), "float32"),)


def test_file_names_may_be_korean() -> None:
    Path("자료").mkdir()
    Path("자료/표본.csv").write_text("id,가\n하나,1\n", encoding="utf-8")
    batch = whole(opened((1,), source="csv", path="자료/표본.csv"))
    assert (batch.samples.tolist(), batch.inputs.tolist()) == (["하나"], [[1]])
    with pytest.raises(InputError, match=r"^probe.path: no file '자료/없음.csv'"):
        opened((1,), source="csv", path="자료/없음.csv")


def test_an_array_of_gigabytes_is_mapped() -> None:
    with Path("a.npy").open("wb") as file:
        file.write(npy_header((1000, 10**6), "<f4"))
        file.truncate(file.tell() + 4 * 10**9)  # a hole: it takes no room on the disk
    tracemalloc.start()
    first = next(opened((10**6,), source="npy", path="a.npy").batches(2))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first.inputs.shape == (2, 10**6)
    assert most < 100e6


def test_text_that_is_to_be_shown_is_referred_to_where_it_can_be() -> None:
    said = r"t\.csv:2: column 'b': expected a number, found 'one'; give it a number, or show text "
    with pytest.raises(InputError, match=f"^{said}from probe=npz or probe=function$"):
        whole(csv("a,b\n1,one\n", input_columns=["a", "b"]))


ROUNDED = "found 16777217, which float32 rounds to 16777216; scale it, give it as a float"


def test_every_source_refuses_an_integer_that_float32_does_not_hold() -> None:
    numbers = [[1, 2], [16777217, 4]]
    frame = pd.DataFrame({"a": [1, 16777217], "b": [2.5, 4]})
    mixed: dict[str, Any] = {"a": [1, 16777217], "b": [2.5, 4.0]}
    tries: list[Callable[[], Probe]] = [
        lambda: csv("a,b\n1,2\n16777217,4\n"),
        lambda: csv("a,b\n1,2.5\n16777217,4\n"),
        lambda: csv("a,b\n,2.5\n16777217,4\n", allow_nan=True),
        lambda: npy(np.array(numbers), width=2),
        lambda: npz(2, x=np.array(numbers)),
        lambda: parquet({"a": [1, 16777217], "b": [2, 4]}),
        lambda: parquet(mixed),
        lambda: parquet({"a": [None, 16777217], "b": [2.5, 4.0]}, allow_nan=True),
        lambda: opened((2,), source="inline", inputs=numbers),
        lambda: opened((2,), source="inline", inputs=[[1, 2.5], [16777217, 4]]),
        lambda: fit_to_model(as_probe(np.array(numbers)), [InputSpec("x", (2,))], allow_nan=False),
        lambda: fit_to_model(as_probe(frame), [InputSpec("x", (2,))], allow_nan=False),
        lambda: fit_to_model(
            as_probe(frame.convert_dtypes()), [InputSpec("x", (2,))], allow_nan=False
        ),
    ]
    for place, attempt in enumerate(tries):
        with pytest.raises(InputError, match=f": {ROUNDED}") as caught:
            attempt()
        assert "(an input of dtype float64, and model.dtype=float64)" in str(caught.value), place
        assert re.search(r"t\.csv:3: |row 1, column ('a'|0)", str(caught.value)), place


def test_a_float_may_be_rounded_even_if_it_is_a_whole_number() -> None:
    shown = np.float32([[1, 2], [16777216, 4]])
    for probe in (
        csv("a,b\n1,2\n16777217.0,4\n"),
        csv("a,b\n1.5,2\n16777217,4\n"),
        npy(np.array([[1.0, 2], [16777217, 4]]), width=2),
        parquet({"a": [1.0, 16777217.0], "b": [2, 4]}),
        opened((2,), source="inline", inputs=[[1.0, 2], [16777217.0, 4]]),
    ):
        np.testing.assert_array_equal(whole(probe).inputs[1:], shown[1:])
    assert whole(csv("a,b\n1,2\n16777218,4e30\n")).inputs.tolist()[1][0] == 16777218


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_integer_beyond_float64_is_said_before_it_is_rounded(dtype: str) -> None:
    found = f"found {2**53 + 1}, which float64 rounds to {2**53}; scale it"
    with pytest.raises(InputError, match=rf"^t\.csv:3: column 'b': {found}"):
        csv(f"a,b\n1,2\n1.5,{2**53 + 1}\n", dtype=dtype)
    pa.parquet.write_table(pa.table({"a": [1.5], "b": [2**53 + 1]}), "t.parquet")
    with pytest.raises(InputError, match=f"row 0, column 'b': {found}"):
        opened((2,), dtype, source="parquet", path="t.parquet")
    with pytest.raises(InputError, match=rf"^probe\.inputs: row 0, column 1: {found}"):
        opened((2,), dtype, source="inline", inputs=[[1.5, 2**53 + 1]])
    with pytest.raises(InputError, match=f"row 0, column 'b': {found}"):
        as_probe(pd.DataFrame({"a": [1.5], "b": [2**53 + 1]}))


# Indices that pandas writes beside the columns.


def frame_file(frame: pd.DataFrame, kind: str = "parquet", **config: Any) -> Probe:
    path = f"frame.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path)
    return opened((2,), source=kind, path=path, **config)


FRAME = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 6, 7, 8]})


@pytest.mark.parametrize("kind", ["parquet", "csv", "memory"])
@pytest.mark.parametrize(
    ("frame", "ids"),
    [
        (FRAME[FRAME.a != 2], [0, 2, 3]),
        (FRAME[1:3], [1, 2]),
        (FRAME[::-1], [3, 2, 1, 0]),
        (FRAME.set_index(pd.Index(["p", "q", "r", "s"])), ["p", "q", "r", "s"]),
        (FRAME, [0, 1, 2, 3]),
    ],
)
def test_the_index_of_a_frame_is_the_ids(frame: pd.DataFrame, ids: list[Any], kind: str) -> None:
    probe = as_probe(frame) if kind == "memory" else frame_file(frame, kind)
    batch = whole(probe)
    assert batch.samples.tolist() == ids
    np.testing.assert_array_equal(batch.inputs, frame.to_numpy())


def test_a_named_index_is_the_ids_too_unless_there_is_an_id() -> None:
    named = FRAME.set_index(pd.Index([7, 9, 8, 10], name="patient"))
    assert whole(frame_file(named)).samples.tolist() == [7, 9, 8, 10]
    both = whole(frame_file(named.assign(id=["p", "q", "r", "s"])))
    assert both.samples.tolist() == ["p", "q", "r", "s"]
    assert both.inputs.shape == (4, 2)
    chosen = whole(frame_file(named, input_columns=["patient", "a"]))
    assert chosen.inputs[:, 0].tolist() == [7, 9, 8, 10]


def test_the_levels_of_an_index_are_joined() -> None:
    levels = pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1), ("y", 2)])
    frame = FRAME.set_index(levels)
    for probe in (frame_file(frame), frame_file(frame, "csv"), as_probe(frame)):
        assert whole(probe).samples.tolist() == ["x/1", "x/2", "y/1", "y/2"]


@pytest.mark.parametrize("kind", ["parquet", "csv", "memory"])
def test_an_index_that_repeats_itself_is_said(kind: str) -> None:
    frame = pd.concat([FRAME[:2], FRAME[:2]])
    advice = "(give each sample its own id|give sample_ids)"
    match = rf"sample id 0( is already used by frame.csv:2)?; {advice}"
    with pytest.raises(InputError, match=match):
        as_probe(frame) if kind == "memory" else frame_file(frame, kind)


def test_what_is_said_of_other_rows_counts_nothing() -> None:
    table = pa.Table.from_pandas(FRAME[1:3])
    pa.parquet.write_table(pa.concat_tables([table, table]), "frame.parquet")
    probe = opened((2,), source="parquet", path="frame.parquet")
    assert whole(probe).samples.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "said",
    [
        "[" * 100_000,
        '{"index_columns": [{"kind": "range", "start": 0, "stop": 1' + "0" * 30 + ', "step": 1}]}',
        '{"index_columns": [{"kind": "range", "start": true, "stop": 2, "step": 0}, [], null]}',
        '{"index_columns": {}}',
    ],
)
def test_what_pandas_cannot_have_written_is_ignored(said: str) -> None:
    table = pa.table({name: [1.0, 2.0] for name in "abc"})
    table = table.replace_schema_metadata({"pandas": said})
    pa.parquet.write_table(table, "a.parquet")
    config = TypeAdapter(ProbeConfig).validate_python({"source": "parquet", "path": "a.parquet"})
    [batch] = open_probe(config, [InputSpec("input", (3,))]).blocks()
    assert batch.samples.tolist() == [0, 1]


def test_a_file_of_pandas_read_and_written_again_shows_no_index() -> None:
    Path("t.csv").write_text(",Unnamed: 0,a,b\n0,0,1,2\n1,1,3,4\n", encoding="ascii")
    batch = whole(opened((2,), source="csv", path="t.csv"))
    assert batch.inputs.tolist() == [[1, 2], [3, 4]]


def test_labels_with_another_index_than_the_inputs_are_refused() -> None:
    labels = pd.Series([0, 1, 2, 3], index=[3, 2, 1, 0])
    with pytest.raises(
        InputError, match="the index of the labels differs from that of the inputs; align"
    ):
        as_probe(FRAME, labels=labels)
    batch = whole(as_probe(FRAME.to_numpy(), labels=labels))
    assert batch.samples.tolist() == [3, 2, 1, 0]


# Columns of more than one number, and numbers of every type.


def test_parquet_columns_of_lists_and_tensors_are_arrays() -> None:
    rows = np.arange(12.0).reshape(3, 4)
    flat = pa.array(rows.ravel())
    for column in (
        pa.array(rows.tolist()),
        pa.array(rows.tolist(), pa.large_list(pa.float32())),
        pa.array(rows.astype(int).tolist(), pa.list_(pa.int16())),
        pa.FixedSizeListArray.from_arrays(flat, 4),
        pa.FixedShapeTensorArray.from_numpy_ndarray(rows),
    ):
        probe = parquet({"id": ["p", "q", "r"], "embedding": column}, width=4)
        np.testing.assert_array_equal(whole(probe).inputs, rows)
        assert [len(batch) for batch in probe.batches(2)] == [2, 1]
    image = np.arange(24.0).reshape(2, 3, 4, 1)
    for column in (pa.array(image.tolist()), pa.FixedShapeTensorArray.from_numpy_ndarray(image)):
        pa.parquet.write_table(pa.table({"x": column}), "t.parquet")
        probe = opened((3, 4, 1), source="parquet", path="t.parquet")
        np.testing.assert_array_equal(whole(probe).inputs, image)


def test_tensors_whose_axes_are_stored_in_another_order_are_read_in_theirs() -> None:
    kind = pa.fixed_shape_tensor(pa.float64(), (3, 2, 4), permutation=[1, 2, 0])
    stored = pa.array(np.arange(48.0).reshape(2, 24).tolist(), kind.storage_type)
    column = pa.ExtensionArray.from_storage(kind, stored)
    pa.parquet.write_table(pa.table({"x": column}), "t.parquet")
    probe = opened((2, 4, 3), source="parquet", path="t.parquet")
    expected = np.arange(48.0).reshape(2, 3, 2, 4).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(whole(probe).inputs, expected)


def test_arrays_beside_other_columns_are_inputs_by_name() -> None:
    table = pa.table({"image": pa.array([[1.0, 2], [3, 4]]), "age": [7.0, 8]})
    pa.parquet.write_table(table, "t.parquet")
    expected = [InputSpec("age", (1,)), InputSpec("image", (2,))]
    config = TypeAdapter(ProbeConfig).validate_python({"source": "parquet", "path": "t.parquet"})
    inputs = whole(open_probe(config, expected)).inputs
    assert inputs["age"].tolist() == [[7], [8]]
    assert inputs["image"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([[1, 2], [3]], "row 1, column 'x': 1 value, expected 2; pad all rows to one length"),
        ([[1, 2], None], "row 1, column 'x': found an empty cell"),
        ([[1, 2], [3, None]], "row 1, column 'x': found an empty cell; set probe.allow_nan=true"),
        ([[[1], [2]], [[3], [4, 5]]], "row 1, column 'x': 2 values, expected 1; pad"),
        ([["a"], ["b"]], "column 'x' holds string, not numbers"),
        ([datetime(2020, 1, 1)] * 2, r"column 'x' holds timestamp\[us\], a time, not numbers"),
        ([{"y": 1}] * 2, "column 'x' holds struct<y: int64>, not numbers"),
    ],
)
def test_a_column_that_is_no_array_is_said(column: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parquet({"x": column})


@pytest.mark.parametrize(
    "column",
    [
        pa.array([Decimal("1.50"), Decimal("-2")]),
        pa.array([Decimal(1), Decimal(-2)], pa.decimal256(40, 0)),
        pa.array(np.array([1.5, -2], np.float16)),
        pa.array([1, 0], pa.uint64()),
        pa.array([True, False]),
        pa.array([1.5, -2.0]).dictionary_encode(),
    ],
)
def test_numbers_of_every_type_are_inputs(column: pa.Array) -> None:
    shown = whole(parquet({"a": column, "b": [0.0, 0.0]})).inputs[:, 0]
    np.testing.assert_array_equal(shown, [float(value) for value in column.to_pylist()])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_ids_may_be_texts_of_every_type(kind: pa.DataType) -> None:
    names = ["하나", "둘"]
    column = pa.array([name.encode() for name in names] if kind == pa.binary() else names, kind)
    probe = parquet({"a": [1, 2], "b": [3, 4], "id": column, "label": column})
    batch = whole(probe)
    assert batch.labels is not None
    assert batch.samples.tolist() == batch.labels.tolist() == names


def test_a_table_of_units_is_a_probe() -> None:
    table = {"sample": ["p", "q"], **{f"u{unit}": [unit + 0.5, -unit] for unit in range(12)}}
    assert whole(parquet(table, width=12)).samples.tolist() == ["p", "q"]
    mixed = {name: table[name] for name in ("sample", *sorted(table.keys() - {"sample"}))}
    assert whole(parquet(mixed, width=12)).inputs[1].tolist() == [-unit for unit in range(12)]
    pd.DataFrame(table).to_csv("t.csv", index=False)
    batch = whole(opened((12,), source="csv", path="t.csv"))
    assert batch.samples.tolist() == ["p", "q"]
    maps = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3, 3, 1)))
    pa.parquet.write_table(pa.table({"sample": [4, 5], "activation": maps}), "t.parquet")
    batch = whole(opened((3, 3, 1), source="parquet", path="t.parquet"))
    assert (batch.samples.tolist(), batch.inputs.shape) == ([4, 5], (2, 3, 3, 1))


def test_one_number_a_sample_is_shown_to_a_model_of_one() -> None:
    assert whole(npy(np.arange(3.0), width=1)).inputs.tolist() == [[0], [1], [2]]
    assert whole(npz(1, x=np.arange(3.0))).inputs.shape == (3, 1)
    with pytest.raises(InputError, match=r"one sample needs a sample axis too: array\[None\]$"):
        npy(np.arange(3.0), width=3)
    np.save("a.npy", np.ones((2, 4, 4)))
    with pytest.raises(InputError, match=r"add the last axis: array\[..., None\]$"):
        opened((4, 4, 1), source="npy", path="a.npy")


# Text as other programs write it.


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("a;b\n1;2\n3;4\n", {}),
        ("a\tb\n1\t2\n3\t4\n", {}),
        ("a|b\n1|2\n3|4\n", {}),
        ("a b\n1 2\n3 4\n", {}),
        ('"a";"b"\n1,0;2,0\n3,0;4e0\n', {"decimal": ","}),
        ("sep=;\na;b\n1;2\n3;4\n", {}),
        ("\ufeffsep=;\r\na;b\r\n1;2\r\n3;4\r\n", {}),
        ('"","a","b"\n"one",1,2\n"two",3,4\n', {}),
        ("0,1\n1,2\n3,4\n", {"header": True}),
        ("a;b;note\n1;2;x,y,z\n3;4;u\n", {"input_columns": ["a", "b"]}),
        ("a,b,,\n1,2,,\n3,4,,\n", {"input_columns": ["a", "b"]}),
        ("a,b\r1,2\r3,4\r", {}),
    ],
)
def test_a_text_is_read_as_other_programs_write_it(text: str, config: dict[str, Any]) -> None:
    assert whole(csv(text, **config)).inputs.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("codec", ["gzip", "bz2", "zstd", "lz4"])
def test_a_compressed_text_is_read(codec: str) -> None:
    with pa.CompressedOutputStream("t.csv", codec) as file:
        file.write(b"id;a;b\np;1;2\nq;3;4\n")
    batch = whole(opened((2,), source="csv", path="t.csv"))
    assert (batch.samples.tolist(), batch.inputs.tolist()) == (["p", "q"], [[1, 2], [3, 4]])
    with pa.CompressedOutputStream("t.csv", codec) as file:
        file.write(b"a;b\n1;2\n3;x\n")
    with pytest.raises(InputError, match=r"^t\.csv:3: column 'b': expected a number, found 'x'"):
        whole(opened((2,), source="csv", path="t.csv"))
    whole_file = Path("t.csv").read_bytes()
    Path("t.csv").write_bytes(whole_file[:-6])
    with pytest.raises(InputError, match=r"t\.csv"):
        whole(opened((2,), source="csv", path="t.csv"))


@pytest.mark.parametrize(
    ("text", "config", "said"),
    [
        ("a;b\n1.234,5;2\n", {}, "found '1.234,5'; write numbers without thousands separators"),
        ('a,b\n"1,234,567",2\n', {}, "write numbers without thousands separators"),
        ('a,b\n"1,234",2\n', {}, "thousands separators, or set 'probe.decimal=\",\"' if the comma"),
        ("a,b\n12%,2\n", {}, "found '12%'; write percentages as plain numbers"),
        ("a,b\nTRUE,2\n", {}, "found 'TRUE'; write true and false as 1 and 0"),
        ("a;b\n1.5;2\n", {"decimal": ","}, "found '1.5'; leave out probe.decimal"),
        ("a,b\n1,2,\n3,4,\n", {}, "3 fields, expected 2; remove the delimiter at the end"),
        ('"a" "b"\n"x" 1 2\n"y" 3 4\n', {}, "3 fields, expected 2; if the rows begin with row n"),
        ("1.5,x,y\n2.5,1,z\n", {}, "set probe.header=false if the first line is a sample"),
        ("a\n1,5\n2,5\n", {}, "t.csv:2: 2 fields, expected 1"),
    ],
)
def test_what_other_programs_write_otherwise_is_said(
    text: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        csv(text, **config)


PRIVATE = """
import resource, sys
from pydantic import TypeAdapter
from runner.config.probe_config import ProbeConfig
from runner.probe.source import open_probe
from runner.tensors import InputSpec
def private():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
config = TypeAdapter(ProbeConfig).validate_python({"source": "parquet", "path": sys.argv[1]})
start, most = private(), 0
for batch in open_probe(config, [InputSpec("input", (20,))]).batches(512):
    most = max(most, private() - start)
print(most)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for its memory")
@pytest.mark.parametrize("group", [100_000, 2_000_000])
def test_the_private_memory_of_a_parquet_probe_does_not_grow_with_its_rows(group: int) -> None:
    most = {}
    random = np.random.default_rng(0)
    schema = pa.schema([(f"c{column}", pa.float32()) for column in range(20)])
    for rows in (500_000, 4_000_000):
        with pa.parquet.ParquetWriter(f"{rows}.parquet", schema) as file:
            for start in range(0, rows, group):
                values = random.random((20, min(group, rows - start)), "float32")
                file.write_table(pa.table([*values], schema=schema), row_group_size=group)
        words = [sys.executable, "-c", PRIVATE, f"{rows}.parquet"]
        most[rows] = float(subprocess.run(words, capture_output=True, check=True).stdout)
        Path(f"{rows}.parquet").unlink()
    assert most[4_000_000] < most[500_000] + 40
    assert most[4_000_000] < 200


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "not utf-8 at byte 0; set probe.encoding=utf-16"),
        (b"PK\3\4" + b"\0" * 26 + b"[Content_Types].xml", "an Office file (an .xlsx?); save the "),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "an old Office file (an .xls?); save the sheet as CSV",
        ),
        (b"\xfd7zXZ\0", "it is an xz file; unpack it first"),
    ],
)
def test_a_file_that_is_no_csv_is_named(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        csv(data)


def test_frames_of_any_columns_are_read_or_refused() -> None:
    twice = pd.DataFrame([[1, 2.5]], columns=["a", "a"])
    assert whole(as_probe(twice)).inputs.tolist() == [[1, 2.5]]
    sparse = pd.DataFrame({"a": pd.arrays.SparseArray([0, 1]), "b": [1.0, 2]})
    with pytest.raises(InputError, match=r"^probe: cannot be read: Sparse pandas data"):
        as_probe(sparse)
    with pytest.raises(InputError, match=r"^probe: column 'a' holds .*string, not numbers; give"):
        as_probe(pd.DataFrame({"a": ["x"], "b": [1.0]}))
