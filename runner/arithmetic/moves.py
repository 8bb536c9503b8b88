"""Accounts of layers that only move values, such as Flatten and ZeroPadding2D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall


def moved(call: LayerCall, place: tuple[int, ...]) -> Account:
    """Return the account of a moved value, or of padding."""
    given, dtype = call.operand, call.dtype.type
    if call.arguments.get("data_format") == "channels_first":
        raise not_covered(call.name, "channels-first inputs")
    sources = np.arange(given.values.size).reshape(given.values.shape)
    source = int(_MOVES[call.layer.layer_class](call, sources)[place])
    if source < 0:
        terms = table_of(["padding"], input=np.zeros(1, call.dtype))
        return Account(terms, [("output", dtype(0))], 0.0, 0.0, 0, summed=False)
    origin = np.unravel_index(source, given.values.shape)
    entry = given.values[origin]
    label = given.label(tuple(int(at) for at in origin))
    terms = table_of([label], input=entry.astype(dtype))
    return Account(terms, [("output", dtype(entry))], float(entry), 0.0, 0, summed=False)


def _padded(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    pairs = _pairs(call.arguments["padding"], sources.ndim - 1)
    sizes = zip(sources.shape, [*pairs, (0, 0)], strict=True)
    check_growth(prod(size + before + after for size, (before, after) in sizes), call.output.size)
    return np.pad(sources, [*pairs, (0, 0)], constant_values=-1)


def _cropped(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    pairs = _pairs(call.arguments["cropping"], sources.ndim - 1)
    sizes = zip(pairs, sources.shape, strict=False)
    return np.asarray(sources[tuple(slice(a, size - b) for (a, b), size in sizes)])


def _upsampled(call: LayerCall, sources: np.ndarray) -> np.ndarray:
    if call.arguments.get("interpolation", "nearest") != "nearest":
        raise not_covered(call.name, "interpolations other than nearest")
    size = call.arguments["size"]
    for axis, times in enumerate([size] if isinstance(size, int) else size):
        sources = _repeated(call, sources, times, axis)
    return sources


def _repeated(call: LayerCall, sources: np.ndarray, times: int, axis: int) -> np.ndarray:
    check_growth(sources.size * times, call.output.size)
    return np.repeat(sources, times, axis)


def _pairs(given: Any, axes: int) -> Sequence[tuple[int, int]]:
    """Return the numbers of entries before and after each axis, from Keras's argument."""
    if isinstance(given, int):
        return [(given, given)] * axes
    if axes == 1:
        return [(given[0], given[1])]
    return [(one, one) if isinstance(one, int) else (one[0], one[1]) for one in given]


_MOVES: dict[str, Callable[[LayerCall, np.ndarray], np.ndarray]] = {
    "Cropping1D": _cropped,
    "Cropping2D": _cropped,
    "Cropping3D": _cropped,
    "Flatten": lambda _, sources: sources.reshape(-1),
    "Permute": lambda call, sources: sources.transpose([d - 1 for d in call.arguments["dims"]]),
    "RepeatVector": lambda call, sources: _repeated(call, sources[None], call.arguments["n"], 0),
    "Reshape": lambda call, sources: sources.reshape(call.output.shape),
    "UpSampling1D": _upsampled,
    "UpSampling2D": _upsampled,
    "UpSampling3D": _upsampled,
    "ZeroPadding1D": _padded,
    "ZeroPadding2D": _padded,
    "ZeroPadding3D": _padded,
}
MOVING = tuple(_MOVES)
"""Names of the layer classes that only move values."""
