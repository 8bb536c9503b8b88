"""Tables keep every bit, say what they are, and are read without Runner as well."""

import errno
import io
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import duckdb
import ml_dtypes  # noqa: F401  (registers bfloat16 with NumPy)
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import STORED, at, table_at

from runner.errors import InputError
from runner.file_names import tensor_table
from runner.probe.probe_hash import BLOCK, SampleIdHasher, SampleIdsHash
from runner.tables.layout import layout_of
from runner.tables.plain_tables import frame_of, read_samples, read_table, write_table
from runner.tables.reading import read_array, read_blocks, read_rows
from runner.tables.writing import TableWriter, write_weight
from runner.tensors import Kind, TensorSpec

DTYPES = [
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
ODD_IDS = ["", "=1+1", "-5", "+x", "@a", "\ttab", "a,b", 'say "so"', "two\nlines", "cr\rhere"]
ODD_IDS += [
    "007",
    "1e5",
    "nan",
    "null",
    "NA",
    "true",
    "샘플",
    "e\u0301",
    "\U0001f600",
    " ",
    "'",
    ";",
]
FLOAT_CASES = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 5e-324, 1e-7, 65504.0]
FLOAT_CASES += [3.4028235e38, 0.1, 1 / 3, 16777217.0, 1e21]

Case = tuple[tuple[int, ...], np.ndarray, str, int, list[int], int]


def spec_of(
    shape: tuple[int, ...],
    dtype: str = "float32",
    kind: Kind = "activation",
    name: str = "hidden",
    order: int = 0,
) -> TensorSpec:
    return TensorSpec(name, kind, "hidden", "Dense", 0, None, shape, dtype, order)


