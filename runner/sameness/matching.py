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
from runner.sameness.profiles import (
    Profile,
    agreement,
    are_alike,
    best_way,
    closeness,
    error_of,
    figures_apart,
    look,
    profiles_of,
)
from runner.sameness.rearrangement import Rearrangement
from runner.sameness.restated import restated_in
from runner.tensors import Kind

_APART = 0.3
"""Mean difference of single values, by which tensors with the same figures are others."""

_SURE = 0.05
"""Mean difference of single values, below which the order of their axes is surely right."""

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
    users = _users_in(record)
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


def _users_in(record: RunRecord) -> dict[str, list[str]]:
    """Return the calls of layers that read each activation, by its name."""
    users: dict[str, list[str]] = {}
    for user, read in reads_in(record).items():
        for name in read:
            users.setdefault(name, []).append(user)
    return users


def _of_kind(a: RunTensors, b: RunTensors, kind: Kind) -> Iterator[Match]:
    mine, theirs = (profiles_of(run, kind) for run in (a, b))
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
                named, close = names.agree(one.tensor, other.tensor), agreement(one, other)
                apart = abs(one.place - other.place)
                output = (one.tensor.name, other.tensor.name) in returned
                score = 2 * close + 0.1 * closeness(one, other) + named + 1.5 * output
                score += 0.01 * one.place - 0.3 * apart
                shared = {"name": named, "values": close >= _CLOSE, "output": output}
                pairs.append((score, [word for word, holds in shared.items() if holds], one, other))
    pairs.sort(key=lambda pair: -pair[0])
    chosen: dict[int, tuple[Profile, str]] = {}
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
        ordering = Ordering(look, lambda each: each.has_weights)
        for one, other in ordering.pairs(left, others, sure):
            chosen[id(one)] = other, "order"
    found = [(one, *chosen[id(one)]) for one in mine if id(one) in chosen]
    wrong = _refuted(a.record, found) if kind == "activation" else set()
    yield from _compared([pair for pair in found if pair[0].tensor.name not in wrong], kind)


def _refuted(record: RunRecord, pairs: Sequence[tuple[Profile, Profile, str]]) -> set[str]:
    """Return the tensors whose partners are something else, in spite of their names or order.

    All that reads such a tensor is right, although the partner has nothing in common with it: it is
    an operation within the layer, the last of which was fused with the next layer.
    """
    users = _users_in(record)
    errors = {
        one.tensor.name: error_of(one, other, best_way(one, other)) for one, other, _ in pairs
    }
    return {
        one.tensor.name
        for one, other, _ in pairs
        if errors[one.tensor.name] > _APART
        and one.tensor.name in users
        and all(errors.get(user, np.inf) < _SURE for user in users[one.tensor.name])
        and not are_alike(one, other)
    }


def _compared(pairs: Sequence[tuple[Profile, Profile, str]], kind: Kind) -> Iterator[Match]:
    """Yield pairs of tensors, given with what they share, and how their axes belong together."""
    orders = [] if kind == "weight" else _sure_orders(pairs)
    for one, other, how in pairs:
        way = best_way(one, other, orders)
        shared = how
        if "values" in how and error_of(one, other, way) > _APART:
            if kind == "weight":
                continue  # its axes are in an order that was not found
            shared = " and ".join(word for word in how.split(" and ") if word != "values")
        yield Match(one.tensor, other.tensor, way, shared or "order")


def _read_by(
    pairs: Sequence[tuple[str, str]],
    a: tuple[RunRecord, Sequence[Profile]],
    b: tuple[RunRecord, Sequence[Profile]],
) -> Iterator[tuple[Profile, Profile]]:
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


def _without_copies(profiles: Sequence[Profile], partners: Sequence[Profile]) -> list[Profile]:
    """Return tensors that are partners, or do not have the values of one, as in another layout."""
    known = {id(each) for each in partners}
    return [
        each
        for each in profiles
        if id(each) in known or not any(figures_apart(each, one) < _COPY for one in partners)
    ]


def _without(profiles: list[Profile], names: set[str]) -> list[Profile]:
    return [each for each in profiles if each.tensor.name not in names]


def _sure_orders(pairs: Sequence[tuple[Profile, Profile, str]]) -> list[tuple[int, ...]]:
    """Return the orders of axes by which tensors agree in their values."""
    ways = ((one, other, best_way(one, other)) for one, other, _ in pairs)
    return [way.order for one, other, way in ways if error_of(one, other, way) < _SURE]
