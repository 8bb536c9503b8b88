"""The layer at fault among those that add an error themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from runner.runs.published_run import Run
from runner.sameness.difference import TensorDifference

_ROUNDED = 1e-6
"""Rounding of float32, relative to the largest value."""

_USUAL = 3
"""Rounded weights cause errors up to this multiple of those that they cause in other layers."""


def at_fault(
    tensors: Sequence[TensorDifference], cut_off: Mapping[str, float]
) -> TensorDifference | None:
    """Return the tensor whose layer adds the largest error; ``None`` if none adds one.

    In a quantized model, it is the one that adds the largest error even if no activation is rounded
    to an integer, if this is more than what rounded weights cause in the other layers.
    Integers in a fixed range hold the values that a layer returned when the range was measured. If
    a layer before was wrong then, a layer that is right cuts off the values of the first run: if
    this is its largest error, only what exceeds the inherited error counts. An error that the
    second run does not show does not count, either.

    Parameters
    ----------
    tensors
        The compared tensors of two runs, in call order.
    cut_off
        As from `cut_off_in`.
    """
    if (wrong := _wrong_without_rounding(tensors)) is not None:
        return wrong
    inherited, worst, most = 0.0, None, -np.inf
    for tensor in tensors:
        own = tensor.own_error or 0.0
        if tensor.tensor in cut_off and tensor.kind == "activation":
            cut = 0 < own <= cut_off[tensor.tensor] + _ROUNDED
            own = min(own, tensor.max_relative) - (inherited if cut else 0.0)
        if tensor.adds and own > most:
            worst, most = tensor, own
        if tensor.kind == "activation" and tensor.max_relative > inherited:
            inherited = tensor.max_relative
    return worst


def _wrong_without_rounding(tensors: Sequence[TensorDifference]) -> TensorDifference | None:
    known = {each.unrounded or 0.0: each for each in tensors if each.adds}
    others = [error for each in tensors if (error := each.unrounded or 0.0) > _ROUNDED]
    worst = max(known, default=0.0)
    return known[worst] if others and worst > _USUAL * np.median(others) else None


def cut_off_in(a: Run, b: Run, tensors: Sequence[TensorDifference]) -> dict[str, float]:
    """Return by how much the largest values of a run are beyond what those of another can hold.

    Parameters
    ----------
    a, b
        The runs.
    tensors
        The compared tensors of the two.

    Returns
    -------
    dict[str, float]
        Relative to the largest value; by the names of the tensors that the second run keeps as
        integers in a fixed range.
    """
    arguments = {layer.path: layer.arguments or {} for layer in b.record.layers}
    paths = {one.name: one.layer_path for one in b.record.tensors if one.kind == "activation"}
    found = {}
    for tensor in tensors:
        told = arguments.get(paths.get(tensor.other or tensor.tensor, ""), {})
        if tensor.adds and {"stored_as", "scale", "zero_point"} <= {*told}:
            integers = np.iinfo(told["stored_as"])
            [scale], [zero_point] = told["scale"], told["zero_point"]
            lowest, highest = (scale * (each - zero_point) for each in (integers.min, integers.max))
            ends = [(block.min(), block.max()) for block in a.blocks(tensor.tensor, "activation")]
            least, most = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
            beyond = max(lowest - least, most - highest)
            found[tensor.tensor] = float(beyond / max(-least, most, np.finfo(float).tiny))
    return found
