"""Another order of a tensor's axes, and another shape of the same values."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_LARGEST_RANK = 5


@dataclass(frozen=True)
class Rearrangement:
    """How the axes of one tensor are ordered and split in another.

    Attributes
    ----------
    order
        The position of each axis before: ``(1, 2, 0)`` makes height x width x channel of
        channel x height x width.
    shape
        The shape afterwards.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        letters = string.ascii_lowercase[: len(self.order)]
        return f"{letters}->{''.join(letters[axis] for axis in self.order)}"

    @property
    def moves(self) -> bool:
        """Whether axes change their order."""
        return self.order != tuple(range(len(self.order)))

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return an array of shape (*axes before) with the axes afterwards."""
        return values.transpose(self.order).reshape(self.shape)

    def of_samples(self, values: np.ndarray) -> np.ndarray:
        """Return an array of shape (sample, *axes before) with the axes afterwards."""
        order = (0, *(axis + 1 for axis in self.order))
        return values.transpose(order).reshape(len(values), *self.shape)

    def undone_on_samples(self, values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return what `of_samples` makes an array of: of shape (sample, *axes before).

        Parameters
        ----------
        values
            Of shape (sample, *axes afterwards).
        shape
            The axes before.
        """
        moved = values.reshape(len(values), *(shape[axis] for axis in self.order))
        back = [0] * (len(self.order) + 1)
        for place, axis in enumerate(self.order):
            back[axis + 1] = place + 1
        return moved.transpose(back)


def parsed(text: str, shape: Sequence[int], target: Sequence[int]) -> Rearrangement:
    """Return the rearrangement that a text such as ``chw->hwc`` stands for.

    Parameters
    ----------
    text
        One letter for each axis, before and afterwards.
    shape, target
        The shapes before and afterwards.

    Raises
    ------
    ValueError
        If the text does not name each axis once on both sides, or the shapes do not fit it.
    """
    before, arrow, after = (part.strip() for part in text.partition("->"))
    if not arrow or sorted(before) != sorted(after) or len({*before}) != len(before):
        raise ValueError(f"expected axes such as chw->hwc, found '{text}'")
    if len(before) != len(shape):
        raise ValueError(f"'{text}' has {len(before)} axes, the tensor has {len(shape)}")
    if math.prod(shape) != math.prod(target):
        raise ValueError(f"{list(shape)} and {list(target)} are of different size")
    return Rearrangement(tuple(before.index(letter) for letter in after), tuple(target))


def possible(shape: Sequence[int], target: Sequence[int]) -> Iterator[Rearrangement]:
    """Yield the rearrangements of a shape to another one, the plainest first.

    Axes of length 1 may come or go; other axes keep their length, except that a tensor of the
    same size can always be reshaped without moving an axis.
    """
    if math.prod(shape) != math.prod(target):
        return
    goal = [axis for axis in target if axis != 1]
    plain = tuple(range(len(shape)))
    orders = itertools.permutations(plain) if len(shape) <= _LARGEST_RANK else iter([plain])
    seen = set()
    for order in orders:
        kept = tuple(axis for axis in order if shape[axis] != 1)
        if [shape[axis] for axis in kept] == goal and kept not in seen:
            seen.add(kept)
            yield Rearrangement(order, tuple(target))
    if plain and tuple(axis for axis in plain if shape[axis] != 1) not in seen:
        yield Rearrangement(plain, tuple(target))
