"""Compares what many containers hold with what they held before, all at once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

_values_of: Callable[[Mapping[Any, Any]], Collection[Any]] = operator.methodcaller("values")


class Membership:
    """The members of containers at the moment of its creation, by identity.

    All containers are compared in a few calls that loop in C: a model refers to hundreds, before
    and after every pass.

    Parameters
    ----------
    mappings
        Mappings, whose keys and values are members.
    others
        Lists, sets and other containers.
    """

    def __init__(
        self, mappings: Sequence[Mapping[Any, Any]], others: Sequence[Collection[Any]]
    ) -> None:
        self._containers = (*mappings, *others)
        self._mappings = [*filter(len, mappings)]
        self._filled = [*filter(len, self._containers)]
        self._lengths = self._present_lengths()
        self._members = [*self._present_members()]

    def is_same(self) -> bool:
        """Return whether every container has the same members still, in the same order."""
        return self._present_lengths() == self._lengths and all(
            map(operator.is_, self._present_members(), self._members)
        )

    def _present_lengths(self) -> list[int]:
        return [*map(len, self._containers)]

    def _present_members(self) -> Iterator[Any]:
        """Return the members of those that are not empty: most are."""
        keys_and_members = chain.from_iterable(self._filled)
        return chain(keys_and_members, chain.from_iterable(map(_values_of, self._mappings)))


class Named(Mapping[str, Any]):
    """Some of the attributes of an object, or of the entries of a dictionary, as they are now."""

    def __init__(self, thing: Any, names: Iterable[str]) -> None:
        self._thing = thing
        self._names = [*names]

    def __getitem__(self, name: str) -> Any:
        thing = self._thing
        return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
