"""Parquet files written by Runner itself, held to those of Arrow's writer."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from runner.formats.parquet import PARQUET
from runner.tables import plain_writer
from runner.tables.plain_writer import PlainWriter, is_plain

NUMBERS = (
    *(pa.int32(), pa.uint32(), pa.int64(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
)


def numbers(kind: pa.DataType, count: int, rng: np.random.Generator) -> pa.Array:
    """Return random bits as numbers: with NaN of every payload, infinities and subnormals."""
    dtype = np.dtype(kind.to_pandas_dtype())
    return pa.array(np.frombuffer(rng.bytes(count * dtype.itemsize), dtype))


def column(kind: pa.DataType, rows: int, rng: np.random.Generator) -> pa.Array:
    if kind == pa.string():
        texts = ["", "a", "\u00e9\u00e8", "\U0001d54f" * 3, "=1", "x\ny"]
        return pa.array([texts[place] for place in rng.integers(len(texts), size=rows)], kind)
    if isinstance(kind, pa.FixedShapeTensorType):
        return pa.ExtensionArray.from_storage(kind, column(kind.storage_type, rows, rng))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(
            numbers(kind.value_type, rows * kind.list_size, rng), type=kind
        )
    return numbers(kind, rows, rng)


def written(schema: pa.Schema, batches: list[pa.RecordBatch], *, own: bool) -> bytes:
    sink = io.BytesIO()
    with pa.PythonFile(sink, mode="w") as output:
        writer = (
            PlainWriter(output, schema)
            if own
            else pq.ParquetWriter(output, schema, use_dictionary=False, compression="none")
        )
        for batch in batches:
            writer.write_batch(batch)
        writer.close()
        return sink.getvalue()


def bits(chunked: pa.ChunkedArray) -> list[Any]:
    """Return the values so that NaN of different payloads differ."""
    array = chunked.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    if array.type == pa.string():
        texts: list[Any] = array.to_pylist()
        return texts
    return [array.to_numpy().tobytes()]


kinds = st.one_of(
    st.just(pa.string()),
    st.sampled_from(NUMBERS),
    st.builds(pa.list_, st.sampled_from(NUMBERS), st.integers(1, 70)),
    st.builds(
        pa.fixed_shape_tensor,
        st.sampled_from(NUMBERS),
        st.lists(st.integers(1, 5), min_size=1, max_size=5),
    ),
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@settings(max_examples=60)
@given(
    columns=st.dictionaries(names, kinds, min_size=1, max_size=20),
    groups=st.lists(st.integers(0, 130), max_size=4),
    page=st.sampled_from([1, 64, 1000, 1 << 20]),
    seed=st.integers(0, 2**32),
)
def test_the_tables_are_those_of_arrows_writer(
    columns: dict[str, pa.DataType], groups: list[int], page: int, seed: int
) -> None:
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    schema = pa.schema(fields, metadata={"runner": "{}"})
    assert is_plain(schema)
    rng = np.random.default_rng(seed)
    batches = [
        pa.RecordBatch.from_arrays([column(k, n, rng) for k in columns.values()], schema=schema)
        for n in groups
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_writer, "_PAGE_BYTES", page)
        own = written(schema, batches, own=True)
    theirs = written(schema, batches, own=False)
    one, other = (pq.read_table(pa.BufferReader(data)) for data in (own, theirs))
    one.validate(full=True)
    assert one.schema.equals(other.schema, check_metadata=True)
    for name in range(len(columns)):
        assert bits(one.column(name)) == bits(other.column(name))
    footer = pq.ParquetFile(pa.BufferReader(own)).metadata
    assert footer.num_rows == sum(groups)
    assert footer.num_row_groups == len([rows for rows in groups if rows])
    for group in range(footer.num_row_groups):
        first = footer.row_group(group).column(0)
        assert first.total_compressed_size == first.total_uncompressed_size


@pytest.mark.parametrize("rows", [0, 1, 100_000])
@pytest.mark.parametrize("units", [1, 5_000])
def test_a_slice_of_a_larger_array_is_written_alone(rows: int, units: int) -> None:
    rows = min(rows, 10_000_000 // units)
    schema = pa.schema([pa.field("x", pa.list_(pa.float32(), units), nullable=False)])
    rng = np.random.default_rng(0)
    whole = column(schema.field("x").type, rows + 5, rng)
    batch = pa.RecordBatch.from_arrays([whole.slice(3, rows)], schema=schema)
    read = pq.read_table(pa.BufferReader(written(schema, [batch], own=True)))
    assert bits(read.column("x")) == [whole.slice(3, rows).flatten().to_numpy().tobytes()]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
@pytest.mark.parametrize(("rows", "units"), [(0, 3), (1, 1), (9, 4), (60_000, 20)])
def test_many_columns_at_once_are_written_as_one_by_one(
    kind: pa.DataType, rows: int, units: int
) -> None:
    rng = np.random.default_rng(0)
    index = [numbers(pa.int64(), rows, rng), column(pa.string(), rows, rng)]
    room = numbers(kind, units * (rows + 3), rng).to_numpy().reshape(units, rows + 3)
    values = room[:, :rows]  # as in a group that is not full
    types = [pa.int64(), pa.string(), *[kind] * units]
    schema = pa.schema(
        [pa.field(f"c{place}", one, nullable=False) for place, one in enumerate(types)]
    )
    batch = pa.RecordBatch.from_arrays([*index, *map(pa.array, values)], schema=schema)
    sink = io.BytesIO()
    with pa.PythonFile(sink, mode="w") as output:
        writer = PlainWriter(output, schema)
        for _ in range(2):
            writer.write_columns(index, values)
        writer.close()
        at_once = sink.getvalue()
    assert at_once == written(schema, [batch, batch], own=True)


@pytest.mark.parametrize(
    "field",
    [
        pa.field("nullable", pa.float32()),
        pa.field("narrow", pa.int8(), nullable=False),
        pa.field("flag", pa.bool_(), nullable=False),
        pa.field("flags", pa.list_(pa.bool_(), 3), nullable=False),
        pa.field("empty", pa.list_(pa.float32(), 0), nullable=False),
        pa.field("open", pa.list_(pa.float32()), nullable=False),
        pa.field("large", pa.list_(pa.float32(), 2**30), nullable=False),
        pa.field("nested", pa.list_(pa.list_(pa.float32(), 2), 2), nullable=False),
    ],
    ids=lambda field: field.name,
)
def test_other_columns_are_left_to_arrow(field: pa.Field) -> None:
    assert not is_plain(pa.schema([pa.field("sample", pa.int64(), nullable=False), field]))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pa.Array]]:
    """Return a folder with a flat table and one of maps, each of three groups; and the columns."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    ids = pa.array([f"s{place}" for place in range(3000)])
    flat = {f"u{place}": numbers(kind, 3000, rng) for place, kind in enumerate(NUMBERS)}
    maps = {"activation": column(pa.fixed_shape_tensor(pa.float32(), (3, 4)), 3000, rng)}
    for file, columns in {"flat": flat, "maps": maps}.items():
        held = {"sample": ids, **columns}
        schema = pa.schema([pa.field(n, c.type, nullable=False) for n, c in held.items()])
        batches = [
            pa.RecordBatch.from_arrays([c.slice(at, 1000) for c in held.values()], schema=schema)
            for at in range(0, 3000, 1000)
        ]
        path = folder / f"{file}.parquet"
        path.write_bytes(written(schema, batches, own=True))
        with path.open("rb") as opened:
            PARQUET.check_expansion(opened, 3000)
    return folder, {"sample": ids, **flat, **maps}


