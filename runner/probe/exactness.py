"""Checks for integers that another dtype cannot represent, used for all inputs of a model.

Floats may be rounded to a narrower dtype, which is expected. Integers may not change, which is
hardly ever intended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

KEEP_INTEGER = (
    "scale it, give it as a float if it may be rounded, or let the model compute in float64 "
    "(an input of dtype float64, and model.dtype=float64)"
)
# From here on, float64 cannot represent every integer.
FIRST_INEXACT = 2**53


def not_held(integers: np.ndarray, cast: np.ndarray) -> np.ndarray:
    """Return a mask of the integers that changed in a cast."""
    with np.errstate(invalid="ignore"):
        other = cast.astype(integers.dtype) != integers
    # A negative integer is unchanged after a round trip through an unsigned dtype of its size,
    # and a float just above the largest int64 becomes the smallest.
    return np.asarray(other | ((cast < 0) != (integers < 0)))


def rounded(
    array: np.ndarray, cast: np.ndarray, integers: Callable[[], Sequence[bool]] | None
) -> np.ndarray:
    """Return a mask of the floats that represented an integer and were rounded.

    Parameters
    ----------
    array, cast
        Floats of shape (sample, column), and the same in the dtype that the model expects.
    integers
        As in `runner.probe.probe.Probe`; called only if a value may be rounded.
    """
    none = np.zeros(array.shape, dtype=bool)
    if integers is None:
        return none
    looked_at = (cast != array) | (np.abs(array) >= FIRST_INEXACT)
    if not (looked_at & (array == np.trunc(array))).any():
        return none
    return np.asarray((cast != array) & np.asarray(integers(), dtype=bool) & np.isfinite(array))


def rounding(found: int, dtype: object, held: float) -> str:
    """Return a message about a rounded integer: ``found 9, which float32 rounds to 8``."""
    return f"found {found}, which {dtype} rounds to {int(held)}"
