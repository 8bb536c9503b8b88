"""Finds which tensors of two runs belong together, from names, values, shapes and their order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.runs.run_tensors import RunTensors
from runner.sameness.naming import Names
from runner.sameness.ordering import Ordering
from runner.sameness.rearrangement import Rearrangement, possible
from runner.sameness.restated import restated_in
from runner.tensors import Kind

_SAMPLES = 16
"""Number of samples whose values are compared."""

_APART = 0.3
"""Mean difference of single values, by which tensors with the same figures are others."""

_SURE = 0.05
"""Mean difference of single values, below which the order of their axes is surely right."""

_ALIKE = 0.5
"""Squared correlation of values, from which one tensor is the other with an error."""

_COPY = 1e-6
"""Difference of the figures of tensors that hold the same values."""

_CLOSE = 0.6
"""Agreement of values that tells tensors by themselves: an error of about 2%."""


@dataclass(frozen=True)
class Match:
    """Two tensors that belong together.

    Attributes
    ----------
    a, b
        The tensors of the two runs.
    rearranged
        How `b` is rearranged to be compared with `a`.
    how
        What they have in common: ``name``, ``values``, ``output`` (both are returned by the model),
        or several of these; ``input`` if a pair with a common name reads them; ``order`` if only
        their order and shape tell, which is the least sure.
    """

    a: TensorRecord
    b: TensorRecord
    rearranged: Rearrangement
    how: str


@dataclass(frozen=True)
class _Profile:
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
        return int(np.prod(self.tensor.shape))


def matches(a: RunTensors, b: RunTensors, kinds: Collection[Kind] | None = None) -> list[Match]:
    """Return the tensors of two runs that belong together, in the call order of the first.

    Tensors of one size are compared: by the names of their layers, which converters leave in
    those of operations, by their values, and by their order. Of pairs that have a tensor in common,
    the best is taken. Between pairs that are sure, tensors that are left are paired in order if
    both runs have as many layers with weights, or tensors of their shape, there. Tensors that
    restate others have no pair, and none whose values nothing that reads them can have read.

    Parameters
    ----------
    a, b
        The runs.
    kinds
        The kinds of the tensors; by default all.
    """
    kinds = kinds or dict.fromkeys(tensor.kind for tensor in a.record.tensors)
    found = [match for kind in kinds for match in _of_kind(a, b, kind)]
    return sorted(found, key=lambda match: match.a.order)


def fused_into(record: RunRecord, paired: Mapping[str, str]) -> dict[str, str]:
    """Return the layers without a pair whose values are part of what a later layer computes.

    Parameters
    ----------
    record
        The record of the first run.
    paired
        Names of its paired activations, each with that of the other run.

    Returns
    -------
    dict
        Name of an activation to the other run's name of the operation it was fused into.
    """
    users: dict[str, list[str]] = {}
    for user, read in reads_in(record).items():
        for name in read:
            users.setdefault(name, []).append(user)
    found: dict[str, str] = {}
    for tensor in record.tensors:
        if tensor.kind != "activation" or tensor.name in paired:
            continue
        reached, seen = [tensor.name], {tensor.name}
        while reached and tensor.name not in found:
            name = reached.pop(0)
            for user in users.get(name, []):
                if user in paired:
                    found.setdefault(tensor.name, paired[user])
                elif user not in seen:
                    seen.add(user)
                    reached.append(user)
    return found


def reads_in(record: RunRecord) -> dict[str, list[str]]:
    """Return the activations that each call of a layer reads, by the name of what it returns."""
    reads: dict[str, list[str]] = {}
    for layer in record.layers:
        for call in layer.calls:
            read = [wire.tensor for wire in call.wires if wire.tensor is not None]
            reads.setdefault(call.name, []).extend(read)
    return reads


def _of_kind(a: RunTensors, b: RunTensors, kind: Kind) -> Iterator[Match]:
    mine, theirs = (_profiles(run, kind) for run in (a, b))
    if kind == "activation":
        mine = _without(mine, restated_in(a.record))
        theirs = _without(theirs, restated_in(b.record))
    returned = _returned(a.record, b.record) if kind == "activation" else set()
    reads = reads_in(a.record) if kind == "activation" else {}
    names = Names([one.tensor for one in mine], [other.tensor for other in theirs], reads)
    pairs = []
    for one in mine:
        for other in theirs:
            if one.size == other.size and not names.deny(one.tensor, other.tensor):
                named, close = names.agree(one.tensor, other.tensor), _agreement(one, other)
                apart = abs(one.place - other.place)
                output = (one.tensor.name, other.tensor.name) in returned
                score = 2 * close + 0.1 * _exactness(one, other) + named + 1.5 * output
                score += 0.01 * one.place - 0.3 * apart
                shared = {"name": named, "values": close >= _CLOSE, "output": output}
                pairs.append((score, [word for word, holds in shared.items() if holds], one, other))
    pairs.sort(key=lambda pair: -pair[0])
    chosen: dict[int, tuple[_Profile, str]] = {}
    taken: set[int] = set()
    for _, shared_by, one, other in pairs:
        if kind == "weight" and "values" not in shared_by:
            continue  # another weight may be folded into it: the values of its layer tell
        how = " and ".join(shared_by)
        if how and id(one) not in chosen and id(other) not in taken:
            chosen[id(one)] = other, how
            taken.add(id(other))
    if kind != "weight":
        sure = {key: other for key, (other, _) in chosen.items()}
        paired = {*chosen, *taken}
        left, others = (
            [each for each in group if id(each) in paired or not names.tell(each.tensor)]
            for group in (mine, theirs)
        )
        others = _without_copies(others, list(sure.values()))
        if kind == "activation":
            by_name = [
                (one.tensor.name, chosen[id(one)][0].tensor.name)
                for one in mine
                if id(one) in chosen and "name" in chosen[id(one)][1]
            ]
            free = [each for each in left if id(each) not in paired]
            unread = [each for each in others if id(each) not in paired]
            for one, other in _read_by(by_name, (a.record, free), (b.record, unread)):
                chosen[id(one)] = other, "input"
                sure[id(one)] = other
        ordering = Ordering(_look, lambda each: each.has_weights)
        for one, other in ordering.pairs(left, others, sure):
            chosen[id(one)] = other, "order"
    found = [(one, *chosen[id(one)]) for one in mine if id(one) in chosen]
    wrong = _refuted(a.record, found) if kind == "activation" else set()
    yield from _compared([pair for pair in found if pair[0].tensor.name not in wrong], kind)


def _refuted(record: RunRecord, pairs: Sequence[tuple[_Profile, _Profile, str]]) -> set[str]:
    """Return the tensors whose partners are something else, in spite of their names or order.

    All that reads such a tensor is right, although the partner has nothing in common with it: it is
    an operation within the layer, the last of which was fused with the next layer.
    """
    users: dict[str, list[str]] = {}
    for user, read in reads_in(record).items():
        for name in read:
            users.setdefault(name, []).append(user)
    errors = {
        one.tensor.name: _error(one, other, _rearrangement(one, other)) for one, other, _ in pairs
    }
    return {
        one.tensor.name
        for one, other, _ in pairs
        if errors[one.tensor.name] > _APART
        and one.tensor.name in users
        and all(errors.get(user, np.inf) < _SURE for user in users[one.tensor.name])
        and not _are_alike(one, other)
    }


def _are_alike(one: _Profile, other: _Profile) -> bool:
    """Return whether the values of two tensors are correlated."""
    theirs = _rearrangement(one, other).of_samples(other.values).ravel().astype(np.float64)
    mine = one.values.ravel().astype(np.float64)
    mine, theirs = (each - each.mean() for each in (mine, theirs))
    squares = float(mine @ mine) * float(theirs @ theirs)
    return not float(mine @ theirs) ** 2 < _ALIKE * squares


def _compared(pairs: Sequence[tuple[_Profile, _Profile, str]], kind: Kind) -> Iterator[Match]:
    """Yield pairs of tensors, given with what they share, and how their axes belong together."""
    orders = [] if kind == "weight" else _sure_orders(pairs)
    for one, other, how in pairs:
        way = _rearrangement(one, other, orders)
        shared = how
        if "values" in how and _error(one, other, way) > _APART:
            if kind == "weight":
                continue  # its axes are in an order that was not found
            shared = " and ".join(word for word in how.split(" and ") if word != "values")
        yield Match(one.tensor, other.tensor, way, shared or "order")


def _read_by(
    pairs: Sequence[tuple[str, str]],
    a: tuple[RunRecord, Sequence[_Profile]],
    b: tuple[RunRecord, Sequence[_Profile]],
) -> Iterator[tuple[_Profile, _Profile]]:
    """Yield tensors without a pair that pairs read, where each reads only one of that size.

    Parameters
    ----------
    pairs
        Names of activations that belong together by their names.
    a, b
        The record of each run, and its activations without a pair.
    """
    left, others = ({each.tensor.name: each for each in free} for _, free in (a, b))
    reads, theirs = reads_in(a[0]), reads_in(b[0])
    for name, other in pairs:
        mine = [left[each] for each in reads.get(name, ()) if each in left]
        found = [others[each] for each in theirs.get(other, ()) if each in others]
        if len(mine) == len(found) == 1 and mine[0].size == found[0].size:
            yield left.pop(mine[0].tensor.name), others.pop(found[0].tensor.name)


def _returned(a: RunRecord, b: RunRecord) -> set[tuple[str, str]]:
    """Return the pairs of activations that two models return in the same place."""
    mine, theirs = ((record.model.outputs if record.model else ()) for record in (a, b))
    return {*zip(mine, theirs, strict=True)} if len(mine) == len(theirs) else set()


def _profiles(run: RunTensors, kind: Kind) -> list[_Profile]:
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
        found.append(_Profile(tensor, place, figures, values, has_weights))
    return found


def _agreement(one: _Profile, other: _Profile) -> float:
    """Return how well the figures of two tensors agree: 1 up to an error of 0.1%, 0 from 100%."""
    return float(np.clip(-np.log10(_apart(one, other) + 1e-12) / 3, 0, 1))


def _exactness(one: _Profile, other: _Profile) -> float:
    """Return how well figures agree beyond 0.1%, to tell nearly equal tensors: 1 up to rounding."""
    return float(np.clip(-np.log10(_apart(one, other) + 1e-12) / 3 - 1, 0, 1))


def _apart(one: _Profile, other: _Profile) -> float:
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


def _without_copies(profiles: Sequence[_Profile], partners: Sequence[_Profile]) -> list[_Profile]:
    """Return tensors that are partners, or do not have the values of one, as in another layout."""
    known = {id(each) for each in partners}
    return [
        each
        for each in profiles
        if id(each) in known or not any(_apart(each, one) < _COPY for one in partners)
    ]


def _without(profiles: list[_Profile], names: set[str]) -> list[_Profile]:
    return [each for each in profiles if each.tensor.name not in names]


def _look(profile: _Profile) -> tuple[tuple[int, ...], bool]:
    """Return the lengths of a tensor's axes in any order, and whether it has fractions."""
    lengths = tuple(sorted(axis for axis in profile.tensor.shape if axis != 1))
    return lengths, profile.values.dtype.kind == "f"


def _sure_orders(pairs: Sequence[tuple[_Profile, _Profile, str]]) -> list[tuple[int, ...]]:
    """Return the orders of axes by which tensors agree in their values."""
    ways = ((one, other, _rearrangement(one, other)) for one, other, _ in pairs)
    return [way.order for one, other, way in ways if _error(one, other, way) < _SURE]


def _rearrangement(
    one: _Profile, other: _Profile, orders: Collection[tuple[int, ...]] = ()
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
    return ways[0] if len(ways) == 1 else min(ways, key=lambda way: _error(one, other, way))


def _error(one: _Profile, other: _Profile, way: Rearrangement) -> float:
    """Return the mean difference of the values, relative to the mean magnitude of the first."""
    is_per_sample = one.tensor.per_sample
    theirs = way.of_samples(other.values) if is_per_sample else way.of(other.values)
    mine = one.values.astype(np.float64)
    apart = np.abs(mine - theirs.astype(np.float64)).sum()
    return float(apart / max(float(np.abs(mine).sum()), np.finfo(np.float64).tiny))
