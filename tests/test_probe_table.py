"""The probe is kept as shown; what is too large leaves its ids, labels and targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from making import at

from runner.errors import DamagedError, InputError
from runner.probe.memory_sources import as_probe
from runner.probe.probe import Probe
from runner.probe.probe_hash import ProbeHasher
from runner.record.probe_record import ProbeRecord
from runner.record.publication import Publication
from runner.runs.shown_probe import ShownProbe
from runner.saving import probe_table
from runner.saving.probe_table import ProbeTable
from runner.stores.local_draft import LocalDraft
from runner.tables.layout import MAX_CSV_COLUMNS, MAX_UNIT_COLUMNS
from runner.tables.plain_tables import frame_of, named_entries, read_table


def written(probe: Probe, path: Path, format: str = "parquet", size: int = 2) -> ProbeTable:
    """Write the table of a probe to a path."""
    with Publication(LocalDraft(path.with_name("run"))) as publication:
        table = ProbeTable(publication, probe, format)
        for batch in probe.batches(size):
            table.add(batch)
        table.finish()
        with publication.reopen(table.file) as file:
            path.write_bytes(file.read())
    return table


def kept(
    x: Any, *, format: str = "parquet", size: int = 2, known: bool = True, **others: Any
) -> pa.Table:
    """Return the table of a probe, whose length is known at the beginning, or is not."""
    probe = as_probe(x, **others)
    if not known:
        probe = replace(probe, rows=None)
    path = Path("probe")
    shown = written(probe, path, format, size)
    table = read_table(at(path), format)
    path.unlink()
    has_inputs = any(name.startswith("input") for name in table.column_names)
    assert shown.has_inputs is has_inputs or isinstance(x, dict)
    return table


def test_a_vector_gets_a_column_an_entry() -> None:
    values = np.arange(12, dtype="float32").reshape(3, 4)
    table = kept(values, sample_ids=["가", "b", "c"], labels=[1, 2, 3], targets=[0.5, 1, 2])
    assert table.column_names == [
        "sample",
        "label",
        "target",
        "input0",
        "input1",
        "input2",
        "input3",
    ]
    assert table.column("sample").to_pylist() == ["가", "b", "c"]
    assert table.column("label").type == pa.int64()
    assert table.column("input1").type == pa.float32()
    assert table.column("input1").to_pylist() == [1, 5, 9]


def test_targets_of_several_entries_are_numbered() -> None:
    table = kept(np.eye(3), targets=np.eye(3, 2), labels=["x", "y", "z"])
    assert table.column_names[:4] == ["sample", "label", "target0", "target1"]
    assert table.column("label").type == pa.string()


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
def test_the_size_of_batches_does_not_matter(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor how many of them are written at once."""
    values = np.random.default_rng(0).normal(size=(7, 3, 2))
    about: dict[str, Any] = {"labels": list("abcdefg"), "targets": np.eye(7), "format": format}
    whole = kept(values, size=7, **about)
    assert kept(values, size=1, **about).equals(whole)
    monkeypatch.setattr(probe_table, "_GROUP_BYTES", 1)
    assert kept(values, size=2, **about).combine_chunks().equals(whole)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "bool"])
def test_pictures_get_one_column(dtype: str) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    column = kept(values).column("input").combine_chunks()
    stored = column.storage.flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(stored.reshape(values.shape), values, strict=True)


def test_nan_stays_nan_and_is_no_empty_cell() -> None:
    column = kept(np.array([[np.nan], [np.inf]])).column("input0")
    assert column.null_count == 0
    assert np.isnan(column.to_numpy()[0])


@pytest.mark.parametrize("dtype", [">f4", ">i8", ml_dtypes.bfloat16])
def test_types_that_arrow_lacks_are_kept_as_others(dtype: Any) -> None:
    for shape in ((2, 3), (2, 3, 1)):
        table = kept(np.ones(shape).astype(dtype))
        assert table.num_rows == 2


def test_text_is_kept() -> None:
    assert kept(np.array(["a", "나"])).column("input").to_pylist() == ["a", "나"]
    assert kept(np.array([["a", "b"]])).column_names == ["sample", "input0", "input1"]
    assert kept(np.full((1, 2, 2), "a")).column_names == ["sample"]


