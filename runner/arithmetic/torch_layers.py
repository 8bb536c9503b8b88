"""Accounts of the modules of ``torch.nn``: the channels of feature maps come first."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.attention import torch_attention
from runner.arithmetic.elementwise import same
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.torch_activations import ACTIVATIONS, activation, gated
from runner.arithmetic.torch_moves import MOVING, moved
from runner.arithmetic.torch_normalizations import (
    batch_norm,
    group_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from runner.arithmetic.weighted_sums import Terms, activated
from runner.arithmetic.windows import Window, each, pooled

Place = tuple[int, ...]

_DIMENSIONS = ("1d", "2d", "3d")
_PASSING = (
    *("Identity", "Dropout", *(f"Dropout{d}" for d in _DIMENSIONS)),
    *("AlphaDropout", "FeatureAlphaDropout"),
)


def linear(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Linear: the last axis times a row of the weight."""
    given, weight, unit = call.operand, call.weight("weight"), place[-1]
    vector = given.values[place[:-1]]
    if weight.shape != (call.output.shape[-1], len(vector)):
        raise ValueError(f"a weight of shape {weight.shape}")
    labels = [given.label((*place[:-1], entry)) for entry in range(len(vector))]
    return activated(call, Terms(labels, vector, weight[unit]), call.entry("bias", unit, 0.0))