def random_values(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Any bits at all, NaN payloads and subnormals included, with the odd cases strewn in."""
    random = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return random.integers(0, 2, shape).astype(bool)
    values = np.frombuffer(random.bytes(int(np.prod(shape)) * kind.itemsize), kind).copy()
    if kind.kind not in "iu" and values.size:
        with np.errstate(over="ignore"):
            cases = np.array(FLOAT_CASES).astype(kind)
        places = random.integers(0, values.size, min(values.size, 40))
        values[places] = random.choice(cases, len(places))
    return values.reshape(shape)


def written(
    spec: TensorSpec,
    format: str,
    samples: np.ndarray,
    values: np.ndarray,
    sizes: Sequence[int] = (),
    buffer_bytes: int = 1 << 20,
) -> bytes:
    sink = io.BytesIO()
    sample_type = "string" if samples.dtype == object else "int64"
    writer = TableWriter(sink, spec, format, sample_type, buffer_bytes)
    for part in np.split(np.arange(len(samples)), np.cumsum(sizes)):
        batch = values[part].copy()
        writer.write(samples[part], batch)
        batch[...] = 0  # the writer may not count on it any more
    writer.close()
    return sink.getvalue()


def as_bits(array: np.ndarray, same_nan: bool) -> bytes:
    """Return the bytes of an array; `same_nan` makes all NaN one, as text does."""
    if same_nan and array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return np.ascontiguousarray(array).tobytes()


def same(found: np.ndarray, values: np.ndarray, format: str) -> None:
    expected = values.astype(np.float32) if values.dtype.name == "bfloat16" else values
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert as_bits(found, format == "csv") == as_bits(expected, format == "csv")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    per_sample = st.one_of(
        st.just(()),
        st.tuples(st.sampled_from([0, 1, 2, 7, 300, 4096, 4097, 5000])),
        st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    )
    shape = draw(per_sample)
    rows = draw(st.integers(1, max(1, min(3000, 60_000 // max(1, int(np.prod(shape)))))))
    if draw(st.booleans()):
        samples = np.arange(rows) * draw(st.integers(-(2**40), 2**40))
    else:
        odd = st.sampled_from(ODD_IDS) | st.text(
            st.characters(exclude_categories=["Cs"]), max_size=8
        )
        ids = draw(st.lists(odd, min_size=1, max_size=20))
        samples = np.array([ids[row % len(ids)] for row in range(rows)], dtype=object)
    return (
        shape,
        samples,
        draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 2**32)),
        draw(st.lists(st.integers(0, rows), max_size=4)),
        draw(st.sampled_from([0, 1000, 1 << 20])),
    )


@pytest.mark.parametrize("format", STORED)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases())
def test_a_round_trip_keeps_every_bit(tmp_path: Path, format: str, case: Case) -> None:
    shape, samples, dtype, seed, sizes, buffer_bytes = case
    values = random_values((len(samples), *shape), dtype, seed)
    spec = spec_of(shape, dtype)
    path = tmp_path / "table"
    path.write_bytes(written(spec, format, samples, values, sizes, buffer_bytes))

    same(read_array(table_at(path), spec, format, rows=len(samples)), values, format)
    ids = read_samples(at(path), format, "int64" if samples.dtype == np.int64 else "string")
    assert ids.dtype == samples.dtype
    assert ids.tolist() == samples.tolist()
    if 1 <= np.prod(shape) <= 4096:
        frame = read_rows(table_at(path), spec, format).frame()
        assert frame.index.tolist() == samples.tolist()
        same(frame.to_numpy(), values.reshape(len(samples), -1), format)


@pytest.mark.parametrize("format", STORED)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 4), dtype) for dtype in DTYPES]
    + [(shape, "float32") for shape in ((), (3,), (2, 3, 4, 5), (2, 5000), (3, 0))],
)
def test_a_weight_comes_back_whole(
    tmp_path: Path, format: str, dtype: str, shape: tuple[int, ...]
) -> None:
    value = random_values(shape, dtype, 1)
    spec = spec_of(shape, dtype, kind="weight")
    path = tmp_path / "table"
    with path.open("wb") as sink:
        write_weight(sink, spec, value, format)
    same(read_array(table_at(path), spec, format), value, format)


def test_a_weight_has_a_row_per_entry_of_its_leading_axes(tmp_path: Path) -> None:
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    spec = spec_of((2, 3, 4), kind="weight")
    path = tmp_path / "kernel.parquet"
    with path.open("wb") as sink:
        write_weight(sink, spec, kernel, "parquet")
    assert pd.read_parquet(path).columns.tolist() == ["i0", "i1", "u0", "u1", "u2", "u3"]
    frame = read_rows(table_at(path), spec, "parquet").frame()
    assert frame.index.names == ["i0", "i1"]
    assert frame.loc[(1, 2), "u3"] == kernel[1, 2, 3]


def test_the_frame_of_a_vector(tmp_path: Path) -> None:
    values = np.arange(36, dtype=np.float32).reshape(3, 12)
    path = tmp_path / "table.parquet"
    path.write_bytes(written(spec_of((12,)), "parquet", np.arange(3), values))
    frame = read_rows(table_at(path), spec_of((12,)), "parquet").frame()
    assert frame.index.name == "sample"
    assert frame.columns.tolist() == [f"u{unit}" for unit in range(12)]
    assert set(frame.dtypes) == {np.dtype("float32")}
    few = read_rows(table_at(path), spec_of((12,)), "parquet", columns=["u10", "u2"]).frame()
    pd.testing.assert_frame_equal(few, frame[["u10", "u2"]])


@pytest.mark.parametrize("format", STORED)
def test_the_frame_of_a_map_has_coordinates_for_columns(tmp_path: Path, format: str) -> None:
    values = np.arange(48, dtype=np.float32).reshape(2, 2, 3, 4)
    path = tmp_path / "table"
    path.write_bytes(written(spec_of((2, 3, 4)), format, np.arange(2), values))
    frame = read_rows(table_at(path), spec_of((2, 3, 4)), format).frame()
    assert frame.columns.names == ["i0", "i1", "i2"]
    assert frame.loc[1, (1, 2, 3)] == values[1, 1, 2, 3]
    one = read_rows(table_at(path), spec_of((2, 3, 4)), format, columns=["u1_2_3"]).frame()
    assert one.columns.tolist() == [(1, 2, 3)]
    assert one.to_numpy().tolist() == [[values[0, 1, 2, 3]], [values[1, 1, 2, 3]]]
    frame.iloc[0, 0] = -1  # no read-only memory behind it
    assert frame.iloc[0, 0] == -1


def test_what_is_too_wide_for_a_frame_points_to_the_array(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"conv: a frame has at most 4,096 columns, this one would have 8,192; use "
        r"run\.array\('conv'\), which keeps the shape \(64, 128\)",
    ):
        read_rows(table_at(tmp_path / "none"), spec_of((64, 128), name="conv"), "parquet")


def test_an_unknown_unit_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hidden: there is no unit 'u12'; did you mean 'u1'\?"):
        read_rows(table_at(tmp_path / "none"), spec_of((2,)), "parquet", columns=["u12"])


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_others_read_vectors_as_they_are(tmp_path: Path, format: str) -> None:
    values = np.array([[0.1, np.nan], [-np.inf, 1e-45], [-0.0, 2]], dtype=np.float32)
    samples = np.array(["a", 'b"c', "d,e"], dtype=object)
    path = tmp_path / f"table{STORED[format].suffix}"
    path.write_bytes(written(spec_of((2,)), format, samples, values))

    frame = pd.read_parquet(path) if format == "parquet" else pd.read_csv(path)
    assert frame.columns.tolist() == ["sample", "u0", "u1"]
    assert frame["sample"].tolist() == samples.tolist()
    assert frame[["u0", "u1"]].to_numpy(np.float32).tobytes() == values.tobytes()

    rows = duckdb.sql(f"select sample, u0, u1, u1 is null from '{path}'").fetchall()
    assert [row[0] for row in rows] == samples.tolist()
    found = np.array([row[1:3] for row in rows], dtype=np.float32)
    assert found.tobytes() == values.tobytes()
    assert not any(row[3] for row in rows)


def test_others_read_maps_as_lists(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    path = tmp_path / "table.parquet"
    path.write_bytes(written(spec_of((2, 3)), "parquet", np.arange(2), values))
    rows = duckdb.sql(f"select activation from '{path}' order by sample").fetchall()
    assert [list(row[0]) for row in rows] == values.reshape(2, 6).tolist()


def test_csv_spells_the_shortest_digits() -> None:
    values = np.array([[0.1, 1 / 3, 1e-45, 16777216]], dtype=np.float32)
    text = written(spec_of((4,)), "csv", np.array(["=1"], dtype=object), values).decode()
    assert text == '"sample","u0","u1","u2","u3"\n"=1",0.1,0.33333334,1e-45,16777216\n'


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_file_says_what_it_holds(format: str) -> None:
    data = written(
        spec_of((2, 3), "bfloat16"), format, np.arange(2), random_values((2, 2, 3), "bfloat16", 0)
    )
    buffer = pa.BufferReader(data)
    schema = pq.read_schema(buffer) if format == "parquet" else pa.ipc.open_file(buffer).schema
    assert json.loads(schema.metadata[b"runner"]) == {
        "schema_version": 1,
        "name": "hidden",
        "kind": "activation",
        "shape": [2, 3],
        "dtype": "bfloat16",
    }
    assert not any(field.nullable for field in schema)


def test_rows_are_gathered_into_groups_within_the_memory_given() -> None:
    rows = 1000
    values = np.zeros((rows, 10), dtype=np.float32)
    data = written(spec_of((10,)), "parquet", np.arange(rows), values, [7] * 142, buffer_bytes=4000)
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    sizes = [groups.row_group(group).num_rows for group in range(groups.num_row_groups)]
    assert sum(sizes) == rows
    assert set(sizes[:-1]) == {98}  # 14 batches of 7: one more would exceed 100 rows


def test_a_map_in_an_arrow_file_stays_on_disk(tmp_path: Path) -> None:
    values = random_values((50, 8, 8, 3), "float32", 0)
    path = tmp_path / "table.arrow"
    path.write_bytes(written(spec_of((8, 8, 3)), "arrow", np.arange(50), values, [20, 20]))
    before = pa.total_allocated_bytes()
    array = read_array(table_at(path), spec_of((8, 8, 3)), "arrow")
    assert pa.total_allocated_bytes() - before < values.nbytes
    assert not array.flags.owndata
    assert not array.flags.writeable
    if (maps := Path("/proc/self/maps")).exists():
        assert str(path) in maps.read_text()
    same(array, values, "arrow")


@pytest.mark.parametrize("format", STORED)
def test_an_alias_of_another_kind_reads_the_same_file(tmp_path: Path, format: str) -> None:
    values = random_values((4, 2, 3), "float32", 0)
    path = tmp_path / "table"
    path.write_bytes(written(spec_of((2, 3)), format, np.arange(4), values))
    same(
        read_array(table_at(path), spec_of((2, 3), kind="input", name="other"), format),
        values,
        format,
    )


class FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("format", STORED)
def test_a_full_disk_is_said_once_and_not_written_to_again(format: str) -> None:
    sink = FullDisk()
    writer = TableWriter(sink, spec_of((1000,)), format, "int64", buffer_bytes=0)
    with pytest.raises(OSError, match="No space left on device"):
        writer.write(np.arange(1000), np.zeros((1000, 1000), np.float32))
    del writer  # Arrow would complete the file now, and warn that it cannot
    assert not sink.closed


@pytest.mark.parametrize("format", STORED)
def test_a_file_that_is_dropped_stays_as_it_is(format: str) -> None:
    sink = io.BytesIO()
    writer = TableWriter(sink, spec_of((3,)), format, "int64", buffer_bytes=0)
    writer.write(np.arange(2), np.zeros((2, 3), np.float32))
    before = sink.getvalue()
    del writer
    assert not sink.closed
    assert sink.getvalue() == before


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((2, 4), np.float32), r"found float32 of shape \(2, 4\)"),
        (np.zeros((2, 3), np.float64), r"found float64 of shape \(2, 3\)"),
    ],
)
def test_values_that_are_not_as_promised_are_refused(values: np.ndarray, found: str) -> None:
    writer = TableWriter(io.BytesIO(), spec_of((3,)), "parquet", "int64")
    with pytest.raises(ValueError, match=rf"hidden: expected float32 of shape \(2, 3\), {found}"):
        writer.write(np.arange(2), values)


@pytest.fixture(params=STORED)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Return the path and format of the table of five samples of three units."""
    path = tmp_path / "table"
    path.write_bytes(
        written(spec_of((3,)), request.param, np.arange(5), np.ones((5, 3), np.float32))
    )
    return path, request.param


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for format in STORED:
        with pytest.raises(InputError, match=r"gone: expected a table, found no file"):
            read_array(table_at(tmp_path / "gone"), spec_of((3,)), format)


def test_a_file_of_another_shape_is_refused(table: tuple[Path, str]) -> None:
    path, format = table
    message = (
        r"expected 5 columns \(sample, u0, u1, ..., u3\), found 4 columns|expected a column 'u3'"
    )
    with pytest.raises(InputError, match=message):
        read_array(table_at(path), spec_of((4,)), format)
    with pytest.raises(InputError, match=r"expected 3 columns \(sample, u0, u1\), found 4 columns"):
        read_array(table_at(path), spec_of((2,)), format)


def test_a_file_with_other_samples_is_refused(table: tuple[Path, str]) -> None:
    path, format = table
    with pytest.raises(InputError, match=r"table: expected 6 rows of 'hidden', found 5"):
        read_array(table_at(path), spec_of((3,)), format, rows=6)


def test_a_file_of_another_dtype_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(written(spec_of((3,)), "parquet", np.arange(5), np.ones((5, 3), np.float32)))
    with pytest.raises(InputError, match=r"expected 'u0' to be double, found float"):
        read_rows(table_at(path), spec_of((3,), "float64"), "parquet")
    path.write_bytes(
        written(spec_of((2, 3)), "arrow", np.arange(5), np.ones((5, 2, 3), np.float32))
    )
    with pytest.raises(InputError, match=r"expected 'activation' to be .*shape=\[3,2\].*, found"):
        read_array(table_at(path), spec_of((3, 2)), "arrow")


@pytest.mark.parametrize("keep", [0, 3, 30, 0.6])
def test_a_damaged_file_is_refused(table: tuple[Path, str], keep: float) -> None:
    path, format = table
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"table: expected "):
        read_array(table_at(path), spec_of((3,)), format, rows=5)


