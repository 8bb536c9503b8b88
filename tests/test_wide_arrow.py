"""Arrow files of many columns written by Runner itself, held to those of Arrow's writer."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from runner.formats.arrow import ARROW
from runner.tables import wide_arrow
from runner.tables.wide_arrow import WideArrowWriter, is_wide
from runner.tables.writing import TableWriter
from runner.tensors import TensorSpec

NUMBERS = (
    *(pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32()),
    *(pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
)
Group = tuple[list[pa.Array], np.ndarray]


def schema_of(kind: pa.DataType, units: int) -> pa.Schema:
    types = [pa.int64(), pa.string(), *[kind] * units]
    fields = [pa.field(f"c{place}", one, nullable=False) for place, one in enumerate(types)]
    return pa.schema(fields, metadata={"runner": "{}"})


def group_of(kind: pa.DataType, units: int, rows: int, room: int, seed: int) -> Group:
    """Return ids and random bits, of which there may be room for more rows."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(kind.to_pandas_dtype())
    bits = np.frombuffer(rng.bytes(units * room * dtype.itemsize), dtype)
    texts = ["", "a", "\u00e9\u00e8", "=1"]
    names = pa.array([texts[place] for place in rng.integers(4, size=rows + 2)])
    ids = pa.array(rng.integers(-(2**63), 2**63 - 1, rows))
    return [ids, names.slice(2)], bits.reshape(units, room)[:, :rows]


def batch_of(schema: pa.Schema, group: Group) -> pa.RecordBatch:
    index, values = group
    return pa.RecordBatch.from_arrays([*index, *map(pa.array, values)], schema=schema)


def written(schema: pa.Schema, groups: list[Group]) -> bytes:
    sink = io.BytesIO()
    with pa.PythonFile(sink, mode="w") as output:
        writer = WideArrowWriter(output, schema)
        for index, values in groups:
            writer.write_columns(index, values)
        writer.close()
        return sink.getvalue()


def bytes_of(batch: pa.RecordBatch) -> bytes:
    """Return all that a batch holds: NaN of different payloads differ."""
    content: bytes = batch.serialize().to_pybytes()
    return content


@settings(max_examples=60)
@given(
    kind=st.sampled_from(NUMBERS),
    units=st.integers(2, 40),
    groups=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 3)), max_size=4),
    long=st.sampled_from([1, 100, 1 << 16]),
    seed=st.integers(0, 2**32),
)
def test_the_batches_are_those_of_arrows_writer(
    kind: pa.DataType, units: int, groups: list[tuple[int, int]], long: int, seed: int
) -> None:
    schema = schema_of(kind, units)
    assert is_wide(schema)
    given_groups = [
        group_of(kind, units, rows, rows + more, seed + place)
        for place, (rows, more) in enumerate(groups)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide_arrow, "_LONG", long)
        patch.setattr(wide_arrow, "_AT_ONCE", 1100)
        data = written(schema, given_groups)
    ARROW.check_expansion(io.BytesIO(data), sum(rows for rows, _ in groups))
    with ipc.open_file(pa.BufferReader(data)) as file:
        assert file.schema.equals(schema, check_metadata=True)
        batches = [file.get_batch(place) for place in range(file.num_record_batches)]
    filled = [group for group in given_groups if group[1].size]
    assert len(batches) == len(filled)
    for batch, group in zip(batches, filled, strict=True):
        batch.validate(full=True)
        assert bytes_of(batch) == bytes_of(batch_of(schema, group))
    streamed = ipc.open_stream(pa.BufferReader(data[8:])).read_all()
    assert [bytes_of(batch) for batch in streamed.to_batches()] == [
        bytes_of(batch) for batch in batches
    ]


def test_a_batch_without_ids_is_written() -> None:
    schema = pa.schema([pa.field(name, pa.float32(), nullable=False) for name in "ab"])
    data = written(schema, [([], np.array([[1], [2]], np.float32))])
    assert ipc.open_file(pa.BufferReader(data)).read_all().to_pydict() == {"a": [1.0], "b": [2.0]}


@pytest.mark.parametrize("rows", [16_384, 9_999])
def test_other_packages_read_the_file(rows: int, tmp_path: Path) -> None:
    schema = schema_of(pa.float32(), 300)
    group = group_of(pa.float32(), 300, rows, rows, seed=0)
    (tmp_path / "a.arrow").write_bytes(written(schema, [group, group]))
    expected = pa.Table.from_batches([batch_of(schema, group)] * 2).to_pandas()
    pd.testing.assert_frame_equal(pd.read_feather(tmp_path / "a.arrow"), expected)
    pd.testing.assert_frame_equal(pl.read_ipc(tmp_path / "a.arrow").to_pandas(), expected)
    connection = duckdb.connect()
    connection.register("whole", ipc.open_file(tmp_path / "a.arrow").read_all())
    counted = connection.sql("select count(*), count(c0), count(c301) from whole").fetchall()
    assert counted == [(2 * rows,) * 3]


def test_full_groups_are_not_copied() -> None:
    sink: list[pa.Buffer] = []

    class Kept(io.BytesIO):
        def write(self, data: pa.Buffer) -> int:
            sink.append(data)
            return len(data)

    values = np.ones((4, 1 << 16), np.float32)
    with pa.PythonFile(Kept(), mode="w") as output:
        writer = WideArrowWriter(output, schema_of(pa.float32(), 4))
        writer.write_columns([pa.array(range(1 << 16)), pa.array(["a"] * (1 << 16))], values)
    assert [data for data in sink if data.address == values.ctypes.data and not data.is_mutable]


@pytest.mark.parametrize(
    "types",
    [
        [],
        [pa.float32()],
        [pa.int64(), pa.float32()],
        [pa.int64(), pa.bool_(), pa.bool_()],
        [pa.string(), pa.string()],
        [pa.int64(), pa.fixed_shape_tensor(pa.float32(), (2, 3))],
    ],
    ids=str,
)
def test_other_columns_are_left_to_arrow(types: list[pa.DataType]) -> None:
    fields = [pa.field(f"c{place}", one, nullable=False) for place, one in enumerate(types)]
    assert not is_wide(pa.schema(fields))


@pytest.mark.parametrize("format", ["arrow", "parquet"])
@pytest.mark.parametrize("shape", [(512,), (32, 32, 4)], ids=["units", "map"])
def test_what_is_written_can_be_hashed_later(format: str, shape: tuple[int, ...]) -> None:
    pieces: list[memoryview] = []

    class Kept(io.BytesIO):
        def write(self, data: pa.Buffer) -> int:
            pieces.append(memoryview(data))
            return len(data)

    spec = TensorSpec("h", "activation", "h", "Dense", 0, None, shape, "float32", 0)
    writer = TableWriter(Kept(), spec, format, "int64", buffer_bytes=1 << 20)
    writer.write(np.arange(2048), np.ones((2048, *shape), np.float32))
    writer.close()
    assert all(piece.readonly for piece in pieces if piece.nbytes > 1 << 16)
    assert sum(piece.nbytes for piece in pieces) > 2048 * 4 * np.prod(shape)
