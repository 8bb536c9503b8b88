"""Tables and records that somebody else wrote: nothing in them is taken for granted."""

from __future__ import annotations

import shutil
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from forging import arrow, forge, parquet, put_file
from making import at, make_run

import runner
from runner.command_line.entry import main
from runner.errors import DamagedError, InputError
from runner.record.training_record import TrainingRecord
from runner.tables.plain_tables import frame_of, read_table, write_table
from runner.tables.table_files import check_expansion, read_pieces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels, which the tests copy and change."""
    return make_run(tmp_path_factory.mktemp("made") / "run", labels=["a", "b", "c"])


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


LABEL = {"role": "label", "name": "label", "first": 1, "count": 1, "shape": [], "dtype": "string"}
INPUT = {"role": "input", "name": "input", "first": 2, "count": 3, "shape": [3],
         "dtype": "float32"}  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ([LABEL | {"first": 0}], "'probe.columns': 'label' begins at column 0, expected 1"),
        ([LABEL, INPUT | {"first": 1}], "'probe.columns': 'input' begins at column 1, expected 2"),
        ([LABEL, INPUT | {"count": 2}], "'probe.columns': 2 columns hold 'input'"),
        ([LABEL, LABEL | {"first": 2}], "'probe.columns': expected each array once"),
        ([INPUT | {"first": 1}], "'probe.columns': expected labels where the probe has labels"),
        ([LABEL | {"dtype": "O"}], "'probe.columns.0.dtype': "),
        ([LABEL | {"dtype": "bfloat16"}], "'probe.columns.0.dtype': "),
        ([LABEL | {"dtype": "complex64"}], "'probe.columns.0.dtype': "),
    ],
)
def test_columns_of_a_probe_that_overlap_are_refused(
    columns: list[Any], why: str, copy: Path
) -> None:
    forge(copy, lambda record: record["probe"].update(columns=columns))
    with pytest.raises(DamagedError, match=why):
        runner.open_run(copy)


def test_a_run_is_identified_by_its_id_and_status_whatever_its_metrics_are_called(
    tmp_path: Path,
) -> None:
    history = {"run": (1.0,), "status": (2.0,), "loss": (3.0,)}
    run = make_run(tmp_path / "a", error="boom", config={"seed": 0, "run": 4},
                   training=TrainingRecord(epochs=1, unit="epoch", history=history))  # fmt: skip
    make_run(tmp_path / "b", error="boom", run_id="b", config={"seed": 0, "run": 5})
    frame = runner.open_runs(run.parent).frame
    assert frame["run"].tolist() == ["0a1b2c3d", "b"]
    assert frame["status"].tolist() == ["FAILED", "FAILED"]
    assert frame["loss"].tolist()[0] == 3


SAMPLE = pa.array(range(3), pa.int64())
WIDE = 2**29
TENSORS = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((3, 2, 2), np.float32))


def beside(column: pa.Array, name: str = "x") -> pa.Table:
    return pa.Table.from_arrays([SAMPLE, column], ["sample", name])


def nothing(kind: pa.DataType, *inside: pa.Array) -> pa.Array:
    """Return three values of a type that take no room, however large they are."""
    return pa.Array.from_buffers(kind, 3, [None], children=list(inside))


def expand(path: Path, format: str, rows: int) -> None:
    """Check that the file of a table does not expand."""
    with path.open("rb") as file:
        check_expansion(file, str(path), format, rows)


FOREIGN = {
    "null": pa.nulls(3),
    "string_view": pa.array(["a", "b", "c"], pa.string_view()),
    "large_string": pa.array(["a", "b", "c"], pa.large_string()),
    "list<": pa.array([[1], [2], [3]]),
    "list_view": pa.array([[1], [2], [3]], pa.list_view(pa.int64())),
    "struct": pa.array([{"a": {"b": 1}}] * 3),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays(pa.array([3]), pa.array([1.5])),
    r"fixed_size_list<.*>": nothing(pa.list_(pa.null(), WIDE), pa.nulls(3 * WIDE)),
    "timestamp": pa.array([1, 2, 3], pa.timestamp("s")),
    "decimal128": pa.array([1, 2, 3]).cast(pa.decimal128(38)),
    "fixed_size_binary": pa.array([b"a", b"b", b"c"], pa.binary(1)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_type_that_runner_does_not_write_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "probe"
    path.write_bytes(arrow(beside(FOREIGN[kind])))
    why = f"expected numbers, text or tensors in 'x', found {kind}"
    with pytest.raises(DamagedError, match=why):
        expand(path, "arrow", 3)
    with pytest.raises(DamagedError, match=why):
        read_table(at(path), "arrow")
    with pytest.raises(DamagedError, match=why):
        list(read_pieces(at(path), "arrow", ["sample"], 2))
    unwritable = ("run_end_encoded", "list_view", "string_view")  # the last by older versions
    if kind not in unwritable and "fixed_size_list" not in kind:
        path.write_bytes(parquet(beside(FOREIGN[kind])))
        with pytest.raises(DamagedError, match="expected numbers, text or tensors in 'x', found"):
            read_table(at(path), "parquet")


def test_a_tensor_has_the_shape_of_its_values(tmp_path: Path) -> None:
    path = tmp_path / "probe"
    data = arrow(beside(TENSORS))
    path.write_bytes(data.replace(b'"shape":[2,2]', b'"shape":[9,9]'))
    for format in ("arrow", "parquet"):
        with pytest.raises(DamagedError):
            read_table(at(path), format)
    path.write_bytes(data)
    assert frame_of(read_table(at(path), "arrow"))["x"][2].tolist() == [[1, 1], [1, 1]]
    storage = pa.array([[1, None, 3, 4]] * 3, TENSORS.type.storage_type)
    path.write_bytes(arrow(beside(pa.ExtensionArray.from_storage(TENSORS.type, storage))))
    with pytest.raises(DamagedError, match="expected no missing value, found one in 'x'"):
        read_table(at(path), "arrow")


@pytest.mark.parametrize("write", [parquet, arrow])
def test_text_that_is_not_utf8_is_damage(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "probe"
    data = write(beside(pa.array(["aaaa", "zzzz", "b"])))
    path.write_bytes(data.replace(b"zzzz", b"\xff\xff\xff\xff"))
    with pytest.raises(DamagedError, match=r"found a damaged file .*[Uu][Tt][Ff]"):
        read_table(at(path), write.__name__)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    for format, data in (
        ("arrow", arrow(beside(SAMPLE, "sample"))),
        ("parquet", parquet(beside(SAMPLE, "sample"))),
        ("csv", b'"sample","sample"\n1,1\n2,2\n3,3\n'),
    ):
        (tmp_path / "probe").write_bytes(data)
        with pytest.raises(DamagedError, match="two columns are named 'sample'"):
            read_table(at(tmp_path / "probe"), format)


MANY = pa.table({"sample": np.zeros(100_000, np.int64)})
FLAGS = pa.array([True] * 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (parquet(MANY, compression="zstd", use_dictionary=True), "found 100,000"),
        (
            parquet(
                beside(pa.array(["x" * 900] * 3)), use_dictionary=["x"], write_statistics=False
            ),
            "encoded values in 'x'",
        ),
        (parquet(beside(pa.nulls(3, pa.float32()))), "missing or repeated values in 'x'"),
        (parquet(beside(FLAGS), data_page_version="2.0"), "encoded values in 'sample'"),
        (parquet(beside(FLAGS), compression="snappy"), "compression in 'sample'"),
    ],
)
def test_a_small_parquet_file_does_not_unfold_either(data: bytes, why: str, tmp_path: Path) -> None:
    assert len(data) < 4096
    (tmp_path / "probe").write_bytes(data)
    with pytest.raises(DamagedError, match=why):
        expand(tmp_path / "probe", "parquet", 3)


def test_a_batch_that_an_arrow_file_lists_twenty_times_is_refused(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([("x", pa.float64())])) as writer:
        for rows in (1 << 16, *[1] * 19):
            writer.write_batch(pa.record_batch({"x": np.zeros(rows)}))
    data = bytearray(sink.getvalue().to_pybytes())
    # A block of the footer: offset, length of the metadata, and the 8 bytes or more of the body.
    footer = len(data) - 10 - int.from_bytes(data[-10:-6], "little")
    large = data.index((1 << 19).to_bytes(8, "little"), footer) - 16
    blocks = [large + 24 * place for place in range(-19, 20)]
    listed = [place for place in blocks if footer < place and _is_block(data, place)]
    assert len(listed) == 20
    for place in listed:
        data[place : place + 24] = data[large : large + 24]
    path = tmp_path / "x"
    path.write_bytes(data)
    with pa.ipc.open_file(bytes(data)) as file:
        assert sum(file.get_batch(n).num_rows for n in range(20)) == 20 << 16
    with pytest.raises(DamagedError, match="1,048,576 bytes of values in fewer"):
        expand(path, "arrow", 20 << 16)


def _is_block(data: bytearray, place: int) -> bool:
    offset, metadata = struct.unpack_from("<qi", data, place)
    return 0 < offset < place and 0 < metadata < 1000 and offset % 8 == 0


def test_what_pandas_says_of_a_table_is_ignored(copy: Path) -> None:
    run = make_run(copy.parent / "w", {"a": np.ones((3, 1), np.float32),
                                       "a/kernel": np.ones((2, 3, 4), np.float32)})  # fmt: skip
    path = next((run / "weights").iterdir())
    table = read_table(at(path), "parquet")
    said = b'{"index_columns": ["u0"], "column_indexes": [], "columns": [{"name": "i0", ' \
        b'"field_name": "i0", "pandas_type": "datetime", "numpy_type": "datetime64[ns]", ' \
        b'"metadata": null}]}'  # fmt: skip
    forged = table.replace_schema_metadata({b"pandas": said})
    put_file(run, path.relative_to(run).as_posix(), parquet(forged))
    frame = runner.open_run(run).table("a/kernel")
    assert frame.index.names == ["i0", "i1"]
    assert frame.shape == (6, 4)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_a_table_changed_anywhere_is_read_or_refused(format: str, tmp_path: Path) -> None:
    """Arrow ends the process at some damaged metadata, so that no test would be left to fail."""
    table = beside(TENSORS).append_column("text", pa.array(["a", "b", "c"]))
    data, path = {"parquet": parquet, "arrow": arrow}[format](table), tmp_path / "probe"
    draw = np.random.default_rng(0)
    read = refused = 0
    for _ in range(150):
        changed = bytearray(data)
        for place in draw.integers(len(data), size=draw.integers(1, 4)):
            changed[place] = draw.choice([0, 1, 2, 127, 128, 255])
        path.write_bytes(changed)
        try:
            expand(path, format, 3)
            frame_of(read_table(at(path), format))
        except InputError as error:
            refused += len(str(error).splitlines()) == 1
        else:
            read += 1
    assert min(read, refused) > 10
    assert read + refused == 150


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (pa.array(["a", "b", "c"]), "column 'input0': expected float32, found string"),
        (pa.array([1, 2, 3]), "column 'input0': expected float32, found int64"),
        (TENSORS, r"column 'input0': expected arrays of shape \[3\], found \[2, 2\]"),
    ],
)
def test_a_probe_unlike_its_record_is_refused(
    inputs: pa.Array, why: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["sample", "label", "input0", "input1", "input2"]
    table = pa.Table.from_arrays([SAMPLE, pa.array(["a", "b", "c"]), *[inputs] * 3], names)
    put_file(copy, "probe.parquet", parquet(table))
    forge(copy, lambda record: record["probe"].update(columns=[LABEL, INPUT]))
    with pytest.raises(DamagedError, match=why):
        _ = runner.open_run(copy).probe
    assert main(["report", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_probe_of_text_unlike_its_record_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", format="csv")
    put_file(
        run, "probe.csv", b'"sample","input0","input1","input2"\n0,1,2,"x"\n1,1,2,3\n2,1,2,3\n'
    )
    columns = [INPUT | {"first": 1}]
    forge(run, lambda record: record["probe"].update(columns=columns))
    with pytest.raises(DamagedError, match=r"probe\.csv: not of the recorded types"):
        _ = runner.open_run(run).probe


def test_runs_of_one_id_are_told_apart_by_leaving_out_the_later(
    copy: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(copy.parent / "other", run_id="b")
    left_out = f"left out: {copy}: has the id 0a1b2c3d, as {made} has"
    with pytest.warns(UserWarning, match=left_out):
        runs = runner.open_runs([made, copy, other])
    assert [run.id for run in runs] == ["0a1b2c3d", "b"]
    assert runs.frame["status"].tolist() == ["COMPLETED", "COMPLETED", "UNREADABLE"]
    with pytest.warns(UserWarning, match="^cka: "):
        assert len(runs.similarity()) == 1
    assert len(runs.table("hidden")) == runs.sql("from hidden").shape[0] == 6
    shutil.copytree(made, copy.parent / "zz")
    assert main(["report", str(copy.parent)]) == 0
    assert f"zz: has the id 0a1b2c3d, as {copy} has" in capsys.readouterr().err
    assert main(["similarity", str(made), str(copy)]) == 2
    assert capsys.readouterr().err.count("error: ") == 1
    assert main(["diff", str(made), str(copy)]) == 0


def test_a_dense_layer_has_a_kernel_of_two_axes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"seed": 0, "model": {"layers": {"hidden": {"class_name": "Dense", "units": 2}}}}
    for name, kernel, bias in (
        ("deep", (3, 2, 2), (2,)),
        ("deep bias", (3, 2), (2, 2)),
        ("flat", (3,), (2,)),
        ("short", (2, 2), (2,)),
        ("none", (), ()),
    ):
        shapes = {"hidden": (3, 2), "hidden/kernel": kernel, "hidden/bias": bias}
        tensors = {key: np.ones(shape, np.float32) for key, shape in shapes.items()}
        run = make_run(tmp_path / name, tensors, config=config, seeding="keras")
        assert main(["show", str(run)]) == 0, name
        capsys.readouterr()
        assert main(["explain", "hidden", "u1", str(run)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "the record of the layer does not match its tables" in line
    assert main(["report", str(tmp_path / "deep")]) == 0


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
@pytest.mark.parametrize("limit", [None, 0])
def test_a_table_with_other_columns_is_left_out_of_a_query(
    format: str, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit is not None:  # as if the tables were large
        monkeypatch.setattr("runner.runs.database._IN_MEMORY", limit)
    make_run(tmp_path / "runs/good", run_id="a", format=format)
    wide = {"hidden": np.ones((3, 4), np.float64)}
    make_run(tmp_path / "runs/other", wide, run_id="b", format=format)
    bad = make_run(tmp_path / "runs/bad", run_id="c", format=format)
    with (tmp_path / "file").open("wb") as sink:
        write_table(sink, beside(pa.array(["x"] * 3), "u0"), format)
    put_file(bad, f"activations/00_hidden.{format}", (tmp_path / "file").read_bytes())
    query = "select run, sum(u0) s from hidden group by run"
    with pytest.warns(UserWarning, match="1 of 3 runs are left out: .*/bad/") as caught:
        found = runner.open_runs(tmp_path / "runs").sql(query)
    assert dict(zip(found["run"], found["s"], strict=True)) == {"a": 12, "b": 3}
    assert len(caught) == 1
    shutil.rmtree(bad)
    make_run(tmp_path / "runs/texts", run_id="d", format=format, samples=("x", "y", "z"))
    runs = runner.open_runs(tmp_path / "runs")
    if format == "parquet" and limit == 0:  # DuckDB converts numbers to text
        assert len(runs.sql("from hidden")) == 9
    else:
        with pytest.raises(InputError, match="sql: the tables of 'hidden' differ in the types"):
            runs.sql("from hidden")


def test_hidden_characters_are_visible_in_a_page(copy: Path) -> None:
    """A text that is read from right to left, or that controls a terminal, says so."""
    hidden = "\x1b[31m\u202etxt.exe\u2066"

    def edit(record: dict[str, Any]) -> None:
        record.update(name=hidden, overrides=[hidden])
        record["probe"].update(source=hidden, notes=[hidden])
        record["layers"][0].update(layer_class=hidden, arguments={"activation": hidden})

    table = read_table(at(copy / "probe.parquet"), "parquet")
    table = table.set_column(1, "label", pa.array([hidden, "\u200eb", "c"]))
    put_file(copy, "probe.parquet", parquet(table))
    forge(copy, edit)
    assert main(["report", str(copy)]) == 0
    page = (copy / "report.html").read_text("utf-8")
    assert not set("\x1b\u202e\u2066\u200e") & set(page)
    assert r"\x1b[31m\u202etxt.exe\u2066" in page


def test_a_configuration_of_many_keys_takes_time_in_proportion(tmp_path: Path) -> None:
    for number, keys in enumerate((10, 20_000)):  # compared pair by pair, they took minutes
        config = {"seed": 0, **{f"k{key}": key for key in range(keys)}}
        make_run(tmp_path / f"{number}", error="boom", config=config)
    began = time.process_time()
    assert len(runner.open_runs(tmp_path).differing) == 20_000 - 10
    assert time.process_time() - began < 20


def chained(path: Path, hidden: np.ndarray, format: str = "parquet", **layer: Any) -> Path:
    """Make a run whose one Dense layer computes 2 from each sample, whatever its table holds."""
    config = {"seed": 0, "model": {"layers": {"hidden": {"class_name": "Dense", **layer}}}}
    tensors = {"hidden": hidden, "hidden/kernel": np.ones((3, 2)), "hidden/bias": np.ones(2)}
    floats = {name: array.astype(np.float32) for name, array in tensors.items()}
    return make_run(path, floats, config=config, format=format, seeding="keras")


@pytest.mark.parametrize("stored", ["2", "5", "nan", "inf"])
def test_an_equation_that_does_not_hold_says_so(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = chained(tmp_path / "run", np.full((3, 2), float(stored)))
    assert main(["show", str(run)]) == 0
    out = capsys.readouterr().out
    holds = "" if stored == "2" else f"; the table holds {stored}"
    assert f"\nsample 1, u0 = linear(0*1 + 1*1 + 0*1 + 1) = 2{holds}\n" in out


def test_rows_that_do_not_sum_to_1_are_not_said_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("right", 0.5), ("wrong", 5)):
        run = chained(tmp_path / name, np.full((3, 2), value), activation="softmax")
        assert main(["show", str(run)]) == 0
        assert ("each row sums to 1" in capsys.readouterr().out) == (name == "right")


def test_arithmetic_that_overflows_is_shown_without_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(record: dict[str, Any]) -> None:
        record["layers"][0].update(layer_class="Rescaling", arguments={"scale": 1e308})

    inputs = np.full((3, 2), 3, np.float32)
    tensors = {"hidden": np.ones((3, 2), np.float32)}
    run = forge(make_run(tmp_path / "run", tensors, inputs=inputs), edit)
    assert main(["explain", "hidden", "u0", str(run)]) == 0
    out, err = capsys.readouterr()
    assert "warning" not in err
    assert "output  inf\ndiffers from the stored value 1 (numbers too large for float32)\n" in out


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
def test_sample_ids_are_those_of_the_probe_in_their_order(
    format: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = np.full((3, 2), 2, np.float32)
    for number, ids in enumerate(([0, 2, 1], [0, 0, 2], ["0", "1", "2"])):
        run = chained(tmp_path / f"{number}", hidden, format)
        table = pa.table({"sample": ids, **dict.fromkeys(("u0", "u1"), hidden[:, 0])})
        with (tmp_path / "file").open("wb") as sink:
            write_table(sink, table, format)
        put_file(run, f"activations/00_hidden.{format}", (tmp_path / "file").read_bytes())
        refused(run, "its sample ids are not those of the probe", capsys)
        with pytest.raises(InputError, match="its sample ids are not those of the probe"):
            runner.open_runs([run]).table("hidden")
        for limit in (2**20, 0) if number < 2 else ():  # text of numbers is cast to numbers
            monkeypatch.setattr("runner.runs.database._IN_MEMORY", limit)  # 0: as if it were large
            with pytest.raises(InputError, match="its sample ids are not those of the probe"):
                runner.open_runs([run]).sql("from hidden")


@pytest.mark.parametrize("rows", ["0,2,2\n1,2,2\n", "0,2,2\n1,2,2\n2,2,2\n3,2,2\n"])
def test_a_csv_with_a_row_too_many_or_too_few_is_refused(
    rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = chained(tmp_path / "run", np.full((3, 2), 2), "csv")
    put_file(run, "activations/00_hidden.csv", b'"sample","u0","u1"\n' + rows.encode())
    refused(run, f"expected 3 rows of 'hidden', found {len(rows.splitlines())}", capsys)


def test_labels_are_those_of_the_samples(copy: Path) -> None:
    table = read_table(at(copy / "probe.parquet"), "parquet").take([0, 2, 1])
    put_file(copy, "probe.parquet", parquet(table))
    for read in (lambda run: run.samples, lambda run: run.labels):
        with pytest.raises(DamagedError, match="its sample ids are not those of the probe"):
            read(runner.open_run(copy))


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
def test_inputs_are_those_whose_hash_is_recorded(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = chained(tmp_path / "run", np.full((3, 2), 2, np.float32), format)
    name = f"probe.{format}"
    assert runner.open_run(run).probe.shape == (3, 3)
    types = dict.fromkeys(("input0", "input1", "input2"), "float")
    table = read_table(at(run / name), format, types)
    columns = table.column_names
    for other in (
        table.set_column(1, "input0", pa.array([1, 1, 2], pa.float32())),
        table.select([columns[0], columns[2], columns[1], columns[3]]).rename_columns(columns),
    ):
        with (tmp_path / "file").open("wb") as sink:
            write_table(sink, other, format)
        put_file(run, name, (tmp_path / "file").read_bytes())
        with pytest.raises(DamagedError, match="its inputs are not those whose hash is recorded"):
            _ = runner.open_run(run).probe
        for words in (["show"], ["explain", "hidden", "u0"], ["report"]):
            assert main([*words, str(run)]) == 2
            assert "its inputs are not those whose hash" in capsys.readouterr().err


_IMPOSSIBLE = "the statistics of 'hidden' are impossible for 12 values"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("min", 12.0, _IMPOSSIBLE),
        ("max", np.inf, _IMPOSSIBLE),
        ("max", np.nan, _IMPOSSIBLE),
        ("mean", 1e9, _IMPOSSIBLE),
        ("std", -1.0, _IMPOSSIBLE),
        ("zeros", 1.5, _IMPOSSIBLE),
        ("zeros", np.nan, _IMPOSSIBLE),
        ("dead_units", 5, _IMPOSSIBLE),
        ("dead_units", 2, "its counts are not those of the record"),
        ("nan", -1, _IMPOSSIBLE),
        ("nan", 13, _IMPOSSIBLE),
        ("inf", 1, "its counts are not those of the record"),
        ("units", 10**12, "expected a row for each tensor of the run"),
        ("shape", "[5]", "expected a row for each tensor of the run"),
    ],
)
def test_statistics_that_no_values_have_are_refused(
    key: str, value: Any, why: str, copy: Path
) -> None:
    table = read_table(at(copy / "summary.parquet"), "parquet")
    column = pa.array([value], table.schema.field(key).type)
    put_file(copy, "summary.parquet", parquet(table.set_column(
        table.column_names.index(key), key, column)))  # fmt: skip
    with pytest.raises(DamagedError, match=rf"summary\.parquet: {why}"):
        runner.open_run(copy).statistics()


def test_figures_of_a_training_are_those_of_the_record(tmp_path: Path) -> None:
    real = Path(shutil.copytree(Path(__file__).parent / "data/version_1", tmp_path / "real"))
    history = runner.open_run(real).history
    for name, column in (("loss", history["loss"] + 1e-12), ("epoch", history.index + 1)):
        table = read_table(at(real / "history.parquet"), "parquet")
        place = table.column_names.index(name)
        other = parquet(table.set_column(place, name, pa.array(column)))
        forged = put_file(Path(shutil.copytree(real, tmp_path / name)), "history.parquet", other)
        with pytest.raises(DamagedError, match="its figures are not those of the record"):
            _ = runner.open_run(forged).history


def refused(run: Path, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that every way to read the table of a layer says the same."""
    opened = runner.open_run(run)
    for read in (opened.table, opened.array, lambda name: list(opened.blocks(name))):
        with pytest.raises(DamagedError, match=why):
            read("hidden")
    for words in (["show"], ["explain", "hidden"], ["explain", "hidden", "u0"]):
        assert main([*words, str(run)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert why in line


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (
            {"arguments": {"activation": {"class_name": "LeakyReLU", "config": {}}}},
            "activations such as 'LeakyReLU' are not covered yet",
        ),
        (
            {"layer_class": "MultiHeadAttention"},
            "does not match its tables ('query' is missing or unknown)",
        ),
    ],
)
def test_arguments_that_are_not_covered_or_missing_are_named(
    layer: dict[str, Any], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = chained(tmp_path / "run", np.ones((3, 2)))
    forge(run, lambda record: record["layers"][0].update(layer))
    assert main(["show", str(run)]) == 0
    capsys.readouterr()
    assert main(["explain", "hidden", "u1", str(run)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert why in line