def test_inputs_are_kept_by_name_even_if_that_is_taken() -> None:
    x = {
        "label": np.array([1.0, 2]),
        "a": np.ones((2, 11)),
        "a1": np.zeros((2, 1)),
        "sample": 2 * np.eye(2),
    }
    table = kept(x, labels=["u", "v"])
    assert len(set(table.column_names)) == table.num_columns == 2 + 1 + 11 + 1 + 2
    assert table.column("label").to_pylist() == ["u", "v"]
    assert table.column("label_").to_pylist() == [1, 2]
    assert table.column("a10").to_pylist() == [1, 1]
    assert table.column("a10_").to_pylist() == [0, 0]


@pytest.mark.parametrize("known", [True, False])
def test_of_a_large_probe_ids_labels_and_targets_are_kept(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_table, "_LIMIT_BYTES", 1000)
    monkeypatch.setattr(probe_table, "_GROUP_BYTES", 300)
    values = np.ones((40, 4))
    names = [f"s{row}" for row in range(40)]
    about: dict[str, Any] = {"sample_ids": names, "labels": range(40), "targets": np.arange(40)}
    table = kept(values, size=7, known=known, **about)
    assert table.column_names == ["sample", "label", "target"]
    assert table.column("sample").to_pylist() == names
    assert table.column("target").to_pylist() == list(range(40))
    assert kept(values[:20], size=7, known=known).num_columns == 5


@pytest.mark.parametrize("known", [True, False])
def test_targets_that_are_too_large_by_themselves_are_left_out(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_table, "_LIMIT_BYTES", 1000)
    monkeypatch.setattr(probe_table, "_GROUP_BYTES", 300)
    about: dict[str, Any] = {"labels": range(40), "targets": np.ones((40, 9))}
    table = kept(np.ones((40, 4)), size=7, known=known, **about)
    assert table.column_names == ["sample", "label"]
    assert table.column("label").to_pylist() == list(range(40))


@pytest.mark.parametrize("shape", [(1, MAX_CSV_COLUMNS + 1), (1, 128, 129)])
def test_what_is_too_wide_for_csv_is_left_out_of_it_alone(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, "float32")
    assert kept(values, labels=["x"], format="csv").column_names == ["sample", "label"]
    for format in ("parquet", "arrow"):
        assert kept(values, format=format).column_names == ["sample", "input"]


def test_a_csv_as_wide_as_may_be_keeps_its_inputs() -> None:
    names = kept(np.zeros((1, 128, 128)), format="csv").column_names
    assert names[:2] == ["sample", "input0_0"]
    assert len(names) == 1 + MAX_CSV_COLUMNS


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
def test_each_array_is_read_from_the_columns_it_was_written_to(format: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"a": (3,), "a1": (2,), "a1_0": (2, 2), "a11": (), "target": (2,), "label": ()}
    x = {name: rng.normal(size=(4, *shape)).astype("f4") for name, shape in shapes.items()}
    targets = rng.normal(size=(4, 3))
    probe = as_probe(x, labels=list("uvwx"), targets=targets)
    path = tmp_path / "probe"
    shown = written(probe, path, format, 3)
    recorded = ProbeRecord(
        source="", rows=4, inputs=probe.inputs, sample_type="int64", has_labels=True,
        has_targets=True, sha256="", sample_ids_sha256="", file="probe", has_inputs=True,
        columns=shown.layout,
    )  # fmt: skip
    for record in (recorded, replace(recorded, columns=None)):  # as of before it was recorded
        read = ShownProbe(str(path), frame_of(read_table(at(path), format)), record, format)
        for name, values in x.items():
            np.testing.assert_array_equal(read.input(name).values, values, strict=True)
        np.testing.assert_array_equal(read.select("target"), targets)
        assert read.select("label").squeeze().tolist() == list("uvwx")
    damaged = replace(recorded, columns=(replace(shown.layout[0], first=30),))
    with pytest.raises(InputError, match="probe: expected 1 columns of label 'label' from column"):
        ShownProbe(str(path), frame_of(read_table(at(path), format)), damaged, format)


