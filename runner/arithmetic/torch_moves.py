"""Accounts of the modules of ``torch.nn`` that only move values, such as PixelShuffle."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]

_DIMENSIONS = ("1d", "2d", "3d")


def moved(call: LayerCall, place: Place) -> Account:
    """Return the account of a moved value, or of padding."""
    given, dtype = call.operand, call.dtype.type
    sources = np.arange(given.values.size).reshape(given.values.shape)
    source = int(_MOVES[call.layer.layer_class](call, sources)[place])
    if source < 0:
        value = float(call.arguments.get("value", 0.0))
        terms = table_of(["padding"], input=np.full(1, value, call.dtype))
        return Account(terms, [("output", dtype(value))], value, 0.0, 0, summed=False)
    origin = tuple(map(int, np.unravel_index(source, given.values.shape)))
    entry = given.values[origin]
    terms = table_of([given.label(origin)], input=entry.astype(dtype))
    return Account(terms, [("output", dtype(entry))], float(entry), 0.0, 0, summed=False)


def _reshaped(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    return sources.reshape(call.output.shape)


def padded(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    """Return values with padding around them; -1 for padding by a constant."""
    ends = [int(one) for one in call.arguments["padding"]]
    pairs = list(zip(ends[::2], ends[1::2], strict=True))[::-1]  # from the last axis to the first
    pairs = [(0, 0)] * (sources.ndim - len(pairs)) + pairs
    sizes = zip(sources.shape, pairs, strict=True)
    check_growth(prod(size + before + after for size, (before, after) in sizes), call.output.size)
    inside = tuple(
        slice(max(0, -before), size - max(0, -after))
        for size, (before, after) in zip(sources.shape, pairs, strict=True)
    )
    widths = [(max(0, before), max(0, after)) for before, after in pairs]
    kind = call.layer.layer_class
    for start, mode in (("Reflection", "reflect"), ("Replication", "edge"), ("Circular", "wrap")):
        if kind.startswith(start):
            return np.pad(sources[inside], widths, mode)  # type: ignore[call-overload, no-any-return]
    return np.pad(sources[inside], widths, constant_values=-1)


def _shuffled(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    times = int(call.arguments["upscale_factor"])
    channels, height, width = sources.shape
    parts = sources.reshape(channels // times**2, times, times, height, width)
    return parts.transpose(0, 3, 1, 4, 2).reshape(-1, height * times, width * times)


def _unshuffled(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    times = int(call.arguments["downscale_factor"])
    channels, height, width = sources.shape
    parts = sources.reshape(channels, height // times, times, width // times, times)
    return parts.transpose(0, 2, 4, 1, 3).reshape(-1, height // times, width // times)


def _mixed_channels(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    parts = sources.reshape(int(call.arguments["groups"]), -1, *sources.shape[1:])
    return parts.swapaxes(0, 1).reshape(sources.shape)


def _upsampled(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    if call.arguments.get("mode", "nearest") != "nearest":
        raise not_covered(call.name, "interpolations other than nearest")
    for axis, size in enumerate(call.output.shape[1:], 1):
        length = sources.shape[axis]
        if size % length:
            raise not_covered(call.name, "scales that are no whole numbers")
        sources = np.repeat(sources, size // length, axis)
    return sources


_PADDING = ("Circular", "Constant", "Reflection", "Replication", "Zero")
_MOVES: dict[str, Callable[[LayerCall, np.ndarray], np.ndarray]] = {
    "ChannelShuffle": _mixed_channels,
    "Flatten": _reshaped,
    "PixelShuffle": _shuffled,
    "PixelUnshuffle": _unshuffled,
    "Unflatten": _reshaped,
    "Upsample": _upsampled,
    "UpsamplingNearest2d": _upsampled,
    **{f"{what}Pad{d}": padded for what in _PADDING for d in _DIMENSIONS},
}
MOVING = tuple(_MOVES)
"""Names of the modules that only move values."""
