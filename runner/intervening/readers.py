"""Which calls of a model read what others returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runner.capture.inventory import Layer


class Readers:
    """The calls of a model, and the activations that each of them reads.

    Parameters
    ----------
    layers
        The layers of the model, with the wiring of their calls.
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._read: dict[str, set[str]] = {}
        self._readers: dict[str, set[str]] = {}
        for call in (call for layer in layers for call in layer.calls):
            read = {wire.tensor for wire in call.wires if wire.tensor is not None}
            read.update(_named([[wire.derivation for wire in call.wires], call.derivations]))
            self._read.setdefault(call.name, set()).update(read)
            for name in read:
                self._readers.setdefault(name, set()).add(call.name)

    def following(self, name: str, most: int) -> list[str]:
        """Return the names of calls, each of which alone reads what the one before it returned.

        Parameters
        ----------
        name
            The name of the output that the first of the calls reads.
        most
            The largest number of calls to return.
        """
        found: list[str] = []
        while len(found) < most:
            readers = self._of(name)
            name = max(readers, key=len, default="")
            if not name or name in found or not readers <= {*_with_parents(name)}:
                break
            found.append(name)
        return found

    def beside(self, name: str) -> list[str]:
        """Return the activations that do not depend on an output, but are read by calls that do."""
        after, waiting = set[str](), [name]
        while waiting:
            new = self._of(waiting.pop()) - after
            after |= new
            waiting += new
        read = {one for call in after for one in self._read[call]}
        around = {above for one in (name, *after) for above in _with_parents(one)}
        return sorted(read - around)

    def _of(self, name: str) -> set[str]:
        """Return the calls that read an output under its own name or that of a call around it."""
        names = (one for one in _with_parents(name) if one in self._readers)
        return {*self._readers[first]} if (first := next(names, None)) else set()


def _named(description: Any) -> Iterator[str]:
    """Yield the names of the activations in a description of how a tensor was computed."""
    if isinstance(description, dict):
        if isinstance(description.get("tensor"), str):
            yield description["tensor"]
        description = list(description.values())
    if isinstance(description, list):
        for one in description:
            yield from _named(one)


def _with_parents(name: str) -> Iterator[str]:
    """Yield the name of a call, and those of the calls around it, the innermost first."""
    while name:
        yield name
        name = name.rpartition("/")[0]
