"""Integers that another type does not hold: the one rule for all that is shown to a model.

A float may be rounded to a narrower type, which is what that is chosen for. An integer that
comes back as another one was hardly meant to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

KEEP_INTEGER = (
    "scale it, give it as a float if it may be rounded, or let the model compute in float64 "
    "(an input of dtype float64, and model.dtype=float64)"
)
# From here on not every integer is a float64.
FIRST_INEXACT = 2**53


def not_held(integers: np.ndarray, cast: np.ndarray) -> np.ndarray:
    """Return where an integer is another one after it was cast."""
    with np.errstate(invalid="ignore"):
        other = cast.astype(integers.dtype) != integers
    # A negative number comes back unharmed from an unsigned type of its size, and a float one
    # above the largest int64 as the smallest.
    return np.asarray(other | ((cast < 0) != (integers < 0)))


def rounded(
    array: np.ndarray, cast: np.ndarray, integers: Callable[[], Sequence[bool]] | None
) -> np.ndarray:
    """Return where a float stood for an integer, and was rounded.

    Parameters
    ----------
    array, cast
        Floats of shape (sample, column), and the same in the type that the model expects.
    integers
        As in `runner.probe.probe.Probe`; asked only if it matters.
    """
    none = np.zeros(array.shape, dtype=bool)
    if integers is None:
        return none
    looked_at = (cast != array) | (np.abs(array) >= FIRST_INEXACT)
    if not (looked_at & (array == np.trunc(array))).any():
        return none
    return np.asarray((cast != array) & np.asarray(integers(), dtype=bool) & np.isfinite(array))


def rounding(found: int, dtype: object, held: float) -> str:
    """Return what a type makes of an integer: ``found 9, which float32 rounds to 8``."""
    return f"found {found}, which {dtype} rounds to {int(held)}"
