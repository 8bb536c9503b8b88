"""Tables of many runs in one: side by side, in SQL, as a labelled dataset."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from making import STORED, make_run

from runner.errors import InputError
from runner.runs.locate import open_runs
from runner.runs.run_tensors import UnknownTensorError
from runner.runs.runs import Runs


def sweep(folder: Path, format: str = "parquet", widths: tuple[int, ...] = (2, 2)) -> Runs:
    """A run for each width, its values its number; the folders' names look like partitions."""
    for number, width in enumerate(widths):
        tensors = {
            "hidden": np.full((3, width), number, np.float32),
            "b's": np.arange(6, dtype=np.float32).reshape(3, 2) + number,
            "hidden/kernel": np.zeros((2, width), np.float32),
            "conv": np.full((3, 2, 2, 1), number, np.float32),
        }
        make_run(
            folder / f"lr=0.{number},seed={number}",
            tensors,
            run_id=f"5eed5eed-{number}",
            sweep="5eed5eed",
            config={"seed": number, "lr": number / 10},
            format=format,
        )
    return open_runs(folder)


@pytest.mark.parametrize("format", STORED)
def test_sql_joins_tensors_with_runs(tmp_path: Path, format: str) -> None:
    runs = sweep(tmp_path, format)
    found = runs.sql(
        "select seed, avg(u0) as mean, count(*) as rows from hidden join runs using (run) "
        "group by seed order by seed"
    )
    assert found.to_dict("list") == {"seed": [0, 1], "mean": [0.0, 1.0], "rows": [3, 3]}
    assert list(runs.sql("select * from hidden").columns) == ["run", "sample", "u0", "u1"]
    quoted = runs.sql("""select sum(u1) as s from "b's" where run = '5eed5eed-1'""")
    assert quoted["s"].tolist() == [1 + 3 + 5 + 3]


@pytest.mark.parametrize("values", [(True, 2), (True, "a"), (1, "a"), ([1], {"a": 1})])
def test_one_odd_configuration_does_not_end_every_query(
    tmp_path: Path, values: tuple[Any, ...]
) -> None:
    for number in range(1100):  # DuckDB looks at the types of 1,000 rows
        value = values[1] if number == 1050 else values[0]
        make_run(tmp_path / str(number), {}, config={"seed": number, "odd": value})
    found = open_runs(tmp_path).sql("select seed, odd from runs order by seed")
    assert found["seed"].tolist() == [*range(1100)]
    if bool in map(type, values):
        assert {*found["odd"]} == {*map(str, values)}


@pytest.mark.parametrize("format", STORED)
def test_sql_refuses_runs_that_differ_in_units_unless_told(tmp_path: Path, format: str) -> None:
    runs = sweep(tmp_path, format, widths=(2, 3))
    line = r"hidden: the runs differ in its units \(2 in 5eed5eed-0; 3 in 5eed5eed-1\)"
    with pytest.raises(InputError, match=line):
        runs.sql("select * from hidden")
    found = runs.sql("select run, u2 from hidden order by run", align="union")
    assert found["u2"].isna().tolist() == [True] * 3 + [False] * 3
    assert len(runs.sql("""select * from "b's" """)) == 6  # the other tensor does not matter


def test_sql_says_what_is_wrong_with_a_query(tmp_path: Path) -> None:
    runs = sweep(tmp_path)
    with pytest.raises(InputError, match=r"^sql: .*Referenced column \"u9\" not found"):
        runs.sql("select u9 from hidden")
    with pytest.raises(InputError, match=r"^sql: .*hiden"):
        runs.sql("select * from hiden")


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_polars_reads_lazily_what_a_table_holds(tmp_path: Path, format: str) -> None:
    polars = pytest.importorskip("polars")
    runs = sweep(tmp_path / "a[1]", format=format)  # which is no pattern
    for name in ("hidden", "conv", "hidden/kernel"):
        frame = runs.to_polars(name)
        assert isinstance(frame, polars.LazyFrame)
        expected = runs.sql(f'select * from "{name}"')
        pd.testing.assert_frame_equal(
            frame.collect().to_pandas(), expected, check_dtype=False, check_index_type=False
        )
    wide = sweep(tmp_path / "wide", widths=(2, 3), format=format)
    with pytest.raises(InputError, match="hidden: the runs differ in its units"):
        wide.to_polars("hidden")
    found = wide.to_polars("hidden", align="union").filter(polars.col("u2").is_null()).collect()
    assert found["run"].to_list() == ["5eed5eed-0"] * 3


