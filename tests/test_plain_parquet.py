from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from making import spec_of
from pyarrow import parquet as pq

from runner.tables.plain_parquet import plain_file
from runner.tables.writing import TableWriter, write_weight


def written(values: np.ndarray, samples: np.ndarray, sample_type: str = "int64") -> bytes:
    sink = io.BytesIO()
    writer = TableWriter(sink, spec_of("hidden", values), "parquet", sample_type)  # type: ignore[arg-type]
    writer.write(samples, values)
    writer.close()
    return sink.getvalue()


def plain_table(data: bytes) -> pa.Table | None:
    plain = plain_file(data)
    return None if plain is None else plain.table(data)


def by_arrow(data: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(data)).read()


def bits(table: pa.Table) -> list[bytes]:
    return [column.to_numpy().tobytes() for column in table.columns]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (70, 200)])
def test_a_table_of_plain_numbers_is_what_arrow_reads(dtype: str, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(-99, 99, shape).astype(dtype)
    if values.dtype.kind == "f":
        values[0, 0] = np.nan
    data = written(values, np.arange(len(values)))
    found, expected = plain_table(data), by_arrow(data)
    assert found is not None
    assert found.schema.equals(expected.schema.remove_metadata(), check_metadata=True)
    assert bits(found) == bits(expected)


def test_a_weight_is_what_arrow_reads() -> None:
    sink = io.BytesIO()
    value = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    write_weight(sink, spec_of("hidden/kernel", value), value, "parquet")
    found = plain_table(sink.getvalue())
    assert found is not None
    assert found.equals(by_arrow(sink.getvalue()))


def test_other_tables_are_left_to_arrow() -> None:
    ids, names = np.arange(3), np.array(["a", "b", "c"], object)
    ones = np.ones((3, 2), np.float32)
    assert plain_table(written(ones.astype(bool), ids)) is None
    assert plain_table(written(ones.astype(np.float16), ids)) is None
    assert plain_table(written(ones.reshape(3, 2, 1), ids)) is None
    assert plain_table(written(ones, names, "string")) is None
    for data in (b"", b"PAR1", b"x" * 100, b"PAR1" + b"\xff" * 50 + b"\x28\0\0\0PAR1"):
        assert plain_table(data) is None
    plain = pa.table({"x": pa.array([1.5, 2.5, 3.5])})
    nullable = pa.table({"x": pa.array([1.5, None, 3.5])})
    for table, how in ((plain, {"compression": "zstd"}), (nullable, {"compression": "none"})):
        sink = io.BytesIO()
        pq.write_table(table, sink, use_dictionary=False, **how)
        assert plain_table(sink.getvalue()) is None


def test_a_changed_byte_is_read_as_arrow_reads_it() -> None:
    data = written(np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(3))
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    read = 0
    for place in range(4, footer):
        for change in (0x01, 0x10, 0x80, 0xFF):
            changed = data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
            if (found := plain_table(changed)) is not None:
                assert bits(found) == bits(by_arrow(changed))
                read += 1
    assert read == 4 * 8 * 3 + 4 * 4 * 12  # the values alone may change: ids and four units
