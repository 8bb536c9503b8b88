"""Statistics of what streams by equal those of the whole."""

import dataclasses
import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.tables.moments import Moments
from runner.tables.statistic import Chunk
from runner.tables.statistics import STATISTICS
from runner.tables.summary import RunningStatistics, summary_table
from runner.tensors import Kind, TensorSpec


def spec_of(
    shape: tuple[int, ...], dtype: str = "float32", kind: Kind = "activation"
) -> TensorSpec:
    return TensorSpec("block/hidden", kind, "block/hidden", "Dense", 0, None, shape, dtype, 0)


def row_of(values: np.ndarray, *cuts: int, kind: Kind = "activation") -> dict[str, Any]:
    shape = values.shape if kind == "weight" else values.shape[1:]
    statistics = RunningStatistics(spec_of(shape, values.dtype.name, kind))
    for part in np.split(values, cuts):
        statistics.update(part)
    return statistics.row()


def merged_row_of(values: np.ndarray, *cuts: int) -> dict[str, Any]:
    whole = RunningStatistics(spec_of(values.shape[1:], values.dtype.name))
    for part in np.split(values, cuts):
        statistics = RunningStatistics(whole.spec)
        statistics.update(part)
        whole.merge(statistics)
    return whole.row()


@settings(max_examples=80, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (4,), (3, 5), (2, 3, 16), (40_000,), (20, 600)]),
    rows=st.integers(1, 200),
    dtype=st.sampled_from(
        ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"]
    ),
    offset=st.sampled_from([0, 1000]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_batches_of_any_size_give_the_figures_of_the_whole(
    shape: tuple[int, ...], rows: int, dtype: str, offset: int, seed: int, data: st.DataObject
) -> None:
    rows = min(rows, max(1, 400_000 // max(1, math.prod(shape))))
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=3)))
    random = np.random.default_rng(seed)
    values = (np.maximum(random.normal(0, 30, (rows, *shape)), 0) + offset % 120).astype(dtype)
    if shape and seed % 2:
        values[..., 0] = 0
    exact = values.astype(np.float64)

    row = row_of(values, *cuts)

    assert row["min"] == exact.min()
    assert row["max"] == exact.max()
    assert row["mean"] == pytest.approx(math.fsum(exact.ravel()) / exact.size, rel=1e-12, abs=1e-12)
    assert row["std"] == pytest.approx(exact.std(), rel=1e-9, abs=1e-12)
    assert row["zeros"] == (values == 0).mean()
    dead = (values == 0).reshape(-1, shape[-1] if shape else 1).all(axis=0)
    merged = merged_row_of(values, *cuts)
    moments = ("mean", "std")
    assert {**merged, **dict.fromkeys(moments)} == {**row, **dict.fromkeys(moments)}
    for name in moments:
        assert merged[name] == pytest.approx(row[name], rel=1e-9, abs=1e-12)
    assert row["dead_units"] == dead.sum()
    assert row["units"] == dead.size
    assert (row["nan"], row["inf"]) == (0, 0)


@pytest.mark.parametrize("mean", [0, 1, 10, 100, 1e4, 1e8])
def test_a_large_mean_does_not_drown_the_spread(mean: float) -> None:
    values = mean + np.random.default_rng(0).normal(size=(1000, 50))
    exact = [Fraction(value) for value in values.ravel().tolist()]
    centre = sum(exact) / len(exact)
    std = math.sqrt(sum((value - centre) ** 2 for value in exact) / len(exact))
    rel = max(1e-11, 1e-17 * mean)  # the means of batches are rounded to 16 digits
    assert row_of(values, 100, 333)["std"] == pytest.approx(std, rel=rel)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_nan_and_infinity_are_counted_and_left_out(dtype: str) -> None:
    values = np.array([[1, np.nan], [np.inf, 3], [-np.inf, 0], [np.nan, 0]]).astype(dtype)
    row = row_of(values, 1, 2)
    assert (row["nan"], row["inf"]) == (2, 2)
    assert (row["min"], row["max"], row["mean"]) == (0, 3, 1)
    assert row["std"] == pytest.approx(math.sqrt(1.5))
    assert row["zeros"] == 0.25
    assert row["dead_units"] == 0


