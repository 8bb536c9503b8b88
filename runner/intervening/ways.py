"""The ways in which an action changes an output: one for each unit, head or position."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from runner.intervening.changed_output import along
from runner.intervening.edits import Edit
from runner.intervening.places import EACH


@dataclass(frozen=True, eq=False)
class Way:
    """One way to change an output.

    Attributes
    ----------
    head, unit, position
        The head, the unit and the position that are changed; ``None`` for those that the action
        names.
    mask
        Which values are changed: boolean, of as many axes as a sample.
    """

    head: int | None
    unit: int | None
    position: int | None
    mask: np.ndarray


def ways_of(edit: Edit) -> list[Way]:
    """Return a way for each unit, each head, each position, or all pairs of these."""
    spec, action = edit.spec, edit.action
    of_unit = (spec.unit_axis,) if spec.shape else ()
    of_position = () if spec.position_axis is None else (spec.position_axis,)
    count = None if edit.heads is None else edit.heads.count
    return [
        Way(head, unit, position, edit.mask & heads & units & positions)
        for (head, heads), (unit, units), (position, positions) in product(
            _alone(edit, edit.output.axes, action.heads == EACH, count),
            _alone(edit, of_unit, action.units == EACH),
            _alone(edit, of_position, action.positions == EACH),
        )
    ]


def _alone(
    edit: Edit, axes: Collection[int], each: bool, count: int | None = None
) -> Iterator[tuple[int | None, np.ndarray]]:
    """Yield each of `count` equal parts of some axes, or each place, with a mask of it alone.

    Without `each`, yield one mask, of all places.
    """
    if not each:
        yield None, np.ones((1,) * edit.mask.ndim, bool)
        return
    lengths = along(edit.spec, axes)
    size = prod(lengths)
    count = count or size
    for place in range(count):
        yield place, (np.arange(size) // (size // count) == place).reshape(lengths)
