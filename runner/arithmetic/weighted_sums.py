"""Layers that multiply what they are given by weights, and add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.functions import ACROSS, FUNCTIONS
from runner.arithmetic.layer_call import LayerCall, Operand
from runner.arithmetic.windows import Window

Place = tuple[int, ...]


@dataclass(frozen=True)
class _Terms:
    """Numbers and what each is multiplied by, flat; `outside` more of them are padding."""

    labels: list[str]
    values: np.ndarray
    weights: np.ndarray
    outside: int = 0

    @classmethod
    def of(
        cls, given: Operand, places: Sequence[Place], weights: Sequence[Any], outside: int = 0
    ) -> _Terms:
        values = np.array([given.values[place] for place in places])
        labels = [given.label(place) for place in places]
        return cls(labels, values, np.array(weights), outside)


def dense_layer(call: LayerCall, place: Place) -> Account:
    """Account for a value of Dense: the last axis times a column of the kernel."""
    given, kernel = call.operand, call.weight("kernel")
    vector = given.values[place[:-1]]
    terms = _Terms(
        [given.label((*place[:-1], entry)) for entry in range(len(kernel))],
        vector,
        kernel[:, place[-1]],
    )
    bias = _bias(call)
    if call.arguments.get("activation") not in ACROSS:
        return _activated(call, terms, bias[place[-1]])
    sums = vector.astype(np.float64) @ kernel.astype(np.float64) + bias
    return _activated(call, terms, bias[place[-1]], sums, place[-1])


def einsum_dense(call: LayerCall, place: Place) -> Account:
    """Account for a value of EinsumDense: the axes that its equation contracts."""
    given, kernel = call.operand, call.weight("kernel")
    left, _, out = str(call.arguments["equation"]).partition("->")
    of_input, of_kernel = left.split(",")
    if "." in left:
        raise not_covered(call.name, f"equations such as {call.arguments['equation']}")
    at = dict(zip(out[1:], place, strict=True))  # the first axis is that of the samples
    sizes = dict(zip(of_input[1:], given.values.shape, strict=True))
    inner = [axis for axis in of_input[1:] if axis not in at]
    places, weights = [], []
    for entry in product(*(range(sizes[axis]) for axis in inner)):
        here = at | dict(zip(inner, entry, strict=True))
        places.append(tuple(here[axis] for axis in of_input[1:]))
        weights.append(kernel[tuple(here[axis] for axis in of_kernel)])
    return _activated(call, _Terms.of(given, places, weights), _einsum_bias(call, out, at))


def conv(call: LayerCall, place: Place) -> Account:
    """Account for a value of a convolution: a patch of the input times a kernel."""
    given, kernel = call.operand, call.weight("kernel")
    *spatial, unit = place
    groups = int(call.arguments.get("groups", 1))
    inside = kernel.shape[-2]
    first = unit // (kernel.shape[-1] // groups) * inside
    window = Window.of(call, kernel.shape[:-2], tuple(spatial))
    places = [
        (*position, first + channel) for _, position in window.inside for channel in range(inside)
    ]
    weights = [
        kernel[(*offset, channel, unit)] for offset, _ in window.inside for channel in range(inside)
    ]
    terms = _Terms.of(given, places, weights, window.outside)
    return _activated(call, terms, _bias(call)[unit])


def depthwise_conv(call: LayerCall, place: Place) -> Account:
    """Account for a value of a depthwise convolution: a patch of one channel times a kernel."""
    given, kernel = call.operand, call.weight("kernel")
    *spatial, unit = place
    channel, which = divmod(unit, kernel.shape[-1])
    window = Window.of(call, kernel.shape[:-2], tuple(spatial))
    places = [(*position, channel) for _, position in window.inside]
    weights = [kernel[(*offset, channel, which)] for offset, _ in window.inside]
    terms = _Terms.of(given, places, weights, window.outside)
    return _activated(call, terms, _bias(call)[unit])


def _activated(
    call: LayerCall, terms: _Terms, bias: float, sums: np.ndarray | None = None, at: int = 0
) -> Account:
    """Account for the activation of a sum of products.

    Parameters
    ----------
    call, terms, bias
        The call, the products and what is added to them.
    sums
        Those of all units, for an activation that depends on them; `at` is the unit's own.
    """
    name = str(call.arguments.get("activation", "linear"))
    if name not in FUNCTIONS:
        raise not_covered(call.name, f"activations such as '{name}'", f"{', '.join(FUNCTIONS)} are")
    if name in ACROSS and sums is None:
        raise not_covered(call.name, f"{call.layer.layer_class} layers with a {name}")
    dtype = call.dtype.type
    with np.errstate(all="ignore"):
        products = terms.values.astype(np.float64) * terms.weights.astype(np.float64)
        total = float(products.sum() + bias)
        results = FUNCTIONS[name](np.array([total]) if sums is None else sums)
        largest = total if sums is None else np.abs(sums).max()
        table = table_of(
            terms.labels,
            input=terms.values.astype(dtype),
            weight=terms.weights.astype(dtype),
            product=products.astype(dtype),
        )
        steps = [("bias", dtype(bias)), ("sum", dtype(total))]
    if terms.outside:
        steps.insert(0, (f"{terms.outside} beyond the edge", dtype(0)))
    size = max(float(np.abs(products).sum() + abs(bias)), float(largest))
    return Account(table, steps, float(results[at]), size, len(products), name, len(results))


def _bias(call: LayerCall) -> np.ndarray:
    """Return the bias of all units; zeros where the layer has none."""
    if not call.arguments.get("use_bias", True):
        return np.zeros(call.output.shape[-1])
    return call.weight("bias").astype(np.float64)


def _einsum_bias(call: LayerCall, out: str, at: dict[str, int]) -> float:
    """Return the bias of one place of the output; its axes are named in `out`'s order."""
    axes = call.arguments.get("bias_axes")
    if not axes:
        return 0.0
    named = [axis for axis in out[1:] if axis in axes]
    bias = call.weight("bias")
    # Axes without a bias of their own are kept behind the first of `named`, of length 1.
    extents = bias.reshape([size for size in bias.shape if size != 1] or [1])
    full = extents if extents.ndim == len(named) else bias
    return float(full[tuple(at[axis] for axis in named)])