@pytest.mark.parametrize("format", STORED)
def test_an_empty_file_is_called_empty(tmp_path: Path, format: str) -> None:
    path = tmp_path / "table"
    path.touch()
    with pytest.raises(InputError, match=rf"expected a table as {format}, found an empty file$"):
        read_array(table_at(path), spec_of((3,)), format, rows=5)


def test_a_damaged_csv_says_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for damage in ('"sample","u0"\n1,x\n', '"sample","u0"\n1\n', '"sample","u0"\n1,\n'):
        path.write_text(damage)
        with pytest.raises(InputError, match=r"expected a table as csv, found a damaged file"):
            read_array(table_at(path), spec_of((1,)), "csv")
    path.write_bytes(b'"sample","u\xff"\n')
    with pytest.raises(InputError, match=r"damaged file \('utf-8' codec can't decode"):
        read_array(table_at(path), spec_of((1,)), "csv")


@pytest.mark.parametrize("format", STORED)
def test_a_plain_table_comes_back(tmp_path: Path, format: str) -> None:
    images = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    table = pa.table(
        {
            "sample": pa.array(["1", "02", "x\ny"]),
            "label": pa.array([3, 1, 2]),
            "input0": pa.array(np.array([0.5, np.nan, 1], np.float16)),
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        }
    )
    path = tmp_path / "table"
    with path.open("wb") as sink:
        write_table(sink, table, format)
    frame = frame_of(read_table(at(path), format))
    assert frame["sample"].tolist() == ["1", "02", "x\ny"]
    assert frame["label"].tolist() == [3, 1, 2]
    assert np.isnan(frame["input0"][1])
    if format == "csv":
        assert frame["image1_0"].tolist() == images[:, 1, 0].tolist()
    else:
        assert np.array_equal(np.stack(frame["image"]), images)
        assert table.schema.names == frame.columns.tolist()