def test_several_tensors_stand_side_by_side(tmp_path: Path) -> None:
    runs = sweep(tmp_path)
    frame = runs.tables(["hidden", "b's"])
    assert frame.columns.tolist() == [
        ("hidden", "u0"), ("hidden", "u1"), ("b's", "u0"), ("b's", "u1"),
    ]  # fmt: skip
    assert frame.index.names == ["seed", "lr", "sample"]
    assert frame.loc[(1, 0.1, 2), ("b's", "u1")] == 6
    with pytest.raises(InputError, match="conv: is a map, whose columns are coordinates"):
        runs.tables(["hidden", "conv"])
    with pytest.raises(InputError, match="hidden/kernel: is a weight, which has no samples"):
        runs.tables(["hidden/kernel"])
    with pytest.raises(UnknownTensorError, match="no tensor 'hiden'; did you mean 'hidden'"):
        runs.tables(["hiden"])


def test_xarray_has_runs_samples_and_axes(tmp_path: Path) -> None:
    data = sweep(tmp_path).to_xarray()
    assert dict(data.sizes) == {
        "run": 2, "sample": 3, "hidden_0": 2, "b's_0": 2, "conv_0": 2, "conv_1": 2, "conv_2": 1,
    }  # fmt: skip
    assert data.conv.dtype == np.float32
    assert data.coords["seed"].values.tolist() == [0, 1]
    assert float(data.hidden.mean(["sample", "hidden_0"]).sel(run="5eed5eed-1")) == 1
    assert list(open_runs(tmp_path).to_xarray(["hidden"]).data_vars) == ["hidden"]


def test_xarray_refuses_what_does_not_stack(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "a", widths=(2, 3))
    with pytest.raises(InputError) as raised:
        runs.to_xarray(["hidden"])
    assert str(raised.value) == (
        "hidden: the runs differ in its units (2 in 5eed5eed-0; 3 in 5eed5eed-1); narrow the runs "
        "with where(...), or name other tensors"
    )
    assert list(runs.to_xarray(["b's"]).data_vars) == ["b's"]  # as advised
    assert runs.where(seed=0).to_xarray(["hidden"]).sizes["hidden_0"] == 2
    make_run(tmp_path / "b/0", {"x": np.zeros((3, 1), np.float32)}, run_id="0a")
    make_run(
        tmp_path / "b/1", {"x": np.zeros((3, 1), np.float32)}, run_id="0b", samples=("p", "q", "r")
    )
    with pytest.raises(InputError, match="run 0b was shown other samples than 0a"):
        open_runs(tmp_path / "b").to_xarray()


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("duckdb", r'needs DuckDB; type: pip install "activation-runner\[sql\]"'),
        ("xarray", r'needs xarray; type: pip install "activation-runner\[xarray\]"'),
        ("polars", r'needs Polars; type: pip install "activation-runner\[polars\]"'),
    ],
)
def test_a_missing_extra_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, line: str
) -> None:
    runs = sweep(tmp_path)
    asking: dict[str, Callable[[], object]] = {
        "duckdb": lambda: runs.sql("select 1"),
        "xarray": runs.to_xarray,
        "polars": lambda: runs.to_polars("hidden"),
    }
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=line):
        asking[package]()
