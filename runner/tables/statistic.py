"""A statistic of a tensor: its column in the summary, and what it is computed from."""

from __future__ import annotations

import base64
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Generic, Literal, Self, TypeVar

import numpy as np

from runner.errors import RunError
from runner.tensors import TensorSpec

_MOST = 2**62  # of a count


class Buffers(threading.local):
    """Memory in which the chunks of all tensors are worked on, one set for each thread."""

    def __init__(self) -> None:
        self.float64 = self.scratch = np.empty(0)
        self.is_zero = np.empty(0, dtype=bool)

    def fit(self, size: int) -> None:
        """Make room for a chunk of so many values."""
        if size > self.float64.size:
            self.float64, self.scratch = np.empty(size), np.empty(size)
            self.is_zero = np.empty(size, dtype=bool)


class Chunk:
    """Some values of a tensor, and what several statistics need to know of them.

    A chunk holds whole rows of the last axis; if units lie on another axis, all adjacent values of
    single units. The arrays are not to be changed.

    Parameters
    ----------
    values
        Values in the tensor's own order: shape (value,).
    start
        Number of values before it, since the beginning of a sample.
    buffers
        Memory for the arrays, which the next chunk of the thread uses again.

    Attributes
    ----------
    values : ndarray
        The values; in float64 if they are integers or narrower floats.
    start : int
        As above.
    is_zero : ndarray
        Whether each value is exactly 0.
    finite : ndarray
        The finite values in float64: shape (finite value,).
    least, most : float
        The smallest and the largest finite value; ``inf`` and ``-inf`` if there is none.
    scratch : ndarray
        Memory that a tally may use while it adds the chunk: as many float64 as `finite`.
    """

    __slots__ = ("finite", "is_zero", "least", "most", "scratch", "start", "values")

    def __init__(self, values: np.ndarray, start: int, buffers: Buffers) -> None:
        buffers.fit(values.size)
        finite = buffers.float64[: values.size]
        np.copyto(finite, values)
        if values.dtype not in (np.float32, np.float64):
            values = finite  # faster for integers and narrower floats
        self.values, self.start = values, start
        self.is_zero = buffers.is_zero[: values.size]
        np.equal(values, 0, out=self.is_zero)
        self.least = float(np.minimum.reduce(values))
        self.most = float(np.maximum.reduce(values))
        if not (isfinite(self.least) and isfinite(self.most)):  # NaN is contagious in both
            finite = finite[np.isfinite(finite)]
            self.least = float(finite.min(initial=np.inf))
            self.most = float(finite.max(initial=-np.inf))
        self.finite = finite
        self.scratch = buffers.scratch[: finite.size]


class Tally(ABC):
    """What is kept of a tensor's values as they pass by, for one statistic or for several.

    Parameters
    ----------
    spec
        Description of the tensor.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec

    @abstractmethod
    def add(self, chunk: Chunk) -> None:
        """Add values."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add what was kept of other samples of the same tensor."""

    def state(self) -> dict[str, Any]:
        """Return the attributes, which are numbers and arrays, as plain data.

        Raises
        ------
        RunError
            If one is neither.
        """
        return {name: _plain(name, v) for name, v in vars(self).items() if name != "spec"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the attributes to those of another tally, given its `state`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an attribute is none that a tally begins with, or no such number or array.
        """
        for name, value in state.items():
            setattr(self, name, _restored(value, getattr(self, name, None)))


def _plain(name: str, value: Any) -> Any:
    """Return a number, or an array, as plain data."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = base64.b64encode(value.tobytes()).decode()
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, int | float):
        found = type(value).__name__
        raise RunError(f"a statistic's '{name}' is {found}, not a number or array: parts need one")
    return value


def _restored(value: Any, own: Any) -> Any:
    """Return a number, or an array, from plain data, if it is like the one in its place."""
    if isinstance(own, np.ndarray):
        if (value["dtype"], value["shape"]) != (own.dtype.str, list(own.shape)):
            raise ValueError(f"expected an array of {own.dtype} of shape {own.shape}")
        array = np.frombuffer(base64.b64decode(value["data"]), own.dtype)
        return array.reshape(own.shape).copy()
    is_number = isinstance(own, int | float) and isinstance(value, int | float)
    is_alike = is_number and isinstance(own, bool) == isinstance(value, bool)
    if not is_alike or (isinstance(value, int) and abs(value) >= _MOST):
        raise ValueError("expected a number, or true or false")
    return value


T = TypeVar("T", bound=Tally)


@dataclass(frozen=True)
class Statistic(Generic[T]):
    """A statistic of a tensor.

    Attributes
    ----------
    tally
        What it is computed from. Statistics with the same tally share it, so that values are
        added once.
    value
        Function that returns the statistic, given the tally of all values.
    title
        What it is, in a few words, for a menu.
    definition
        What it is, exactly.
    of
        What the value is: a ``number`` in the scale of the tensor's values, the ``share`` of
        values of some kind, or how many ``values`` or ``units`` are of that kind. From this
        follow the column's type and how a value is printed.
    order
        Place among Runner's own statistics in lists, and in the summary.
    is_shown
        Whether ``runner show`` prints it; a report also offers it first.
    is_in_every_run
        Whether a summary without it is damaged. Runs that were saved before a statistic was
        added, or without the package that offers it, have no such column.
    """

    tally: type[T]
    value: Callable[[T], float]
    title: str
    definition: str
    of: Literal["number", "share", "values", "units"] = "number"
    order: int = 100
    is_shown: bool = False
    is_in_every_run: bool = False

    @property
    def is_count(self) -> bool:
        """Whether it counts values or units."""
        return self.of in ("values", "units")

    @property
    def column_type(self) -> str:
        """Arrow's name of the type of its column."""
        return "int64" if self.is_count else "double"

    def is_possible(self, value: float, units: int, values: int) -> bool:
        """Return whether it can be this value for a tensor of so many units and values."""
        match self.of:
            case "number":
                return True
            case "share":
                return 0 <= value <= 1 or values == 0
            case "values":
                return 0 <= value <= values
            case "units":
                return 0 <= value <= units

    def comparable(self, value: Any, units: Any) -> Any:
        """Return a value, or values, in a scale that is the same for large and small tensors.

        Of a number of units, it is their share of all `units` of the tensor.
        """
        return value / np.maximum(units, 1) if self.of == "units" else value

    def text(self, value: Any, units: int) -> str:
        """Return a value as text; `units` is the tensor's number of units."""
        match self.of:
            case "number":
                return f"{value:.4g}"
            case "share":
                return f"{value:.1%}"
            case "values":
                return f"{value:,}"
            case "units":
                return f"{value:,} of {units:,}"
