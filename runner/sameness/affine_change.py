"""A factor and an offset for each channel, fitted to what later layers return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RANDOM = 0.03
"""The largest part of an error's square that an explanation may leave unexplained."""

_STEPS = 20
"""Steps of the method of Gauss and Newton, of which an affine change needs few."""

_POINTS = 1024
"""Points between which the function of the later layers is taken as straight."""

_VALUES = 8192
"""Values of each channel that are looked at."""


@dataclass(frozen=True)
class AffineChange:
    """What each channel of a normalization returned, ``factor * x + offset`` in place of ``x``.

    Attributes
    ----------
    factor, offset
        Of shape (channel, 1).
    unexplained
        The part of the later error's square that such a change does not cause.
    """

    factor: np.ndarray
    offset: np.ndarray
    unexplained: float

    @classmethod
    def fitted(cls, right: np.ndarray, later: np.ndarray, found: np.ndarray) -> AffineChange:
        """Return the change after which the later layers return what was found.

        The later layers compute one function of each value, which the right values show.

        Parameters
        ----------
        right
            What the normalization should have returned, of shape (channel, value).
        later
            What the later layers returned of that.
        found
            What they returned instead.
        """
        function = _Function(right, later)
        factor, offset = np.ones((len(right), 1)), np.zeros((len(right), 1))
        best = np.full((len(right), 1), np.inf)
        step = factor, offset
        for _ in range(_STEPS):
            value, slope = function.at(step[0] * right + step[1])
            left = found - value
            square = (left**2).sum(axis=1, keepdims=True)
            better = square < best
            factor, offset = (
                np.where(better, new, old) for new, old in zip(step, (factor, offset), strict=True)
            )
            best = np.minimum(square, best)
            step = tuple(
                old + change
                for old, change in zip(step, _solved(slope * right, slope, left), strict=True)
            )
        total = float(((found - later) ** 2).sum())
        return cls(factor, offset, float(best.sum()) / total if total else 0.0)

    def apart_from(self, right: np.ndarray, fixed: np.ndarray | None = None) -> float:
        """Return the part of the change's square that a simpler one does not cause.

        Parameters
        ----------
        right
            What the normalization should have returned, of shape (channel, value).
        fixed
            A value of each channel that only a factor leaves as it is, of shape (channel, 1).
            Otherwise an offset alone is meant.
        """
        change = (self.factor - 1) * right + self.offset
        total = float((change**2).sum())
        shape = np.ones_like(right) if fixed is None else right - fixed
        return _unexplained(change, shape, axis=1) / total if total else 0.0

    @property
    def is_one_factor(self) -> bool:
        """Whether the factors of all channels are nearly the same."""
        return unevenness(self.factor - 1, np.ones_like(self.factor)) < RANDOM


def unevenness(values: np.ndarray, unit: np.ndarray) -> float:
    """Return the part of the square of values that one number times a unit does not cause."""
    total = float((values**2).sum())
    return _unexplained(values, unit, axis=None) / total if total else 0.0


class _Function:
    """A function of one number, straight between some of its points.

    Parameters
    ----------
    x, y
        Its points, of the same shape.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        order = np.argsort(x, axis=None, kind="stable")
        order = order[np.unique(np.linspace(0, order.size - 1, _POINTS).astype(int))]
        self._x, first = np.unique(x.ravel()[order], return_index=True)
        self._y = y.ravel()[order][first]
        self._slopes = np.diff(self._y) / np.diff(self._x)

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and slopes; beyond the points the function goes on straight."""
        if not self._slopes.size:
            return np.full_like(x, self._y[0]), np.ones_like(x)
        place = np.clip(np.searchsorted(self._x, x) - 1, 0, len(self._slopes) - 1)
        slope = self._slopes[place]
        return self._y[place] + slope * (x - self._x[place]), slope


def _solved(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return p and q of the smallest squares of ``y - p a - q b``, for each row."""
    aa, ab, bb, ay, by = (
        (one * other).sum(axis=1, keepdims=True)
        for one, other in ((a, a), (a, b), (b, b), (a, y), (b, y))
    )
    determinant = aa * bb - ab**2
    can = determinant > 1e-9 * aa * bb
    safe = np.where(can, determinant, 1.0)
    p = np.where(can, (bb * ay - ab * by) / safe, 0.0)
    q = np.where(can, (aa * by - ab * ay) / safe, by / np.where(bb > 0, bb, 1.0))
    return p, q


def _unexplained(values: np.ndarray, shape: np.ndarray, axis: int | None) -> float:
    """Return the sum of squares that is left of values after a multiple of a shape."""
    square = (shape**2).sum(axis=axis, keepdims=True)
    factor = (values * shape).sum(axis=axis, keepdims=True) / np.where(square > 0, square, 1.0)
    return float(((values - factor * shape) ** 2).sum())


def by_channel(values: np.ndarray, axis: int) -> np.ndarray:
    """Return values of shape (sample, ...) as (channel, value), at most `_VALUES` of each."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    every = -(-rows.shape[1] // _VALUES)
    return rows[:, ::every].astype(np.float64)
