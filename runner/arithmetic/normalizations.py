"""Accounts of normalization layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]


def batch_normalization(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of BatchNormalization in inference mode.

    Ioffe and Szegedy, "Batch Normalization" (2015), with the moving mean and variance.
    """
    if call.training:
        raise not_covered(call.name, "batch statistics, which depend on the other samples,")
    unit = place[_axis(call.arguments.get("axis", -1), len(place))]
    mean, variance = (call.weight(f"moving_{what}")[unit] for what in ("mean", "variance"))
    return _scaled(call, place, float(mean), float(variance), unit, 0)


def layer_normalization(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of LayerNormalization, normalized over a sample's units.

    Ba, Kiros and Hinton, "Layer Normalization" (2016).
    """
    if call.arguments.get("rms_scaling"):
        raise not_covered(call.name, "layers with rms_scaling")
    axes = call.arguments.get("axis", -1)
    chosen = {_axis(axis, len(place)) for axis in (axes if isinstance(axes, list) else [axes])}
    index = tuple(slice(None) if axis in chosen else at for axis, at in enumerate(place))
    among = call.operand.values[index].astype(np.float64)
    unit: Any = tuple(place[axis] for axis in sorted(chosen))
    return _scaled(call, place, float(among.mean()), float(among.var()), unit, among.size)


def group_normalization(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of GroupNormalization, normalized over a group of channels.

    Wu and He, "Group Normalization" (2018).
    """
    values = call.operand.values.astype(np.float64)
    axis = _axis(call.arguments.get("axis", -1), len(place))
    channels = values.shape[axis]
    groups = int(call.arguments["groups"])
    size = channels // (channels if groups == -1 else groups)
    first = place[axis] // size * size
    among = np.take(values, range(first, first + size), axis)
    return _scaled(call, place, float(among.mean()), float(among.var()), place[axis], among.size)


def rms_normalization(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of RMSNormalization, divided by the root mean square.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    """
    given, dtype = call.operand, call.dtype.type
    axes = call.arguments.get("axis", -1)
    chosen = {_axis(axis, len(place)) for axis in (axes if isinstance(axes, list) else [axes])}
    index = tuple(slice(None) if axis in chosen else at for axis, at in enumerate(place))
    among = given.values[index].astype(np.float64)
    square = float(np.square(among).mean())
    scale = float(call.weight("scale")[tuple(place[axis] for axis in sorted(chosen))])
    value = float(given.values[place]) * scale / np.sqrt(square + call.arguments["epsilon"])
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    steps = [
        (f"mean square of {among.size}", dtype(square)),
        ("epsilon", dtype(call.arguments["epsilon"])),
        ("scale", dtype(scale)),
        ("input / root(mean square + epsilon) * scale", dtype(value)),
    ]
    return Account(terms, steps, value, abs(value), among.size, summed=False)


def normalization(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Normalization, with its adapted mean and variance."""
    if call.arguments.get("invert"):
        raise not_covered(call.name, "inverted normalizations")
    given, dtype = call.operand, call.dtype.type
    axes = call.arguments.get("axis", -1)
    chosen = sorted({_axis(a, len(place)) for a in (axes if isinstance(axes, list) else [axes])})
    unit = tuple(place[axis] for axis in chosen)
    shape = [given.values.shape[axis] for axis in chosen]
    mean, variance = (
        np.reshape(call.arguments.get(what) or call.weight(what), shape)[unit]
        for what in ("mean", "variance")
    )
    value = (float(given.values[place]) - mean) / max(np.sqrt(variance), 1e-7)
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    steps = [
        ("mean", dtype(mean)),
        ("variance", dtype(variance)),
        ("(input - mean) / root(variance)", dtype(value)),
    ]
    return Account(terms, steps, float(value), abs(value), 4, summed=False)


def _scaled(
    call: LayerCall, place: Place, mean: float, variance: float, unit: Any, among: int
) -> Account:
    given, dtype = call.operands[0], call.dtype.type  # masks have an effect in training only
    epsilon = float(call.arguments["epsilon"])
    gamma = float(call.weight("gamma")[unit]) if call.arguments.get("scale", True) else 1.0
    beta = float(call.weight("beta")[unit]) if call.arguments.get("center", True) else 0.0
    entry = float(given.values[place])
    factor = gamma / np.sqrt(variance + epsilon)
    value = (entry - mean) * factor + beta
    of = f" of {among}" if among else ""
    steps = [
        (f"mean{of}", dtype(mean)),
        (f"variance{of}", dtype(variance)),
        ("epsilon", dtype(epsilon)),
        ("gamma", dtype(gamma)),
        ("beta", dtype(beta)),
        ("(input - mean) / root(variance + epsilon) * gamma + beta", dtype(value)),
    ]
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    size = float((abs(entry) + abs(mean)) * abs(factor) + abs(beta))
    return Account(terms, steps, value, size, among + 4, summed=False)


def _axis(axis: int, axes: int) -> int:
    """Return the axis of a sample that corresponds to an axis of a batch."""
    return axis - 1 if axis > 0 else axes + axis