def flat_columns(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    return {name: values for name, values in columns.items() if name.startswith("u")}


def test_pandas_and_duckdb_read_the_same_bits(files: tuple[Path, dict[str, pa.Array]]) -> None:
    folder, columns = files
    frame = pd.read_parquet(folder / "flat.parquet")
    assert frame["sample"].tolist() == columns["sample"].to_pylist()
    for name, values in flat_columns(columns).items():
        assert frame[name].to_numpy().tobytes() == values.to_numpy().tobytes()
        if values.type != pa.float16():  # which DuckDB reads as float32
            read = duckdb.sql(f"select {name} from '{folder / 'flat.parquet'}'").fetchnumpy()
            assert np.ma.getdata(read[name]).tobytes() == values.to_numpy().tobytes()
    lists = duckdb.sql(f"select * from '{folder / 'maps.parquet'}'").to_arrow_table()
    assert lists.column("sample").to_pylist() == columns["sample"].to_pylist()
    values = lists.column("activation").combine_chunks().flatten().to_numpy()
    assert values.tobytes() == bits(pa.chunked_array([columns["activation"]]))[0]


@pytest.mark.slow
def test_polars_and_fastparquet_read_the_same_bits(
    files: tuple[Path, dict[str, pa.Array]],
) -> None:
    polars = pytest.importorskip("polars")
    fastparquet = pytest.importorskip("fastparquet")
    folder, columns = files
    frames = {"polars": polars.read_parquet(folder / "flat.parquet")}
    with (folder / "flat.parquet").open("rb") as file:
        frames["fastparquet"] = fastparquet.ParquetFile(file).to_pandas()
    for reader, frame in frames.items():
        assert list(frame["sample"]) == columns["sample"].to_pylist()
        for name, values in flat_columns(columns).items():
            if reader == "polars" or values.type != pa.float16():  # which fastparquet cannot read
                assert frame[name].to_numpy().tobytes() == values.to_numpy().tobytes(), reader
    with warnings.catch_warnings():  # of a type that Polars does not know
        warnings.simplefilter("ignore")
        lists = polars.read_parquet(folder / "maps.parquet")["activation"]
    values = lists.explode().to_numpy()
    assert values.tobytes() == bits(pa.chunked_array([columns["activation"]]))[0]
