"""The graph of a declared model: which layer feeds which."""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from typing import Any

from runner.errors import Problem, suggest

CallArguments = str | list[str] | dict[str, Any]
"""Call arguments of a layer: one tensor, a list of tensors, or keyword arguments by name."""

_NAME_BYTES = 200
"""Limit on a name; leaves room for the rest of a table's file name, which has 255 bytes at most."""


@dataclass(frozen=True)
class LayerGraph:
    """Layers and the tensors that they are called on, possibly invalid.

    Attributes
    ----------
    inputs
        Names of the model's inputs.
    calls
        Call arguments by layer name, in the order declared. A text is a tensor: the name of
        a layer or an input, or ``lstm:1`` for one of several outputs of a layer.
    outputs
        Tensors that the model returns.
    """

    inputs: tuple[str, ...]
    calls: Mapping[str, CallArguments]
    outputs: tuple[str, ...]

    def call_order(self) -> tuple[str, ...]:
        """Return the layers in topological order, as declared where there is a choice.

        Raises
        ------
        graphlib.CycleError
            If the graph has a cycle.
        """
        sorter = TopologicalSorter(
            {
                name: [feeder for feeder in self._feeders(name) if feeder in self.calls]
                for name in self.calls
            }
        )
        sorter.prepare()
        positions = {name: position for position, name in enumerate(self.calls)}
        ready: list[tuple[int, str]] = []
        order = []
        while sorter.is_active():
            for name in sorter.get_ready():
                heapq.heappush(ready, (positions[name], name))
            _, name = heapq.heappop(ready)
            order.append(name)
            sorter.done(name)
        return tuple(order)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the graph, with key paths relative to the model."""
        yield from or_else(chain(self._undefined(), self._cycles()), self._unused())

    def _feeders(self, name: str) -> list[str]:
        return [_owner(tensor) for tensor in tensors_of(self.calls[name])]

    def _undefined(self) -> Iterator[Problem]:
        defined = {*self.inputs, *self.calls}
        for name in self.calls:
            place = f"layers.{printable(name)}.inputs"
            tensors = tensors_of(self.calls[name])
            if not tensors:
                advice = f"name its input: {', '.join(self.inputs)} or a layer"
                yield Problem(place, f"'{name}' has no input", advice)
            for tensor in tensors:
                if _owner(tensor) not in defined:
                    yield self._not_there(place, f"'{name}': input '{tensor}' is undefined", tensor)
        if not self.outputs:
            yield Problem("outputs", "expected at least one layer, found none")
        for tensor in self.outputs:
            if _owner(tensor) not in self.calls:
                yield self._not_there("outputs", f"'{tensor}' is not a layer", tensor)
            if self.outputs.count(tensor) > 1:
                yield Problem("outputs", f"'{tensor}' is named more than once")

    def _not_there(self, place: str, message: str, tensor: str) -> Problem:
        names = [*self.calls] if place == "outputs" else [*self.inputs, *self.calls]
        advice = suggest(_owner(tensor), names) or f"layers are {', '.join(names)}"
        return Problem(place, message, advice)

    def _cycles(self) -> Iterator[Problem]:
        try:
            self.call_order()
        except CycleError as error:
            cycle = error.args[1]
            place = f"layers.{printable(cycle[-1])}.inputs"
            yield Problem(place, f"the layers form a cycle: {' -> '.join(cycle)}")

    def _unused(self) -> Iterator[Problem]:
        reached: set[str] = set()
        waiting = [_owner(tensor) for tensor in self.outputs]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self._feeders(name) if name in self.calls else ()
        for name in self.calls:
            if name not in reached:
                yield Problem(
                    f"layers.{printable(name)}",
                    f"'{name}' feeds no output of the model",
                    "name it in the inputs of a later layer or in outputs, or remove it",
                )
        for name in self.inputs:
            if name not in reached:
                advice = "name it in the inputs of a layer, or remove it"
                yield Problem(f"inputs.{printable(name)}", f"no output depends on '{name}'", advice)


def or_else(problems: Iterator[Problem], others: Iterator[Problem]) -> Iterator[Problem]:
    """Yield the problems, or the others if there are none; each is looked for when it is needed."""
    first = next(problems, None)
    yield from others if first is None else chain([first], problems)


def tensors_of(arguments: CallArguments) -> list[str]:
    """Return the tensors among the call arguments of a layer."""
    if isinstance(arguments, str):
        return [arguments]
    values = arguments.values() if isinstance(arguments, dict) else arguments
    return [value for value in values if isinstance(value, str)]


def name_problems(inputs: Sequence[tuple[str, str]], layers: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each name that is forbidden or too similar to another one.

    Parameters
    ----------
    inputs
        Name and key path of each input of the model.
    layers
        Names of the layers.
    """
    first: dict[str, tuple[str, str]] = {}
    for name, place in [*inputs, *((name, f"layers.{printable(name)}") for name in layers)]:
        yield from _forbidden(name, place)
        alike = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        other, elsewhere = first.setdefault(alike, (name, place))
        if elsewhere == place:
            continue
        if other == name:
            yield Problem(place, f"'{name}' is also the name of model.{elsewhere}", "rename one")
        else:
            yield Problem(
                place,
                f"'{name}' and '{other}' (model.{elsewhere}) differ only in letter case "
                "or in how an accent is encoded",
                "rename one: files would clash on macOS and Windows",
            )


def _forbidden(name: str, place: str) -> Iterator[Problem]:
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name.strip():
        yield Problem(place, "a name is empty")
    elif name in (".", ".."):
        yield Problem(place, f"'{name}' means a folder in a path", "rename it")
    elif size > _NAME_BYTES:
        yield Problem(place, f"the name has {size} bytes, the limit is {_NAME_BYTES}")
    for character in dict.fromkeys(name):
        if character in "/@:" or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            yield Problem(place, f"forbidden character {character!r} in a name", "use another name")


def _owner(tensor: str) -> str:
    return tensor.partition(":")[0]


def printable(name: str) -> str:
    """Return a name for a key path: unprintable characters escaped, cut if very long."""
    text = repr(name)[1:-1] or "''"
    return text if len(text) <= 60 else f"{text[:57]}..."
