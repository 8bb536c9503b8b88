"""Accounts of the normalizations of ``torch.nn``: the channels of feature maps come first."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]


def batch_norm(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of BatchNorm in evaluation mode, with the running statistics.

    Ioffe and Szegedy, "Batch Normalization" (2015).
    """
    if call.training or not call.has_weight("running_mean"):
        raise not_covered(call.name, "batch statistics, which depend on the other samples,")
    mean, variance = (call.entry(f"running_{what}", place[0], 0.0) for what in ("mean", "var"))
    return _normalized(call, place, mean, variance, place[0], 0)


def layer_norm(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of LayerNorm, normalized over the last axes of a sample.

    Ba, Kiros and Hinton, "Layer Normalization" (2016).
    """
    axes = len(call.arguments["normalized_shape"])
    among = call.operand.values[place[: len(place) - axes]].astype(np.float64)
    unit = place[len(place) - axes :]
    return _normalized(call, place, float(among.mean()), float(among.var()), unit, among.size)


def group_norm(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of GroupNorm or InstanceNorm, over a group of channels.

    Wu and He, "Group Normalization" (2018).
    """
    if call.has_weight("running_mean"):  # an InstanceNorm that tracks its statistics
        return batch_norm(call, place)
    values = call.operand.values.astype(np.float64)
    size = len(values) // int(call.arguments.get("num_groups", len(values)))
    first = place[0] // size * size
    among = values[first : first + size]
    return _normalized(call, place, float(among.mean()), float(among.var()), place[0], among.size)


def rms_norm(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of RMSNorm, divided by the root mean square.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    """
    given, dtype = call.operand, call.dtype.type
    axes = len(call.arguments["normalized_shape"])
    among = given.values[place[: len(place) - axes]].astype(np.float64)
    square, entry = float(np.square(among).mean()), float(given.values[place])
    epsilon = float(call.arguments.get("eps", call.epsilon))
    weight = call.entry("weight", place[len(place) - axes :], 1.0)
    value = float(entry / np.sqrt(square + epsilon) * weight)
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    steps = [
        (f"mean square of {among.size}", dtype(square)),
        ("eps", dtype(epsilon)),
        ("weight", dtype(weight)),
        ("input / root(mean square + eps) * weight", dtype(value)),
    ]
    return Account(terms, steps, value, abs(value), among.size, summed=False)


def local_response_norm(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of LocalResponseNorm, divided by those of nearby channels."""
    given, known, dtype = call.operand, call.arguments, call.dtype.type
    size = int(known["size"])
    first = place[0] - size // 2
    nearby = given.values[max(0, first) : first + size].astype(np.float64)
    among = np.array([channel[place[1:]] for channel in nearby])
    entry, square = float(given.values[place]), float(np.square(among).sum() / size)
    divisor = (float(known["k"]) + float(known["alpha"]) * square) ** float(known["beta"])
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    steps = [
        (f"mean square of {size}", dtype(square)),
        ("(k + alpha * mean square) ^ beta", dtype(divisor)),
        ("input / the last", dtype(entry / divisor)),
    ]
    return Account(terms, steps, entry / divisor, abs(entry / divisor), size + 8, summed=False)


def _normalized(
    call: LayerCall, place: Place, mean: float, variance: float, unit: Any, among: int
) -> Account:
    given, dtype = call.operand, call.dtype.type
    epsilon = float(call.arguments["eps"])
    weight, bias = call.entry("weight", unit, 1.0), call.entry("bias", unit, 0.0)
    entry = float(given.values[place])
    factor = weight / np.sqrt(variance + epsilon)
    value = (entry - mean) * factor + bias
    of = f" of {among}" if among else ""
    steps = [
        (f"mean{of}", dtype(mean)),
        (f"variance{of}", dtype(variance)),
        ("eps", dtype(epsilon)),
        ("weight", dtype(weight)),
        ("bias", dtype(bias)),
        ("(input - mean) / root(variance + eps) * weight + bias", dtype(value)),
    ]
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    size = float((abs(entry) + abs(mean)) * abs(factor) + abs(bias))
    return Account(terms, steps, float(value), size, among + 4, summed=False)