def test_a_plain_table_too_wide_for_csv_is_refused() -> None:
    images = np.zeros((1, 200, 200), np.uint8)
    table = pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images)})
    with pytest.raises(InputError, match=r"'image' would take 40,000 columns, CSV takes"):
        write_table(io.BytesIO(), table, "csv")


def test_csv_refuses_what_is_too_wide() -> None:
    with pytest.raises(
        InputError,
        match=r"format: 'hidden' would take 50,000 columns, CSV takes at most 16,384; use "
        r"format=parquet or format=arrow",
    ):
        layout_of(spec_of((50_000,)), "csv")


def test_an_unknown_format_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown format 'parket'; did you mean 'parquet'\?"):
        layout_of(spec_of((3,)), "parket")


@pytest.mark.parametrize("dtype", ["complex64", "string", "str", "object", "nonsense"])
def test_a_dtype_that_no_table_holds_is_refused(dtype: str) -> None:
    with pytest.raises(
        InputError, match=rf"hidden: expected numbers or true/false .*found {dtype}"
    ):
        layout_of(spec_of((3,), dtype), "parquet")


def test_file_names() -> None:
    assert tensor_table(spec_of((3,)), "parquet") == "activations/00_hidden.parquet"
    kernel = spec_of((3,), kind="weight", name="encoder/dense/kernel", order=101)
    assert tensor_table(kernel, "csv") == "weights/101_encoder.dense.kernel.csv"
    assert tensor_table(spec_of((3,), name="lstm@1:state", order=7), "arrow").endswith(
        "07_lstm@1+state.arrow"
    )