TEXTS = np.array([["a", "라\n"], ["", '"'], ["b", ","]], object)
FLOATS = np.array([[0.1, np.nan], [-0.0, np.inf], [1e-42, 3]], "float32")


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
@pytest.mark.parametrize(
    "x",
    [
        FLOATS[:, :1],
        FLOATS,
        FLOATS[:, 0],
        [FLOATS, np.arange(12, dtype="int32").reshape(3, 2, 2)],
        {"b": FLOATS.astype("float16"), "a": np.array([True, False, True])},
        TEXTS,
        np.char.encode(TEXTS.astype(str), "utf-8").astype(object),
        np.zeros((3, 0)),
    ],
)
def test_the_inputs_of_a_table_are_compared_with_their_hash(
    x: Any, format: str, tmp_path: Path
) -> None:
    probe, hasher = as_probe(x), ProbeHasher()
    shown = written(probe, tmp_path / "probe", format)
    for batch in probe.batches(2):
        hasher.update(batch)
    record = ProbeRecord(
        source="", rows=3, inputs=probe.inputs, sample_type="int64", has_labels=False,
        has_targets=False, sha256=hasher.content(), sample_ids_sha256="", file="probe",
        has_inputs=True, columns=shown.layout,
    )  # fmt: skip
    table = frame_of(read_table(at(tmp_path / "probe"), format))
    ShownProbe(str(tmp_path / "probe"), table, record, format).check_inputs()
    other = ShownProbe(str(tmp_path / "probe"), table, replace(record, sha256="0" * 64), format)
    has_nan = any(part.dtype.startswith("float") for part in shown.layout) and bool(
        table.select_dtypes("float").isna().to_numpy().any()
    )
    if format == "csv" and has_nan:  # whose bits text does not keep
        other.check_inputs()
        return
    with pytest.raises(DamagedError, match="its inputs are not those whose hash is recorded"):
        other.check_inputs()


@pytest.mark.parametrize("shape", [(2, 0), (2, 0, 3)])
def test_inputs_without_values_need_no_column(shape: tuple[int, ...]) -> None:
    written(as_probe(np.zeros(shape)), Path("probe"))
    assert read_table(at(Path("probe")), "parquet").column_names == ["sample"]


def test_the_columns_of_a_table_keep_their_names() -> None:
    names = ("length", "label", "sample", "폭")
    values = np.arange(8, dtype="float32").reshape(2, 4)
    probe = replace(as_probe(values, labels=["x", "y"], targets=[[1], [2]]), columns=names)
    shown = written(probe, Path("probe"))
    assert read_table(at(Path("probe")), "parquet").column_names == [
        "sample", "label", "target0", "length", "label_", "sample_", "폭"
    ]  # fmt: skip
    assert [(part.role, part.first, part.count) for part in shown.layout] == [
        ("label", 1, 1),
        ("target", 2, 1),
        ("input", 3, 4),
    ]


WIDE = ("label", *(f"gene {number}" for number in range(MAX_UNIT_COLUMNS)))


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
def test_more_names_than_columns_are_kept(format: str, tmp_path: Path) -> None:
    values = np.arange(2 * len(WIDE), dtype="float32").reshape(2, -1)
    probe = replace(as_probe(values, labels=["x", "y"]), columns=WIDE)
    path = tmp_path / "probe"
    shown = written(probe, path, format)
    record = ProbeRecord(
        source="", rows=2, inputs=probe.inputs, sample_type="int64", has_labels=True,
        has_targets=False, sha256="", sample_ids_sha256="", file="probe", has_inputs=True,
        columns=shown.layout,
    )  # fmt: skip
    table = read_table(at(path), format)
    names = named_entries(str(path), table)
    read = ShownProbe(str(path), frame_of(table), record, format, names).input("input")
    taken = "label_" if format == "csv" else "label"  # where it is a column beside the labels
    assert read.entry_names == (taken, *WIDE[1:])
    np.testing.assert_array_equal(read.values, values, strict=True)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ('{"entries": ["a"]}', "expected 2 names, found 1"),
        ('{"entries": ["a", 2]}', "expected a list of names"),
        ("[]", "expected a list of names"),
        ("[" * 10**6, "maximum recursion depth exceeded"),
        ("\xff", "Expecting value"),
    ],
)
def test_forged_names_are_refused_in_one_line(about: str, message: str) -> None:
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((1, 2)))
    field = pa.field("input", column.type, metadata={"runner": about})
    table = pa.table([column], schema=pa.schema([field]))
    with pytest.raises(DamagedError, match=f"^probe: the names of the inputs .*: {message}"):
        named_entries("probe", table)
