"""The arithmetic of one value of a Dense layer, spelled out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from runner.errors import InputError, suggest
from runner.runs.published_run import Run, some
from runner.screen.dense import DenseCall
from runner.screen.figures import digits, text_table

_MOST_INPUTS = 20
_LARGEST = 10


def show(run: Run, layer: str, unit: str, sample: str) -> str:
    """Return the arithmetic of one value: every product, their sum, and what became of it.

    Of more than 20 inputs the 10 whose products are largest are shown, and the sum of
    the others.

    Parameters
    ----------
    run
        A run of a declared model.
    layer
        A Dense layer; one that is called more than once as ``layer@1``.
    unit
        ``u0``, ``u1``...
    sample
        A sample's id, as text.

    Raises
    ------
    InputError
        If the run has none of that name, or if the layer is not covered yet.
    """
    dense = DenseCall.read(run, layer)
    column = _position(unit, list(dense.output.columns), "unit", layer)
    row = _position(sample, [str(known) for known in dense.output.index], "sample", layer)
    dtype = dense.kernel.dtype.type
    total = dtype(dense.sums(row)[column])
    computed = dtype(dense.outputs(row)[column])
    stored = dense.output.to_numpy()[row, column]
    among = f" among {len(dense.bias)} units" if dense.activation == "softmax" else ""
    return (
        f"{layer} {unit}, sample {sample}, run {run.id}\n\n"
        f"{_products(dense, row, column)}\n\n"
        f"bias    {digits(dense.bias[column])}\n"
        f"sum     {digits(total)}\n"
        f"{dense.activation}({digits(total)}){among} = {digits(computed)}\n"
        f"{_verdict(stored, computed, dense.rounding(row))}\n"
    )


def _position(name: str, known: list[str], what: str, layer: str) -> int:
    if name not in known:
        advice = suggest(name, known) or f"there are {some(known)}"
        raise InputError.of(layer, f"no {what} '{name}'", advice)
    return known.index(name)


def _products(dense: DenseCall, row: int, column: int) -> str:
    inputs, weights = dense.inputs.iloc[row].to_numpy(), dense.kernel[:, column]
    with np.errstate(all="ignore"):
        products = inputs * weights
    columns = {"input": inputs, "weight": weights, "product": products}
    table = pd.DataFrame(columns, dense.inputs.columns)
    if len(table) <= _MOST_INPUTS:
        return text_table(table)
    by_size = np.argsort(-np.abs(products), kind="stable")
    others = products[by_size[_LARGEST:]]
    return (
        f"the {_LARGEST} largest of {len(table)} products\n"
        f"{text_table(table.iloc[by_size[:_LARGEST]])}\n"
        f"the other {len(others)} products sum to "
        f"{digits(products.dtype.type(others.sum(dtype=np.float64)))}"
    )


def _verdict(stored: np.floating, computed: np.floating, rounding: float) -> str:
    """Say whether the computed value is the stored one, in units in the last place (ULP)."""
    if np.array_equal(stored, computed, equal_nan=True):
        return f"equals the stored value {digits(stored)}"
    gap = abs(float(stored) - float(computed))
    place = np.spacing(max(abs(stored), abs(computed)))
    if not np.isfinite(gap):
        return f"differs from the stored value {digits(stored)}"
    why = "order of rounding" if gap <= rounding else "more than rounding explains"
    return f"differs from the stored value {digits(stored)} by {gap / place:.0f} ULP ({why})"