@given(
    names=st.lists(
        st.text(max_size=200) | st.text("aA/.:_+~\u00e9e\u0301", max_size=6),
        unique=True,
        max_size=30,
    )
)
@settings(deadline=None)
def test_file_names_never_clash_and_are_safe(names: list[str]) -> None:
    paths = [tensor_table(spec_of((3,), name=name), "parquet") for name in names]
    assert len({unicodedata.normalize("NFKC", path).casefold() for path in paths}) == len(names)
    for path in paths:
        folder, file = path.split("/")
        assert folder == "activations"
        assert file.isascii()
        assert len(file) < 100
        assert not set(file) & set('<>:"\\|?* \0\n')
        assert Path(file).suffix == ".parquet"


@pytest.mark.parametrize("format", STORED)
def test_a_table_in_several_files_reads_as_one(tmp_path: Path, format: str) -> None:
    values = np.random.default_rng(0).normal(size=(7, 2, 3)).astype("float32")
    samples, spec = np.array([f"s{n}" for n in range(7)], object), spec_of((2, 3))
    ids = SampleIdHasher()
    ids.update(samples)
    paths = []
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        paths.append(tmp_path / str(start))
        with paths[-1].open("wb") as sink:
            writer = TableWriter(sink, spec, format, "string")
            writer.write(samples[start:stop], values[start:stop])
            writer.close()
    whole, hash_ = table_at(*paths), SampleIdsHash(ids.hexdigest(), BLOCK)
    same(read_array(whole, spec, format, 7, hash_), values, format)
    assert list(read_rows(whole, spec, format, rows=7, ids=hash_).index) == list(samples)
    blocks = list(read_blocks(whole, spec, format, 7, hash_))
    same(np.concatenate(blocks), values, format)
    assert len(blocks) == 3
    with pytest.raises(InputError, match="expected 7 rows of 'hidden', found 4"):
        read_array(table_at(*paths[:2]), spec, format, 7, hash_)
    with pytest.raises(InputError, match="its sample ids are not those of the probe"):
        read_array(table_at(*paths[::-1]), spec, format, 7, hash_)