def bilinear(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Bilinear: products of an entry of each input."""
    one, other = call.operands
    weight, unit = call.weight("weight")[place[-1]], place[-1]
    first, second = (given.values[place[:-1]].astype(np.float64) for given in (one, other))
    pairs = list(np.ndindex(weight.shape))
    labels = [f"{one.label((*place[:-1], i))} * {other.label((*place[:-1], j))}" for i, j in pairs]
    products = np.outer(first, second).ravel()
    return activated(call, Terms(labels, products, weight.ravel()), call.entry("bias", unit, 0.0))


def convolution(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of a convolution: a patch of the input times a filter."""
    if call.arguments.get("padding_mode", "zeros") != "zeros":
        raise not_covered(call.name, "convolutions that pad with other numbers than 0")
    given, weight = call.operand, call.weight("weight")
    unit, *spatial = place
    inside = weight.shape[1]
    first = unit // (weight.shape[0] // int(call.arguments["groups"])) * inside
    sizes = weight.shape[2:]
    window = _window(call, sizes, tuple(spatial))
    channels = range(inside)
    places = [(first + one, *at) for _, at in window.inside for one in channels]
    weights = [weight[(unit, one, *offset)] for offset, _ in window.inside for one in channels]
    terms = Terms.of(given, places, weights, window.outside)
    return activated(call, terms, call.entry("bias", unit, 0.0))


def transposed_convolution(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of a transposed convolution.

    It is the sum over the positions of the input whose patch of the output holds this value.
    """
    given, weight, known = call.operand, call.weight("weight"), call.arguments
    unit, *spatial = place
    group, own = divmod(unit, weight.shape[1])
    inside = weight.shape[0] // int(known["groups"])
    strides, dilations, paddings = (
        each(known[name], len(spatial)) for name in ("stride", "dilation", "padding")
    )
    places, weights = [], []
    for offset in np.ndindex(weight.shape[2:]):
        behind = [
            at + before - step * dilation
            for at, before, step, dilation in zip(spatial, paddings, offset, dilations, strict=True)
        ]
        if any(one % stride for one, stride in zip(behind, strides, strict=True)):
            continue
        origin = [one // stride for one, stride in zip(behind, strides, strict=True)]
        lengths = given.values.shape[1:]
        if all(0 <= one < length for one, length in zip(origin, lengths, strict=True)):
            for channel in range(group * inside, (group + 1) * inside):
                places.append((channel, *origin))
                weights.append(weight[(channel, own, *offset)])
    return activated(call, Terms.of(given, places, weights), call.entry("bias", unit, 0.0))


def max_pool(call: LayerCall, place: Place) -> Account:
    """Return the account of the largest value of a window."""
    channel, *spatial = place
    sizes = each(call.arguments["kernel_size"], len(spatial))
    window = _window(call, sizes, tuple(spatial))
    return pooled(call, [(channel, *at) for _, at in window.inside], largest=True)


def average_pool(call: LayerCall, place: Place) -> Account:
    """Return the account of the mean of a window; padded positions count if the module says so."""
    known = call.arguments
    channel, *spatial = place
    sizes = each(known["kernel_size"], len(spatial))
    window = _window(call, sizes, tuple(spatial))
    among = known.get("divisor_override") or 0
    if not among and known.get("count_include_pad", True):
        strides = each(known.get("stride") or sizes, len(spatial))
        paddings = each(known.get("padding", 0), len(spatial))
        axes = zip(sizes, strides, paddings, spatial, call.operand.values.shape[1:], strict=True)
        among = prod(  # with ceil_mode, a window may reach beyond the padding
            min(size, length + 2 * padding - at * stride)
            for size, stride, padding, at, length in axes
        )
    return pooled(call, [(channel, *at) for _, at in window.inside], largest=False, among=among)


def adaptive_pool(call: LayerCall, place: Place) -> Account:
    """Return the account of the mean or the largest value of one of the parts of the input."""
    channel, *spatial = place
    lengths, counts = call.operand.values.shape[1:], call.output.shape[1:]
    parts = [
        range(at * length // count, ceil((at + 1) * length / count))
        for at, length, count in zip(spatial, lengths, counts, strict=True)
    ]
    origin = [part.start for part in parts]
    places = [
        (channel, *(start + step for start, step in zip(origin, steps, strict=True)))
        for steps in np.ndindex(*map(len, parts))
    ]
    return pooled(call, places, largest="Max" in call.layer.layer_class)


def embedding(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Embedding: an entry of the row given by the input."""
    given, dtype = call.operand, call.dtype.type
    row, unit = int(given.values[place[:-1]]), place[-1]
    entry = float(call.weight("weight")[row, unit])
    terms = table_of([given.label(place[:-1])], row=np.array([row]))
    steps = [(f"weight[{row}, {unit}]", dtype(entry))]
    return Account(terms, steps, entry, abs(entry), 0, summed=False)


def account_of(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of a module of ``torch.nn``.

    Raises
    ------
    InputError
        If its class is not covered.
    """
    kind = call.layer.layer_class
    if kind not in COVERED_MODULES:
        raise not_covered(call.name, f"{kind} modules", "docs/explain.md lists what is")
    if kind != "MultiheadAttention" and call.run.tensor(call.name, "activation").output == "1":
        raise not_covered(call.name, "the places of the largest values")
    return COVERED_MODULES[kind](call, place)


COVERED_MODULES: dict[str, Callable[[LayerCall, Place], Account]] = {
    "Bilinear": bilinear,
    "Embedding": embedding,
    "GLU": gated,
    "GroupNorm": group_norm,
    "LayerNorm": layer_norm,
    "Linear": linear,
    "LocalResponseNorm": local_response_norm,
    "MultiheadAttention": torch_attention,
    "NonDynamicallyQuantizableLinear": linear,
    "RMSNorm": rms_norm,
    "SyncBatchNorm": batch_norm,
    **dict.fromkeys(ACTIVATIONS, activation),
    **dict.fromkeys(_PASSING, same),
    **dict.fromkeys(MOVING, moved),
    **{f"Conv{d}": convolution for d in _DIMENSIONS},
    **{f"ConvTranspose{d}": transposed_convolution for d in _DIMENSIONS},
    **{f"MaxPool{d}": max_pool for d in _DIMENSIONS},
    **{f"AvgPool{d}": average_pool for d in _DIMENSIONS},
    **{f"Adaptive{what}Pool{d}": adaptive_pool for what in ("Avg", "Max") for d in _DIMENSIONS},
    **{f"BatchNorm{d}": batch_norm for d in _DIMENSIONS},
    **{f"InstanceNorm{d}": group_norm for d in _DIMENSIONS},
}
"""Functions that return the account of a value, by the name of the module's class."""


def _window(call: LayerCall, sizes: Any, place: Place) -> Window:
    """Return the window of a convolution or pooling with explicit padding."""
    known, axes = call.arguments, len(place)
    dilations = each(known.get("dilation", 1), axes)
    padding = known.get("padding", 0)
    if padding == "same":  # an odd one has the extra position at the end
        paddings = [(size - 1) * step // 2 for size, step in zip(sizes, dilations, strict=True)]
    else:
        paddings = each(0 if padding == "valid" else padding, axes)
    strides = each(known.get("stride") or list(sizes), axes)
    lengths = call.operand.values.shape[1:]
    return Window.at(place, list(sizes), lengths, strides, dilations, paddings)
