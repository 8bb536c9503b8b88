"""Tensors that were computed elsewhere, as a model that looks up their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from runner.converted_models.graph import ConvertedModel, Key, kind, unique
from runner.engines.settings import ADOPTED, Backend
from runner.errors import InputError, Problem
from runner.tables.column_types import MOST_AXES
from runner.tensors import InputSpec

_NUMBERS = "biufc"


class AdoptedTensors(ConvertedModel):
    """A model whose input is the number of a row, and whose layers hold that row of each tensor.

    Parameters
    ----------
    tensors
        Name to array of shape (sample, ...).
    rows
        The number of samples.

    Raises
    ------
    InputError
        With a problem for each array that is none of numbers, or has another number of rows.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], rows: int) -> None:
        super().__init__(Path(ADOPTED))
        if problems := [*_problems(tensors, rows)]:
            raise InputError(problems)
        self.inputs = {"row": InputSpec("input", (), "int64")}
        taken: dict[str, int] = {}
        self._values: dict[Key, np.ndarray] = {}
        for name, array in tensors.items():
            path = unique(name, taken)
            self._values[path] = array
            self.operations.append(kind("Adopted")(path, [], [path], [], {"module": ADOPTED}))

    def compute(
        self,
        inputs: Sequence[np.ndarray],
        wanted: Collection[Key],
        given: Mapping[Key, np.ndarray] | None = None,  # noqa: ARG002
    ) -> Mapping[Key, np.ndarray]:
        """Return the rows of tensors, of which none is computed from another."""
        [rows] = inputs
        return {key: np.asarray(self._values[key][rows]) for key in wanted}

    def deployed(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:  # noqa: ARG002
        """Return the model's outputs, of which none is known."""
        return []

    def read_backend(self) -> Backend:
        """Return that nothing is computed here."""
        return Backend(ADOPTED)


def _problems(tensors: Mapping[str, np.ndarray], rows: int) -> Iterator[Problem]:
    if not tensors:
        yield Problem("tensors", "there are none", "give a mapping from names to arrays")
    for name, array in tensors.items():
        place = f"tensors.{name}"
        if array.dtype.kind not in _NUMBERS and array.dtype.name != "bfloat16":
            yield Problem(place, f"expected numbers, found {array.dtype.name}")
        elif array.ndim > MOST_AXES:
            yield Problem(place, f"has {array.ndim} axes, the limit is {MOST_AXES}")
        elif array.shape[:1] != (rows,):
            yield Problem(
                place,
                f"has shape {list(array.shape)}, and there are {rows:,} sample ids",
                "samples are the first axis",
            )
