"""The account of one value: its terms, steps and result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import InputError


@dataclass(frozen=True)
class Account:
    """The computation of one value.

    Attributes
    ----------
    terms
        A row for each number that the value was computed from, indexed by its name, in the
        type that the layer computes in. The last column is the contribution of each.
    steps
        Names and results of the steps after the terms.
    value
        The result, computed in float64.
    size
        Sum of the magnitudes of the added numbers.
    operations
        Number of rounded operations between the terms and the result.
    among
        Number of values that the last step depends on.
    function
        Name of the last step if it is a function, applied to the last of `steps`.
    summed
        Whether the last column of `terms` sums to the first of `steps`.
    """

    terms: pd.DataFrame
    steps: Sequence[tuple[str, Any]]
    value: float
    size: float
    operations: int
    function: str | None = None
    among: int = 1
    summed: bool = True

    def rounding(self, epsilon: float) -> float:
        """Return a bound on the error of the value due to rounding at every step.

        The bound on a sum of n products is that of Higham, "Accuracy and Stability of
        Numerical Algorithms" (2002), section 3.1, to first order; activations increase it
        little, and each adds a few roundings.

        Parameters
        ----------
        epsilon
            Distance from 1 to the next number of the type that the layer computes in.
        """
        return float(2 * (self.operations + 4) * epsilon * (1 + self.size))

    def result(self, dtype: np.dtype[np.generic]) -> Any:
        """Return the value in the type of the stored one: infinite if it is too large for it."""
        with np.errstate(all="ignore"):
            return dtype.type(self.value)

    def agrees(self, stored: Any, epsilon: float) -> bool:
        """Return whether a stored value is the result up to `rounding`, which must be finite."""
        computed = self.result(stored.dtype)
        if np.array_equal(stored, computed, equal_nan=True):
            return True
        gap = abs(float(stored) - float(computed))
        return gap <= self.rounding(epsilon) < np.inf  # not so for NaN

    def overflows(self, dtype: np.dtype[np.generic]) -> bool:
        """Return whether the magnitudes of the added numbers are together too large for a type."""
        with np.errstate(all="ignore"):
            return dtype.kind == "f" and bool(np.isinf(dtype.type(self.size)))


def not_covered(name: str, what: str, advice: str = "") -> InputError:
    """Return the error for something that is not covered; `what` is a plural."""
    return InputError.of(name, f"{what} are not covered yet", advice)


def table_of(labels: Sequence[str], **columns: np.ndarray) -> pd.DataFrame:
    """Return a table of terms, each column flat."""
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()}, list(labels))


def check_growth(size: int, most: int) -> None:
    """Check that an array made by a layer's recorded arguments is no larger than its output.

    Raises
    ------
    ValueError
        If it is larger; nothing of this size should be made.
    """
    if size > most:
        raise ValueError(f"its arguments make {size:,} values of the {most:,} stored")


def _why(error: Exception) -> str:
    return f"{error} is missing or unknown" if isinstance(error, KeyError) else str(error)


@contextlib.contextmanager
def fitting_tables(name: str) -> Iterator[None]:
    """Turn failures of the arithmetic into an error about the layer's record.

    A record may come from anyone: it was checked by itself, but not against the tables.

    Raises
    ------
    InputError
        If the arithmetic fails because the record does not match the tables.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError.of(
            name, f"the record of the layer does not match its tables ({_why(error)})"
        ) from error
