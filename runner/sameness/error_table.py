"""The errors of the layers of a run that was made again, in a file of its folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pydantic
from pydantic import Field

from runner.errors import DamagedError
from runner.file_names import LAYER_ERRORS
from runner.readable_files import ReadableFile
from runner.sameness.layer_errors import LayerError, epsilon
from runner.sameness.reference import Reference

_Error = Annotated[float, Field(ge=0)] | None


@dataclass(frozen=True)
class ErrorRow:
    """The errors of a layer, relative to its largest value in the first run.

    Attributes
    ----------
    error, own
        As in `runner.sameness.layer_errors.LayerError`; ``None`` if they were not measured.
    floor, own_floor
        The same for the first run's own model, if only rounding is other.
    dtype
        The dtype of the first run's tensor.
    name
        The name of the new run's tensor, if it was measured.
    begins, unrounded
        As in `runner.sameness.layer_errors.LayerError`.
    """

    error: _Error = None
    own: _Error = None
    floor: _Error = None
    own_floor: _Error = None
    dtype: str = ""
    name: str | None = None
    begins: str | None = None
    unrounded: _Error = None

    def floors_in(self, dtype: str) -> tuple[float | None, float | None]:
        """Return the floors of a tensor of the new run in its dtype.

        In a coarser dtype, rounding causes errors that are larger in proportion to the distance
        between its numbers, and at least as large as this distance.
        """
        own, other = epsilon(self.dtype), epsilon(dtype)
        if not 0 < own < other:
            return self.floor, self.own_floor
        floor, own_floor = (
            None if each is None else max(each * other / own, other)
            for each in (self.floor, self.own_floor)
        )
        return floor, own_floor


@dataclass(frozen=True)
class ErrorTable:
    """The errors of the layers of a run.

    Attributes
    ----------
    run
        The id of the first run.
    floor_by
        How the floors were measured, or why they were not.
    own_by
        How the own errors were measured, or why they were not.
    layers
        The errors by the names of the first run's activations.
    """

    run: str
    floor_by: str = ""
    own_by: str = ""
    layers: Mapping[str, ErrorRow] = field(default_factory=dict)

    @classmethod
    def of(
        cls, reference: Reference, errors: Mapping[str, LayerError], why: str | None
    ) -> ErrorTable:
        """Return the table of a new run.

        Parameters
        ----------
        reference
            What its layers are held against.
        errors
            The errors of its layers.
        why
            Why they were not measured; ``None`` if they were.
        """
        rows = {
            name: _row(reference, name, errors.get(name))
            for name in dict.fromkeys((*reference.floors, *errors))
        }
        own_by = "each layer given the values of the run" if why is None else f"not measured: {why}"
        return cls(reference.run_id, reference.floor_by, own_by, rows)

    @property
    def has_floors(self) -> bool:
        """Whether floors were measured."""
        return any(row.floor is not None for row in self.layers.values())

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()


def _row(reference: Reference, name: str, found: LayerError | None) -> ErrorRow:
    floor = reference.floors.get(name)
    return ErrorRow(
        error=None if found is None else found.error,
        own=None if found is None else found.own,
        floor=None if floor is None else floor.error,
        own_floor=None if floor is None else floor.own,
        dtype=reference.dtypes.get(name, ""),
        name=None if found is None else found.name,
        begins=None if found is None else found.begins,
        unrounded=None if found is None else found.unrounded,
    )


_ADAPTER = pydantic.TypeAdapter(ErrorTable)
_MOST_BYTES = 2**26


def read_errors(kept: ReadableFile) -> ErrorTable:
    """Read the errors that are kept in a file of a run.

    Raises
    ------
    DamagedError
        If it does not have such a content.
    """
    with kept.open() as opened:
        content = opened.read(_MOST_BYTES + 1)
    try:
        return _ADAPTER.validate_json(content[:_MOST_BYTES])
    except pydantic.ValidationError as error:
        raise DamagedError.of(kept.place, f"is no {LAYER_ERRORS} of a run") from error
