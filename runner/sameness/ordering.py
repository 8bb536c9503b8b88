"""Pairs the tensors of two runs by their order, between pairs that are certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ordering(Generic[T]):
    """How the tensors of two runs are paired by their order.

    Attributes
    ----------
    look
        Returns what two tensors that belong together have in common.
    begins
        Returns whether a tensor is the first that a layer with weights returns.
    """

    look: Callable[[T], Hashable]
    begins: Callable[[T], bool]

    def pairs(
        self, mine: Sequence[T], theirs: Sequence[T], sure: Mapping[int, T]
    ) -> Iterator[tuple[T, T]]:
        """Yield tensors that are in the same order between two pairs that are certain.

        Parameters
        ----------
        mine, theirs
            The tensors of the two runs, in order.
        sure
            The identities of paired tensors of the first run to those of the second.
        """
        known = any(map(self.begins, mine)) and any(map(self.begins, theirs))
        plain = replace(self, look=self._look_with_weights) if known else self
        places = {id(other): place for place, other in enumerate(theirs)}
        taken = {id(other) for other in sure.values()}
        gap: list[T] = []
        start = 0
        ends: list[tuple[T | None, int]] = [
            *((one, places[id(sure[id(one)])] if id(one) in sure else -1) for one in mine),
            (None, len(theirs)),
        ]
        for one, place in ends:
            if one is not None and place < 0:
                gap.append(one)
                continue
            between = theirs[start:place] if place >= start else []
            free = [each for each in between if id(each) not in taken]
            yield from self._layer_by_layer(gap, free) or plain._alike(gap, free)
            gap, start = [], max(start, place + 1)

    def _look_with_weights(self, each: T) -> Hashable:
        return self.look(each), self.begins(each)

    def _layer_by_layer(self, mine: Sequence[T], theirs: Sequence[T]) -> list[tuple[T, T]]:
        """Return the pairs of two gaps, if both have as many layers with weights."""
        alike = {*map(self.look, mine)} & {*map(self.look, theirs)}
        layers = [
            self._layers([each for each in gap if self.look(each) in alike])
            for gap in (mine, theirs)
        ]
        if [not part for part in layers[0]] != [not part for part in layers[1]]:
            return []
        found = [*self._alike(layers[0][0], layers[1][0])]
        for ours, others in zip(layers[0][1:], layers[1][1:], strict=True):
            ends = {self.look(each): each for each in ours}
            last = {self.look(each): each for each in others}
            # What each layer returns after all that it computes comes last.
            found += [(ends[look], last[look]) for look in ends if look in last]
            done = {id(each) for pair in found for each in pair}
            rest = ([each for each in gap if id(each) not in done] for gap in (ours, others))
            found += self._alike(*rest)
        return found

    def _layers(self, gap: Sequence[T]) -> list[list[T]]:
        """Return the tensors before the first layer with weights, and those of each."""
        parts: list[list[T]] = [[]]
        for each in gap:
            if self.begins(each):
                parts.append([])
            parts[-1].append(each)
        return parts

    def _alike(self, mine: Sequence[T], theirs: Sequence[T]) -> Iterator[tuple[T, T]]:
        """Yield the tensors in order for each look that both gaps have equally often."""
        counts = [Counter(map(self.look, gap)) for gap in (mine, theirs)]
        left, right = (
            [each for each in gap if counts[0][self.look(each)] == counts[1][self.look(each)]]
            for gap in (mine, theirs)
        )
        looks, others = ([*map(self.look, gap)] for gap in (left, right))
        for block in SequenceMatcher(None, looks, others, autojunk=False).get_matching_blocks():
            for position in range(block.size):
                yield left[block.a + position], right[block.b + position]
