"""The distance between two tensors, computed piece by piece, and the default tolerances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-12}
"""Default tolerance per dtype: the differences that another order of operations can cause."""

_PIECE = 1 << 18
"""Number of values compared at a time, few enough that the results stay in the cache."""

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Distance:
    """The distance between two tensors of the same shape; by default, it is unknown.

    Attributes
    ----------
    bitwise
        Whether all values are bit-for-bit identical; any two NaN count as identical.
    within
        Whether all values are within the tolerance.
    max_abs
        Largest absolute difference of finite values.
    max_relative
        `max_abs` divided by the scale: the largest finite absolute value of the first tensor.
    ulp
        Largest number of representable numbers between two values; ``None`` if the dtypes
        differ or no pair of values is free of NaN.
    differing
        Share of values whose bits differ.
    place
        Position of the largest difference among all values in C order; ``None`` if the
        tensors are identical.
    values
        The two values with the largest difference.
    """

    bitwise: bool = False
    within: bool = False
    max_abs: float = np.nan
    max_relative: float = np.nan
    ulp: int | None = None
    differing: float = np.nan
    place: int | None = None
    values: tuple[np.generic, np.generic] | None = None


class LargestError:
    """The largest difference of two tensors, relative to the scale of the first, block by block."""

    def __init__(self) -> None:
        self._scale = self._largest = 0.0
        self._blocks = 0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Take note of a block of each tensor, of the same shape."""
        self._blocks += 1
        self._scale = max(self._scale, _largest_finite(x))
        bits = _same_bits(x, y)
        if not bits.all():
            self._largest = max(self._largest, float(_apart(x, y, bits).max()))

    @property
    def relative(self) -> float | None:
        """The largest difference divided by the scale, as in `Distance`; ``None`` of no block."""
        if not self._blocks:
            return None
        return self._largest / self._scale if self._scale else (np.inf if self._largest else 0.0)


def distance_of(a: Blocks, b: Blocks, rtol: float, atol: float) -> Distance:
    """Compare two tensors of the same shape, with one block of each in memory.

    Values x and y are within the tolerance if ``|x - y| <= rtol |x| + atol s``, with s the
    scale. The scale is known only at the end, so tensors that differ are read twice.

    Parameters
    ----------
    a, b
        Functions that start to read a tensor: they yield blocks of any shape, in C order.
    rtol, atol
        Relative and absolute tolerance.
    """
    size = differing = 0
    scale = largest = 0.0
    place = values = ulp = None
    for x, y in _pieces(a, b):
        bits = _same_bits(x, y)
        scale = max(scale, _largest_finite(x))
        ulp = _larger(ulp, _ulp(x, y))
        if not bits.all():
            differing += int((~bits).sum())
            apart = _apart(x, y, bits)
            worst = int(np.where(bits, -1.0, apart).argmax())
            if place is None or apart[worst] > largest:
                largest, place, values = float(apart[worst]), size + worst, (x[worst], y[worst])
        size += len(x)
    if place is None:
        return Distance(True, True, 0.0, 0.0, 0, 0.0)
    return Distance(
        bitwise=False,
        within=all(_within(x, y, rtol, atol * scale) for x, y in _pieces(a, b)),
        max_abs=largest,
        max_relative=largest / scale if scale else (np.inf if largest else 0.0),
        ulp=ulp,
        differing=1 - (size - differing) / size,
        place=place,
        values=values,
    )


def _pieces(a: Blocks, b: Blocks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the values of two tensors as pairs of one-dimensional arrays of equal length."""
    left, right = (filter(len, (block.reshape(-1) for block in blocks())) for blocks in (a, b))
    x = y = np.empty(0)
    while True:
        x = x if len(x) else next(left, x)
        y = y if len(y) else next(right, y)
        size = min(len(x), len(y), _PIECE)
        if not size:
            return
        yield x[:size], y[:size]
        x, y = x[size:], y[size:]


def _same_bits(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype == y.dtype and x.dtype.kind == "f":
        bits = f"u{x.dtype.itemsize}"
        same = np.ascontiguousarray(x).view(bits) == np.ascontiguousarray(y).view(bits)
    else:
        same = x == y
    return np.asarray(same | ((x != x) & (y != y)))


def _apart(x: np.ndarray, y: np.ndarray, bits: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(x.astype(np.float64) - y.astype(np.float64))
    apart[bits] = 0
    apart[np.isnan(apart)] = np.inf  # a NaN beside a number
    return np.asarray(apart)


def _within(x: np.ndarray, y: np.ndarray, rtol: float, of_scale: float) -> bool:
    bits = _same_bits(x, y)
    if bits.all():
        return True
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = rtol * np.abs(x.astype(np.float64)) + of_scale
    return bool((_apart(x, y, bits) <= np.where(np.isfinite(allowed), allowed, 0)).all())


def _largest_finite(x: np.ndarray) -> float:
    wide = np.abs(x.astype(np.float64))
    return float(wide.max(initial=0.0, where=np.isfinite(wide)))


def _larger(one: int | None, other: int | None) -> int | None:
    return max((known for known in (one, other) if known is not None), default=None)


def _ulp(x: np.ndarray, y: np.ndarray) -> int | None:
    """Return the largest number of floating-point numbers between two values."""
    if x.dtype != y.dtype or x.dtype.kind != "f":
        return None
    comparable = ~(np.isnan(x) | np.isnan(y))
    if not comparable.any():
        return None
    signed, size = f"i{x.dtype.itemsize}", 8 * x.dtype.itemsize
    places = []
    for values in (x[comparable], y[comparable]):
        bits = values.view(signed).astype(np.int64)
        lowest = np.int64(-(2 ** (size - 1)))
        places.append(np.where(bits < 0, lowest - bits, bits))
    low, high = np.minimum(*places), np.maximum(*places)
    return int((high.view(np.uint64) - low.view(np.uint64)).max())
