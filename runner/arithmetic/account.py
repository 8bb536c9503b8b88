"""What one value was computed from, step by step."""

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
    """How one value came about.

    Attributes
    ----------
    terms
        A row for each number that went in, indexed by what it is called, in the type that
        the layer computes in. The last column is what each contributes.
    steps
        What became of them, a line each: its name and its number.
    value
        The result, computed in float64.
    size
        How large the numbers were that had to be added up, in all.
    operations
        How many rounded operations lie between them and the result.
    among
        Of how many values the last step made its own; 1 where it needed no other.
    function
        That step's name, if it was a function of one number: of the last of `steps`.
    summed
        Whether the last column adds up to the first of `steps`.
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
        """Return how far rounding at every step may have moved the value.

        The bound on a sum of n products is that of Higham, "Accuracy and Stability of
        Numerical Algorithms" (2002), section 3.1, to first order; no activation stretches
        it much, and each adds a few roundings of its own.

        Parameters
        ----------
        epsilon
            Distance from 1 to the next number of the type that the layer computes in.
        """
        return float(2 * (self.operations + 4) * epsilon * (1 + self.size))


def not_covered(name: str, what: str, advice: str = "") -> InputError:
    """Return the error for what cannot be spelled out, named in the plural."""
    return InputError.of(name, f"{what} are not covered yet", advice)


def table_of(labels: Sequence[str], **columns: np.ndarray) -> pd.DataFrame:
    """Return a table of terms, each column flat."""
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()}, list(labels))


@contextlib.contextmanager
def fitting_tables(name: str) -> Iterator[None]:
    """Refuse a layer of which the record says what its tables cannot be.

    A record is somebody's file: what it says was checked, but not against the tables.

    Raises
    ------
    InputError
        Instead of what the arithmetic fails with.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError.of(
            name, f"what is recorded of the layer does not fit its tables ({error})"
        ) from error
