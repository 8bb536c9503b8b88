"""A later output of a model in which the change of each unit, or position, stays by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.capture.batches import Shown
from runner.capture.changing import ChangedTensors
from runner.intervening.changed_output import along
from runner.intervening.edits import floats_of
from runner.intervening.remainder import MASK, Remainder
from runner.intervening.ways import Way
from runner.tensors import TensorSpec

_OWN, _CHANGED = "own", "changed"

_LARGE = np.float32(1e30), np.float32(-1e30)


@dataclass(frozen=True)
class Places:
    """What is changed one at a time: the units of an output, or its positions.

    Attributes
    ----------
    count
        How many there are.
    axis_of
        Returns the axis of an output's samples along which they lie; ``None`` if it has none.
    """

    count: int
    axis_of: Callable[[TensorSpec], int | None]

    @classmethod
    def of(cls, ways: Sequence[Way]) -> Places | None:
        """Return what ways change one at a time; ``None`` if that is not units or positions."""
        for name, axis_of in _AXES.items():
            places = [getattr(way, name) for way in ways]
            others = {getattr(way, one) for way in ways for one in ("head", *_AXES) if one != name}
            if places == [*range(len(ways))] and others == {None}:
                return cls(len(ways), axis_of)
        return None

    def are_in(self, spec: TensorSpec) -> bool:
        """Return whether an output has an axis of this length along which they may lie."""
        axis = self.axis_of(spec) if spec.shape else None
        return axis is not None and spec.shape[axis] == self.count and "float" in spec.dtype

    def chosen(self, spec: TensorSpec, chosen: np.ndarray) -> np.ndarray:
        """Return masks of an output, given which places are chosen, of shape (..., place)."""
        axis = self.axis_of(spec)
        assert axis is not None
        return chosen.reshape(*chosen.shape[:-1], *along(spec, (axis,)))

    def each(self, spec: TensorSpec) -> list[np.ndarray]:
        """Return a mask of each place of an output."""
        return [*self.chosen(spec, np.eye(self.count, dtype=bool))]


_AXES: Mapping[str, Callable[[TensorSpec], int | None]] = {
    "unit": lambda spec: spec.unit_axis,
    "position": lambda spec: spec.position_axis,
}


class Shares:
    """The values of some samples after a changed output, in ways that show who depends on whom.

    The samples are shown without changes, with all changes, and each of them with the changes of
    half of the places. Of any two places, some samples have the change of the first alone, others
    that of the second. Numbers so large that they show in whatever depends on them are then put
    in the same places, also where a limit hides a small change.

    Parameters
    ----------
    whole
        The calls after the output, with other activations.
    spec, places
        The output, and what is changed one at a time.
    shown, masks
        The samples, and which values change in each way.
    """

    def __init__(
        self,
        whole: Remainder,
        spec: TensorSpec,
        places: Places,
        shown: Shown,
        masks: Sequence[np.ndarray],
    ) -> None:
        self._whole, self._places = whole, places
        rows, every = np.arange(shown.samples), np.logical_or.reduce(masks)
        bits = max(1, (places.count - 1).bit_length())
        bit = np.arange(places.count) >> (rows // 2 % bits)[:, None] & 1
        self._halves = bit == (rows % 2)[:, None]
        self._singles = (
            np.arange(places.count)
            == (np.linspace(0, places.count - 1, len(rows)).astype(int)[:, None])
        )
        changed = every & places.chosen(spec, self._halves)
        assert shown.patches is not None
        nothing = np.zeros_like(changed)
        self._before = whole.values(shown, nothing)
        self._after = whole.values(shown, nothing | every)
        self._half = whole.values(shown, changed)
        self._flooded = [
            whole.values(_with_own(shown, np.where(changed, number, shown.patches[_OWN])), nothing)
            for number in _LARGE
        ]
        self._single = whole.values(shown, every & places.chosen(spec, self._singles))
        self._is_complete = len(rows) >= 2 * bits and not whole.capture.lost

    def stands_alone(self, spec: TensorSpec) -> bool:
        """Return whether each place of an output depends on the change of that place alone."""
        places, at = self._places, self._at(spec)
        if not self._is_complete or not places.are_in(spec):
            return False
        before, changed = self._before[at], places.chosen(spec, self._halves)
        half = np.where(changed, self._after[at], before)
        flooded = (np.where(changed, before, found[at]) for found in self._flooded)
        return same(half, self._half[at]) and all(same(one, before) for one in flooded)

    def is_untouched(self, spec: TensorSpec) -> bool:
        """Return whether an output does not depend on any change."""
        at = self._at(spec)
        return self._is_complete and all(
            same(found[at], self._before[at]) for found in (self._after, *self._flooded)
        )

    def patches(self, spec: TensorSpec, others: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
        """Return an output without changes and with all of them, and others by their names."""
        at = self._at(spec)
        found = {_OWN: (spec, self._before[at]), _CHANGED: (spec, self._after[at])}
        found |= {name: (one, self._before[self._at(one)]) for name, one in others.items()}
        return {name: array.astype(floats_of(one)) for name, (one, array) in found.items()}

    def are_kept_by(self, later: Remainder, spec: TensorSpec, shown: Shown) -> bool:
        """Return whether the calls after a later output lead to the same outputs of the model."""
        for chosen, expected in ((self._halves, self._half), (self._singles, self._single)):
            found = later.values(shown, self._places.chosen(spec, chosen))
            pairs = zip(later.capture.returned, self._whole.capture.returned, strict=True)
            if not all(same(found[at], expected[own]) for at, own in pairs):
                return False
        return True

    def _at(self, spec: TensorSpec) -> int:
        return self._whole.capture.tensors.index(spec)


@dataclass(frozen=True)
class LaterOutput:
    """A later output in which units are changed, as their changes stand alone there.

    Attributes
    ----------
    spec
        The output.
    others
        Outputs that depend on no change, by the name of the patch that takes their place.
    rest
        The calls after them.
    """

    spec: TensorSpec
    others: Mapping[str, TensorSpec]
    rest: Remainder

    def moved(self, shares: Shares, shown: Shown) -> Shown | None:
        """Return samples with the values of these outputs; ``None`` if they lead elsewhere."""
        spec, others = self.spec, self.others
        if not shares.stands_alone(spec) or not all(map(shares.is_untouched, others.values())):
            return None
        moved = shown._replace(patches=shares.patches(spec, others))
        return moved if shares.are_kept_by(self.rest, spec, moved) else None


def change(tensor: Any, patches: Mapping[str, Any], tensors: ChangedTensors) -> Any:
    """Return a later output: changed where the mask holds, otherwise as it was."""
    own, changed = (tensors.like(patches[name], tensor) for name in (_OWN, _CHANGED))
    return tensors.ops.where(patches[MASK], changed, own)


def _with_own(shown: Shown, own: np.ndarray) -> Shown:
    return shown._replace(patches={**(shown.patches or {}), _OWN: own})


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays hold the same values, bit for bit."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()
