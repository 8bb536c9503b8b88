"""Accounts of layers that compute weighted sums: dense and convolutional layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.functions import ACROSS, FUNCTIONS
from runner.arithmetic.layer_call import LayerCall, Operand
from runner.arithmetic.quantization import bias_of, inputs_of, kernel_of, mode_of
from runner.arithmetic.windows import Window

Place = tuple[int, ...]


@dataclass(frozen=True)
class Terms:
    """The products of a weighted sum, flat.

    Attributes
    ----------
    labels
        Name of each input.
    values, weights
        Factors of the products.
    outside
        Number of further products, of padding.
    given
        Inputs before they were rounded to `values`; ``None`` if they were not rounded.
    scales
        Names and numbers that the sum of the products is divided by.
    """

    labels: list[str]
    values: np.ndarray
    weights: np.ndarray
    outside: int = 0
    given: np.ndarray | None = None
    scales: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(
        cls, given: Operand, places: Sequence[Place], weights: Sequence[Any], outside: int = 0
    ) -> Terms:
        """Return the products of the values at some places with as many weights."""
        values = np.array([given.values[place] for place in places])
        labels = [given.label(place) for place in places]
        return cls(labels, values, np.array(weights), outside)

    @property
    def divisor(self) -> float:
        """Product of all scales."""
        return prod(scale for _, scale in self.scales)

    def quantized(self, call: LayerCall, scale: np.ndarray | None) -> Terms:
        """Return the terms as the layer multiplies them, quantized or not.

        Parameters
        ----------
        call
            The call.
        scale
            Scale that the weights were multiplied by before rounding, if they were rounded.
        """
        if mode_of(call) is None:
            return self
        inputs = inputs_of(call, self.values)
        scales = []
        if inputs.scale is not None:
            scales.append(("scale of the inputs", float(inputs.scale)))
        if scale is not None:
            scales.append(("scale of the weights", float(scale)))
        given = None if np.array_equal(inputs.values, self.values) else self.values
        return replace(self, values=inputs.values, given=given, scales=tuple(scales))


def dense_layer(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Dense: the last axis times a column of the kernel."""
    call.weight("kernel")  # a run without it says so, whatever the shapes of its tables
    given = call.operand
    vector, unit = given.values[place[:-1]], place[-1]
    kernel = kernel_of(call, (len(vector), call.output.shape[-1]), len(vector))
    labels = [given.label((*place[:-1], entry)) for entry in range(len(vector))]
    scales = np.ones(kernel.values.shape[-1]) if kernel.scale is None else kernel.scale
    terms = Terms(labels, vector, kernel.values[:, unit])
    terms = terms.quantized(call, None if kernel.scale is None else scales[unit])
    bias = _bias(call)
    if call.activation not in ACROSS:
        return activated(call, terms, bias[unit])
    sums = terms.values.astype(np.float64) @ kernel.values.astype(np.float64)
    sums = sums / (terms.divisor / scales[unit] * scales)
    return activated(call, terms, bias[unit], sums + bias, unit)


