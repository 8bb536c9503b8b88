"""The ways to pair the tensors of two runs: by name, by order, or by what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config.strict import not_among
from runner.errors import InputError

if TYPE_CHECKING:  # the names of the ways are shown without reading a run
    from runner.record.layer_record import TensorRecord
    from runner.record.record import RunRecord
    from runner.runs.published_run import Run
    from runner.sameness.matching import Match
    from runner.sameness.rearrangement import Rearrangement


@dataclass(frozen=True)
class Pair:
    """A tensor of each of two runs; ``None`` where a run has none that belongs to the other's.

    Attributes
    ----------
    a, b
        The tensors.
    rearranged
        How `b` is rearranged to be compared with `a`; ``None`` if it is compared as it is.
    how
        What the two have in common, if they were found by it.
    why
        Why there is none in a run, if it is known.
    left_out
        Whether there may be none.
    into
        The activation of the first run into whose counterpart `a` was fused, if it was.
    """

    a: TensorRecord | None
    b: TensorRecord | None
    rearranged: Rearrangement | None = None
    how: str | None = None
    why: str | None = None
    left_out: bool = False
    into: str | None = None


def paired(a: Run, b: Run, align: str | None, map: Path | None = None) -> Iterator[Pair]:
    """Return pairs of tensors of two runs, in the call order of the first run.

    A tensor that the other run lacks is paired with ``None``.

    Parameters
    ----------
    a, b
        The runs.
    align
        The way; by default ``name``, or ``match`` if fewer than half of the names are in both.
    map
        File that names the pairs instead. If it does not exist, the tensors are matched, and it is
        written.

    Raises
    ------
    InputError
        If there is no such way, it is given beside a file, or the file names tensors that do not
        exist or fit.
    """
    if map is not None:
        if align is not None:
            message = f"'{align}' is given beside a map, which pairs the layers itself"
            raise InputError.of("align", message, "leave one of them out")
        return matched(a, b, _mapped(a, b, map))
    if align is None:
        align = "name" if _share_names(a.record, b.record) else "match"
    if align not in PAIRINGS:
        raise InputError([not_among("align", align, PAIRINGS)])
    return PAIRINGS[align](a, b)


def _mapped(a: Run, b: Run, path: Path) -> Sequence[Match]:
    from runner.sameness.matching import matches
    from runner.sameness.tensor_map import read_map, write_map

    if path.exists():
        return read_map(path, _tensors_of(a), _tensors_of(b))
    found = matches(a, b)
    write_map(path, found)
    return found


def _share_names(a: RunRecord, b: RunRecord) -> bool:
    from runner.sameness.naming import go_by_names

    mine, theirs = (
        {tensor.name for tensor in record.tensors if tensor.per_sample} for record in (a, b)
    )
    return go_by_names(mine, theirs)


def _tensors_of(run: Run) -> Sequence[TensorRecord]:
    own = [tensor for tensor in run.record.tensors if tensor.alias_of is None]
    return sorted(own, key=lambda tensor: tensor.order)


def _by_name(a: Run, b: Run) -> Iterator[Pair]:
    named = {(t.kind, t.name): t for t in _tensors_of(b)}
    for tensor in _tensors_of(a):
        yield Pair(tensor, named.pop((tensor.kind, tensor.name), None))
    for tensor in named.values():
        yield Pair(None, tensor)


def _by_order(a: Run, b: Run) -> Iterator[Pair]:
    mine, theirs = _tensors_of(a), _tensors_of(b)
    for kind in dict.fromkeys(t.kind for t in (*mine, *theirs)):
        own = ([t for t in tensors if t.kind == kind] for tensors in (mine, theirs))
        for one, other in zip_longest(*own):
            yield Pair(one, other)


def _by_match(a: Run, b: Run) -> Iterator[Pair]:
    from runner.sameness.matching import matches

    found = matches(a, b)
    if not found:
        raise InputError.of("align", f"no tensor of run {b.id} belongs to one of run {a.id}")
    return matched(a, b, found)


def matched(a: Run, b: Run, matches: Sequence[Match]) -> Iterator[Pair]:
    """Yield the matched tensors of two runs, and those that are left out, in call order."""
    from runner.sameness.matching import fused_into
    from runner.sameness.restated import WHY, restated_in

    found = {(match.a.kind, match.a.name): match for match in matches}
    activations = [match for match in matches if match.a.kind == "activation"]
    fused = fused_into(a.record, {match.a.name: match.b.name for match in activations})
    owners = {match.b.name: match.a.name for match in activations}
    whole = {match.a.layer_path for match in activations}
    twice = [restated_in(run.record) for run in (a, b)]
    taken = {(match.b.kind, match.b.name) for match in matches}
    free = Counter(
        tensor.shape
        for tensor in _tensors_of(b)
        if tensor.kind == "activation"
        and (tensor.kind, tensor.name) not in taken
        and tensor.name not in twice[1]
    )
    for tensor in _tensors_of(a):
        match = found.get((tensor.kind, tensor.name))
        if match is None:
            if tensor.per_sample:
                into, alike = fused.get(tensor.name), free[tensor.shape]
                why = None if into is None else f"fused into {into}"
                if tensor.kind == "activation" and tensor.name in twice[0]:
                    why = WHY
                elif why is None and alike:
                    why = f"{alike} of its shape are left in the other run, none is surely its own"
                yield Pair(tensor, None, why=why, left_out=True, into=owners.get(into or ""))
        elif tensor.per_sample or match.how == "map" or tensor.layer_path in whole:
            yield Pair(match.a, match.b, match.rearranged, match.how)
        else:  # with the weights of the layers that were fused with its own
            yield Pair(tensor, None, why=f"folded into {match.b.name}", left_out=True)
    for tensor in _tensors_of(b):
        if tensor.per_sample and (tensor.kind, tensor.name) not in taken:
            is_restated = tensor.kind == "activation" and tensor.name in twice[1]
            yield Pair(None, tensor, why=WHY if is_restated else None, left_out=True)


PAIRINGS: dict[str, Callable[[Run, Run], Iterator[Pair]]] = {
    "name": _by_name,
    "order": _by_order,
    "match": _by_match,
}
"""By name: how the tensors of two runs are paired."""
