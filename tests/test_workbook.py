"""The workbook for Excel, and CSV that Excel reads: what is in them, and what cannot be."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openpyxl
import pyarrow as pa
import pytest

import runner
from runner.config.compose import compose_one
from runner.errors import InputError
from runner.experiment.experiment import run_experiment
from runner.screen.show import show
from runner.tables import workbook
from runner.tables.columns import field_of
from runner.tables.plain_tables import write_table
from runner.tables.workbook import Sheet, workbook_of


def sheet(name: str, **columns: Any) -> Sheet:
    path = Path(f"{len(list(Path().iterdir()))}.parquet")
    with path.open("wb") as sink:
        write_table(sink, pa.table(columns), "parquet")
    return Sheet(name, "activation", "3", "float32", str(path))


def book(sheets: list[Sheet]) -> tuple[bytes, list[str]]:
    return workbook_of(sheets, lambda name: Path(name).open("rb"))


def read(data: bytes) -> dict[str, list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True)
    return {each.title: list(each.iter_rows(values_only=True)) for each in book.worksheets}


def test_each_table_is_a_sheet_and_the_first_lists_them() -> None:
    values = np.array([0.1, 1e-30, 3.4e38], "float32")
    data, left_out = book([sheet("hidden", sample=["가", "=1+1", "http://x"], u0=values)])
    sheets = read(data)
    assert left_out == []
    assert list(sheets) == ["contents", "hidden"]
    assert sheets["contents"][1][:5] == ("hidden", "activation", "3", "float32", "hidden")
    assert sheets["hidden"][0] == ("sample", "u0")
    assert [row[0] for row in sheets["hidden"][1:]] == ["가", "=1+1", "http://x"]
    found = np.array([row[1] for row in sheets["hidden"][1:]], "float32")
    assert found.tobytes() == values.tobytes()
    assert sheets["hidden"][1][1] == 0.1  # not 0.10000000149011612


@pytest.mark.parametrize(("dtype", "bits"), [("float16", "uint16"), ("float32", "uint32")])
def test_any_number_up_to_float32_is_exact(dtype: str, bits: str) -> None:
    drawn = np.random.default_rng(0).integers(0, np.iinfo(bits).max, 3000, dtype=bits)
    values = drawn.view(dtype)
    data, _ = book([sheet("a", u0=values)])
    found = np.array([float(row[0]) for row in read(data)["a"][1:]]).astype(dtype)
    same = (found.view(bits) == drawn) | (np.isnan(found) & np.isnan(values))
    assert same.all()


def test_what_excel_has_no_numbers_for_is_text() -> None:
    data, _ = book(
        [sheet("a", u0=[np.nan, np.inf, -np.inf], n=[2**60, -(2**53), 1], b=[True, False, True])]
    )
    assert read(data)["a"][1:] == [
        ("nan", str(2**60), True),
        ("inf", -(2**53), False),
        ("-inf", 1, True),
    ]


def test_a_map_has_a_column_for_each_number() -> None:
    maps = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8.0).reshape(2, 2, 2))
    data, _ = book([sheet("conv", sample=[0, 1], u=maps)])
    assert read(data)["conv"] == [
        ("sample", "u0_0", "u0_1", "u1_0", "u1_1"),
        (0, 0, 1, 2, 3),
        (1, 4, 5, 6, 7),
    ]


def test_named_entries_are_columns_of_their_names() -> None:
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(4.0).reshape(2, 2))
    schema = pa.schema([("sample", pa.int64()), field_of("input", column.type, ["sample", "폭"])])
    path = Path("probe.parquet")
    with path.open("wb") as sink:
        write_table(sink, pa.table([pa.array([0, 1]), column], schema=schema), "parquet")
    data, _ = book([Sheet("probe", "", "", "", "probe.parquet")])
    assert read(data)["probe"] == [("sample", "sample_", "폭"), (0, 0, 1), (1, 2, 3)]


def test_titles_are_what_excel_allows_and_differ() -> None:
    names = ["a/b:0", "A.b.0", "x" * 40, "x" * 50, "contents", "History", "'q'", "[]*?", "층"]
    data, _ = book([sheet(name, u0=[1.0]) for name in names])
    assert list(read(data))[1:] == [
        "a.b.0", "A.b.0~2", "x" * 31, "x" * 29 + "~2", "contents~2", "History.", "q", "....", "층"
    ]  # fmt: skip


def test_what_does_not_fit_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((1, 130, 130), "float32"))
    tall = sheet("tall", u0=np.zeros(workbook.MAX_ROWS, "int8"))
    monkeypatch.setattr(workbook, "MAX_CELLS", 10)
    tables = [tall, sheet("wide", u=wide), sheet("a", u0=[1.0]), sheet("b", u0=np.zeros(9))]
    data, left_out = book(tables)
    assert left_out == [
        "tall (no sheet: 1,048,577 rows, Excel takes 1,048,576)",
        "wide (no sheet: 16,900 columns, Excel takes 16,384)",
        "b (no sheet: more than 10 cells in all)",
    ]
    assert list(read(data)) == ["contents", "a"]
    assert [row[4] for row in read(data)["contents"][1:]][1].startswith("no sheet: 16,900 columns")


def test_the_same_tables_give_the_same_bytes() -> None:
    tables = [sheet("a", u0=[1.0])]
    assert book(tables) == book(tables)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="층")])


def test_a_run_as_xlsx_is_read_back_to_the_bit() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ids = ["가", "나", "다", "라"]
    run = runner.save_run(model(), x, "run", sample_ids=ids, format="xlsx")
    plain = runner.save_run(model(), x, "plain", sample_ids=ids)
    assert run["층"].equals(plain["층"])
    assert run.record.format == "parquet"
    assert "tables.xlsx" in run.record.files
    assert "       and tables.xlsx, " in show(run)
    sheets = read((run.path / "tables.xlsx").read_bytes())
    assert list(sheets) == ["contents", "summary", "probe", "층", "층.kernel", "층.bias"]
    found = np.array([row[1:] for row in sheets["층"][1:]], "float32")
    assert found.tobytes() == run.array("층").tobytes()


def test_without_xlsxwriter_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "xlsxwriter" else real(name)
    )
    composition, _ = compose_one(["format=xlsx"], "0a1b2c3d")
    said = r'^format: xlsx needs XlsxWriter; type: pip install "activation-runner\[excel\]"$'
    with pytest.raises(InputError, match=said):
        run_experiment(composition, Path("run"), run_id="0a1b2c3d")
    assert not Path("run").exists()


def test_csv_with_a_mark_is_utf_8_to_excel_and_is_read_back() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    run = runner.save_run(model(), x, "run", sample_ids=["가", "나"], format="csv_bom")
    plain = runner.save_run(model(), x, "plain", sample_ids=["가", "나"], format="csv")
    assert run.record.format == "csv"
    tables = sorted(path.relative_to(run.path) for path in run.path.rglob("*.csv"))
    assert len(tables) == 5
    for table in tables:
        marked = (run.path / table).read_bytes()
        assert marked == b"\xef\xbb\xbf" + (plain.path / table).read_bytes()
    assert run["층"].equals(plain["층"])
    assert run.probe.equals(plain.probe)
    assert run.summary.equals(plain.summary)
    assert runner.diff(run, plain).same