def einsum_dense(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of EinsumDense: a sum over the contracted axes."""
    given = call.operand
    left, _, out = str(call.arguments["equation"]).partition("->")
    of_input, of_kernel = left.split(",")
    if "." in left:
        raise not_covered(call.name, f"equations such as {call.arguments['equation']}")
    at = dict(zip(out[1:], place, strict=True))  # the first axis holds the samples
    sizes = dict(zip(of_input[1:], given.values.shape, strict=True))
    inner = [axis for axis in of_input[1:] if axis not in at]
    extents = sizes | dict(zip(out[1:], call.output.shape, strict=True))
    shape = [extents[axis] for axis in of_kernel]
    kernel = kernel_of(call, shape, prod(sizes[axis] for axis in inner if axis in of_kernel))
    places, weights = [], []
    for entry in product(*(range(sizes[axis]) for axis in inner)):
        here = at | dict(zip(inner, entry, strict=True))
        places.append(tuple(here[axis] for axis in of_input[1:]))
        weights.append(kernel.values[tuple(here[axis] for axis in of_kernel)])
    scale = kernel.scale
    if scale is not None:  # has the axes of the output, of length 1 if shared
        axes = zip((0, *place), scale.shape, strict=True)
        scale = scale[tuple(0 if size == 1 else position for position, size in axes)]
    terms = Terms.of(given, places, weights).quantized(call, scale)
    return activated(call, terms, _einsum_bias(call, out, at))


def conv(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of a convolution: a patch of the input times a kernel."""
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
    terms = Terms.of(given, places, weights, window.outside)
    return activated(call, terms, _bias(call)[unit])


def depthwise_conv(call: LayerCall, place: Place) -> Account:
    """Return the account of a depthwise convolution's value: a channel's patch times a kernel."""
    given, kernel = call.operand, call.weight("kernel")
    *spatial, unit = place
    channel, which = divmod(unit, kernel.shape[-1])
    window = Window.of(call, kernel.shape[:-2], tuple(spatial))
    places = [(*position, channel) for _, position in window.inside]
    weights = [kernel[(*offset, channel, which)] for offset, _ in window.inside]
    terms = Terms.of(given, places, weights, window.outside)
    return activated(call, terms, _bias(call)[unit])


def activated(
    call: LayerCall, terms: Terms, bias: float, sums: np.ndarray | None = None, at: int = 0
) -> Account:
    """Return the account of the activation of a sum of products.

    Parameters
    ----------
    call, terms, bias
        The call, its products, and the bias added to them.
    sums
        Sums of all units, for activations that depend on all of them; `at` is the position of
        this unit.
    """
    name = call.activation
    if name in ACROSS and sums is None:
        raise not_covered(call.name, f"{call.layer.layer_class} layers with a {name}")
    dtype = call.dtype.type
    with np.errstate(all="ignore"):
        products = terms.values.astype(np.float64) * terms.weights.astype(np.float64)
        total = float(products.sum() / terms.divisor + bias)
        results = FUNCTIONS[name](_held(np.array([total]) if sums is None else sums, dtype))
        largest = total if sums is None else np.abs(sums).max()
        rounded = terms.given is not None
        given = {"given": terms.given.astype(dtype)} if terms.given is not None else {}
        table = table_of(
            terms.labels,
            **given,
            **{"rounded" if rounded else "input": terms.values.astype(dtype)},
            weight=terms.weights.astype(dtype),
            product=products.astype(dtype),
        )
        steps = [("bias", dtype(bias)), ("sum", dtype(total))]
        if terms.scales:
            told = [(scale, dtype(number)) for scale, number in terms.scales]
            steps = [("products", dtype(products.sum())), *told, *steps]
    if terms.outside:
        steps.insert(0, (f"{terms.outside} beyond the edge", dtype(0)))
    size = max(float(np.abs(products).sum() / terms.divisor + abs(bias)), float(largest))
    return Account(table, steps, float(results[at]), size, len(products), name, len(results))


def _held(sums: np.ndarray, dtype: Any) -> np.ndarray:
    """Return float64 sums, infinite where they are too large for the layer's type."""
    held = sums.astype(dtype)
    return np.where(np.isinf(held), held, sums)


def _bias(call: LayerCall) -> np.ndarray:
    """Return the bias of all units; zeros if the layer has no bias."""
    if not call.arguments.get("use_bias", True):
        return np.zeros(call.output.shape[-1])
    bias = bias_of(call)
    if bias.ndim != 1:
        raise ValueError(f"a bias of shape {bias.shape}")
    return bias


def _einsum_bias(call: LayerCall, out: str, at: dict[str, int]) -> float:
    """Return the bias at one position of the output; `at` maps the axes of `out` to entries."""
    axes = call.arguments.get("bias_axes")
    if not axes:
        return 0.0
    named = [axis for axis in out[1:] if axis in axes]
    bias = bias_of(call)
    # Axes behind the first of `named` that have no bias are kept with length 1.
    extents = bias.reshape([size for size in bias.shape if size != 1] or [1])
    full = extents if extents.ndim == len(named) else bias
    return float(full[tuple(at[axis] for axis in named)])
