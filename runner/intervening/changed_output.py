"""An output that an action changes, and the numbers that the action uses for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from runner.errors import InputError
from runner.tensors import TensorSpec, shape_text

PerSample = Callable[[int, np.ndarray], np.ndarray]
"""Takes the row of the first of some samples and their ids, of shape (sample,); returns numbers of
shape (sample, ...)."""

Number = float | np.ndarray | PerSample
"""Numbers of an action: one, an array of as many axes as a sample, each of length 1 or that of the
sample's axis, or others for each sample."""

Numbers = Mapping[str, Number]
"""All numbers of an action, by names of its own."""


@dataclass(frozen=True, eq=False)
class ChangedOutput:
    """An output that an action changes.

    Attributes
    ----------
    pattern
        The pattern of `intervene` that matches it.
    spec
        The output, as it is without interventions. If heads of attention are changed, what holds
        their values before the output projection.
    number
        Its number among all outputs that the configuration changes.
    axes
        The axes of a sample along which its units lie: one, or those of heads and their units.
    units
        The changed units, numbered as if their axes were flattened; ``None`` for all.
    over_probe
        What the action asked for (`runner.intervening.action.Action.over_probe`), of shape
        (unit,); ``None`` if it asked for nothing.
    of_run
        Takes the name of a run, the key that names it, and for each sample id of this run the id
        to take the values from; returns the values of the same output in that run.
    """

    pattern: str
    spec: TensorSpec
    number: int
    axes: tuple[int, ...]
    units: tuple[int, ...] | None
    over_probe: np.ndarray | None
    of_run: Callable[[str, str, Mapping[str, str]], PerSample]

    def place(self, key: str) -> str:
        """Return the path of one of the action's keys, for messages."""
        return f"intervene.{self.pattern}.{key}"

    def along_units(self, key: str, numbers: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return numbers for the changed units, or for all units, along the axis of the units.

        Raises
        ------
        InputError
            If there are more or fewer numbers than units; it names the key.
        """
        given, count = np.asarray(numbers), self.count
        chosen = tuple(range(count)) if self.units is None else self.units
        if given.shape != (count,):
            if given.shape != (len(chosen),):
                found = shape_text(given.shape) if given.ndim != 1 else f"{given.size}"
                expected = f"a number for each of {len(chosen)} units of '{self.spec.name}'"
                raise InputError.of(self.place(key), f"expected {expected}, found {found}")
            given, some = np.zeros(count), given
            given[list(chosen)] = some
        return given.reshape(along(self.spec, self.axes))

    @property
    def count(self) -> int:
        """Number of its units, changed or not."""
        return prod(self.spec.shape[axis] for axis in self.axes) if self.spec.shape else 1

    @property
    def is_changed(self) -> np.ndarray:
        """Which units are changed: boolean, of as many axes as a sample."""
        if self.units is None:
            return np.ones((1,) * len(self.spec.shape), bool)
        return np.isin(np.arange(self.count), self.units).reshape(along(self.spec, self.axes))


def along(spec: TensorSpec, axes: Collection[int]) -> tuple[int, ...]:
    """Return the shape of an array that has one number for each place of axes of a sample."""
    return tuple(size if at in axes else 1 for at, size in enumerate(spec.shape))