def test_a_unit_is_dead_only_if_no_sample_and_no_position_moves_it() -> None:
    values = np.zeros((300, 2, 4), dtype=np.float32)
    values[299, 1, 2] = 1e-45
    values[0, 0, 3] = np.nan
    values[:, :, 1] = -0.0
    assert row_of(values, 128, 256)["dead_units"] == 2


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (0,)])
def test_no_values_give_defined_figures(shape: tuple[int, ...]) -> None:
    row = row_of(np.zeros(shape, dtype=np.float32))
    assert all(math.isnan(row[name]) for name in ("min", "max", "mean", "std"))
    assert (row["zeros"], row["dead_units"], row["nan"], row["inf"]) == (0, 0, 0, 0)


@pytest.mark.parametrize("shape", [(8, 6, 6), (3, 200, 300), (5, 7), (2, 4, 3, 3)])
def test_a_unit_is_an_entry_of_the_axis_that_is_named_so(shape: tuple[int, ...]) -> None:
    axes = ("channel", "depth", "height", "width")[: len(shape)]
    spec = dataclasses.replace(spec_of(shape), axes=axes)
    random = np.random.default_rng(0)
    values = np.maximum(random.normal(size=(5, *shape)), 0).astype(np.float32)
    values[:, 1] = 0
    values[:4, 0] = 0
    statistics = RunningStatistics(spec)
    for part in np.split(values, [2, 3]):
        statistics.update(part)
    row = statistics.row()
    assert (row["units"], row["dead_units"]) == (shape[0], 1)
    last = row_of(np.ascontiguousarray(np.moveaxis(values, 1, -1)))
    for name in ("min", "max", "zeros"):
        assert row[name] == last[name]
    assert row["mean"] == pytest.approx(last["mean"], rel=1e-12)
    assert row["std"] == pytest.approx(last["std"], rel=1e-12)


def test_a_constant_has_no_spread() -> None:
    row = row_of(np.full((70_000, 3), 0.1, dtype=np.float32), 1, 40_000)
    constant = float(np.float32(0.1))
    assert (row["min"], row["max"]) == (constant, constant)
    assert row["mean"] == pytest.approx(constant, rel=1e-15)
    assert row["std"] == pytest.approx(0, abs=1e-15)


def test_values_near_the_limit_of_float64_overflow_without_a_warning() -> None:
    row = row_of(np.full((4, 2), 1.7e308))
    assert row["max"] == 1.7e308
    assert not math.isfinite(row["mean"])


def test_the_values_are_left_as_they_are() -> None:
    values = np.random.default_rng(0).normal(size=(10, 3))
    before = values.copy()
    row_of(values)
    assert np.array_equal(values, before)


def test_a_weight_is_described_as_it_is() -> None:
    row = row_of(np.eye(3, 4, dtype=np.float32), kind="weight")
    assert row["shape"] == "[3, 4]"
    assert (row["units"], row["dead_units"], row["zeros"]) == (4, 1, 0.75)


def test_the_summary_has_a_row_per_tensor_and_keeps_nan() -> None:
    rows = [row_of(np.ones((2, 3), np.float32)), row_of(np.ones((0, 3), ml_dtypes.bfloat16))]
    table = summary_table(rows)
    assert table.column_names == (
        [
            "name",
            "kind",
            "layer",
            "class",
            "shape",
            "dtype",
            "min",
            "max",
            "mean",
            "std",
            "zeros",
            "dead_units",
            "units",
            "nan",
            "inf",
        ]
    )
    assert table.to_pylist()[0] == rows[0]
    assert table.column("mean").null_count == 0
    assert math.isnan(table.column("mean")[1].as_py())
    assert summary_table([]).num_rows == 0


def test_each_value_is_added_once_to_what_several_statistics_need() -> None:
    assert STATISTICS["mean"].tally is STATISTICS["std"].tally
    added = []

    class Counting(Moments):
        def add(self, chunk: Chunk) -> None:
            added.append(chunk.values.size)
            super().add(chunk)

    both = {name: dataclasses.replace(STATISTICS[name], tally=Counting) for name in ("mean", "std")}
    values = np.arange(100_000, dtype=np.float32)
    statistics = RunningStatistics(spec_of((1,)), both)
    statistics.update(values[:, None])
    assert sum(added) == values.size
    row = statistics.row()
    assert (row["mean"], row["std"]) == pytest.approx((49_999.5, values.std(dtype=np.float64)))


def test_statistics_made_apart_keep_nan_and_refuse_another_tensor() -> None:
    values = np.array([[1.0, np.nan], [np.inf, 0.0], [3.0, 0.0]])
    assert merged_row_of(values, 1, 2) == row_of(values)
    with pytest.raises(ValueError, match="expected statistics of a tensor"):
        RunningStatistics(spec_of((2,))).merge(RunningStatistics(spec_of((3,))))
