"""What is known of a tensor before it is paired with one of another run: figures and values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from runner.record.layer_record import TensorRecord
from runner.runs.run_tensors import RunTensors
from runner.sameness.rearrangement import Rearrangement, possible
from runner.tensors import Kind

_SAMPLES = 16
"""Number of samples whose values are compared."""

_ALIKE = 0.5
"""Squared correlation of values, from which one tensor is the other with an error."""


@dataclass(frozen=True)
class Profile:
    """What is known of a tensor for matching.

    Attributes
    ----------
    tensor
        Its record.
    place
        Its position among those of its kind, from 0 to 1.
    figures
        Mean, standard deviation, minimum and maximum of its first samples, which another order
        of the axes does not change; of shape (sample, 4).
    values
        Its first samples, or the weight.
    has_weights
        Whether its layer is known to have weights.
    """

    tensor: TensorRecord
    place: float
    figures: np.ndarray
    values: np.ndarray
    has_weights: bool

    @property
    def size(self) -> int:
        """The number of its values for a sample, or of the weight."""
        return int(np.prod(self.tensor.shape))


def profiles_of(run: RunTensors, kind: Kind) -> list[Profile]:
    """Return the profiles of the tensors of a kind, in call order, without aliases."""
    tensors = [one for one in run.record.tensors if one.kind == kind and one.alias_of is None]
    tensors.sort(key=lambda one: one.order)
    heavy = {one.layer_path for one in run.record.tensors if one.kind == "weight"}
    found = []
    for position, tensor in enumerate(tensors):
        if tensor.per_sample:
            values = np.asarray(next(run.blocks(tensor.name, kind)))[:_SAMPLES]
            rows = values.reshape(len(values), -1)
        else:
            values = run.array(tensor.name, kind)
            rows = values.reshape(1, -1)
        wide = rows.astype(np.float64)
        figures = np.stack(
            [wide.mean(axis=1), wide.std(axis=1), wide.min(axis=1), wide.max(axis=1)], axis=1
        )
        place, has_weights = position / max(1, len(tensors) - 1), tensor.layer_path in heavy
        found.append(Profile(tensor, place, figures, values, has_weights))
    return found


def agreement(one: Profile, other: Profile) -> float:
    """Return how well the figures of two tensors agree: 1 up to an error of 0.1%, 0 from 100%."""
    return float(np.clip(-np.log10(figures_apart(one, other) + 1e-12) / 3, 0, 1))


def closeness(one: Profile, other: Profile) -> float:
    """Return how well figures agree beyond 0.1%, to tell nearly equal tensors: 1 up to rounding."""
    return float(np.clip(-np.log10(figures_apart(one, other) + 1e-12) / 3 - 1, 0, 1))


def figures_apart(one: Profile, other: Profile) -> float:
    """Return the largest difference of the figures of two tensors, relative to the largest one."""
    if one.figures.shape != other.figures.shape:
        return 1.0
    scale = float(np.abs(one.figures).max(initial=0.0))
    error = float(np.abs(one.figures - other.figures).max(initial=0.0))
    if not np.isfinite(scale) or not np.isfinite(error):
        return 1.0
    if scale == 0:
        return 0.0 if error == 0 else 1.0
    return error / scale


def look(profile: Profile) -> tuple[tuple[int, ...], bool]:
    """Return the lengths of a tensor's axes in any order, and whether it has fractions."""
    lengths = tuple(sorted(axis for axis in profile.tensor.shape if axis != 1))
    return lengths, profile.values.dtype.kind == "f"


def are_alike(one: Profile, other: Profile) -> bool:
    """Return whether the values of two tensors are correlated."""
    theirs = best_way(one, other).of_samples(other.values).ravel().astype(np.float64)
    mine = one.values.ravel().astype(np.float64)
    mine, theirs = (each - each.mean() for each in (mine, theirs))
    squares = float(mine @ mine) * float(theirs @ theirs)
    return not float(mine @ theirs) ** 2 < _ALIKE * squares


def best_way(
    one: Profile, other: Profile, orders: Collection[tuple[int, ...]] = ()
) -> Rearrangement:
    """Return the rearrangement of the other tensor that fits the first.

    It is found by the names of the axes, by those orders that other tensors have, and by values:
    those of a layer that is wrong may fit better by chance in another order.
    """
    ways = list(possible(other.tensor.shape, one.tensor.shape))
    if one.tensor.axes and other.tensor.axes and {*one.tensor.axes} == {*other.tensor.axes}:
        order = tuple(other.tensor.axes.index(name) for name in one.tensor.axes)
        ways = [way for way in ways if way.order == order] or ways
    ways = [way for way in ways if way.order in orders] or ways
    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: error_of(one, other, way))


def error_of(one: Profile, other: Profile, way: Rearrangement) -> float:
    """Return the mean difference of the values, relative to the mean magnitude of the first."""
    is_per_sample = one.tensor.per_sample
    theirs = way.of_samples(other.values) if is_per_sample else way.of(other.values)
    mine = one.values.astype(np.float64)
    apart = np.abs(mine - theirs.astype(np.float64)).sum()
    return float(apart / max(float(np.abs(mine).sum()), np.finfo(np.float64).tiny))
