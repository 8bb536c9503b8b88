"""A call of a layer during a forward pass, and what observes the calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.tensors import Kind

Leaf = tuple[str | None, Any]


@dataclass(eq=False)
class Call:
    """One call of one layer, or of one operation node of a Functional model.

    Attributes
    ----------
    operation
        The layer or operation that was called.
    parent
        The call that made this call; ``None`` for the model's own.
    inputs
        The input tensors, each with its place among the arguments.
    layer_path
        Names of the operations from below the model down to this one, joined by
        ``/``; ``#2`` marks a second operation of the same name in the same place.
    index
        Index of the call among those of the same `layer_path`, from 0.
    indexed
        The call path with the index of every call in it: ``block@0/dense@1``.
    segment
        The last part of `layer_path`.
    depth
        The number of calls that had not ended when it began.
    repeat
        Index of the call among those of its operation inside `parent`, from 0.
    made
        Whether the operation was made during the pass, by the layer that called it.
    loop
        The call of the recurrent layer that runs this one inside its loop, if any.
    keywords
        Position to name of the keyword arguments.
    given
        All arguments: the positional ones, then the keyword arguments.
    outputs
        The returned tensors, each leaf with its place in the structure: ``None`` for a
        plain tensor, else ``0``, ``state``, ``1.state``... Empty until the call ends.
    pre_activation
        The input of the layer's ``activation``, if that was called once and its result
        is the layer's output; else ``None``.
    gradients
        Gradients of a loss with respect to `outputs`, each with its place, if requested
        and available.
    no_gradient
        The reason why there is no gradient, for each of the other places.
    read
        The framework's variables that were read in the call, outside the calls inside it, by
        their identity.
    name
        The call path: `layer_path`, followed by ``@k`` if several calls have the same
        path. Known after the whole pass.
    """

    operation: Any
    parent: Call | None
    inputs: list[Leaf]
    layer_path: str = ""
    index: int = 0
    indexed: str = ""
    segment: str = ""
    depth: int = 0
    repeat: int = 0
    made: bool = False
    loop: Call | None = None
    keywords: dict[int, str] = field(default_factory=dict)
    given: tuple[Any, ...] = ()
    outputs: list[Leaf] = field(default_factory=list)
    pre_activation: Any = None
    gradients: list[Leaf] = field(default_factory=list)
    no_gradient: dict[str | None, str] = field(default_factory=dict)
    read: dict[int, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional arguments, and the keyword arguments by name."""
        count = len(self.given) - len(self.keywords)
        return self.given[:count], {name: self.given[at] for at, name in self.keywords.items()}


class Observer:
    """Base class of observers of layer calls. Every method does nothing by default."""

    def began(self, call: Call) -> None:
        """Handle the start of a call: all of it is known except its outputs.

        The call is made with the arguments that ``call.given`` has afterwards.
        """

    def ended(self, call: Call, returned: Any) -> Any:  # noqa: ARG002
        """Return the value to use in place of the value that a call returned.

        An observer that returns a different value decides which one ``call.outputs`` holds.
        """
        return returned

    def failed(self, call: Call) -> None:
        """Undo the effects of `began` for a call that raises an error."""


_OF_KIND: dict[Kind, Callable[[Call, Callable[[Any], bool]], list[Leaf]]] = {
    "activation": lambda call, _: call.outputs,
    "pre_activation": lambda call, _: (
        [] if call.pre_activation is None else [(None, call.pre_activation)]
    ),
    "input": lambda call, is_tensor: _given(call, is_tensor),
}


def tensors_of(call: Call, kind: Kind, is_tensor: Callable[[Any], bool]) -> list[Leaf]:
    """Return the tensors of a kind that a call was given, computed or returned.

    Parameters
    ----------
    call
        A call that has ended.
    kind
        Kind of tensors that a call has before its gradients are known.
    is_tensor
        Function that returns whether a value is a tensor.
    """
    return _OF_KIND[kind](call, is_tensor)


def _given(call: Call, is_tensor: Callable[[Any], bool]) -> list[Leaf]:
    given = [leaf for leaf in call.inputs if is_tensor(leaf[1])]
    return [(None, given[0][1])] if len(given) == 1 else given


def leaves(structure: Any) -> list[Leaf]:
    """Return the leaves of nested lists, tuples and mappings, each with its place.

    ``None`` is not a leaf. The place of a plain value is ``None``.
    """
    if structure is None:
        return []
    if isinstance(structure, Mapping):
        items = [(str(key), value) for key, value in structure.items()]
    elif isinstance(structure, (list, tuple)):
        items = [(str(position), value) for position, value in enumerate(structure)]
    else:
        return [(None, structure)]
    return [
        (place if below is None else f"{place}.{below}", leaf)
        for place, value in items
        for below, leaf in leaves(value)
    ]


def mapped(change: Callable[[Any], Any], structure: Any) -> Any:
    """Return nested lists, tuples and mappings with a function applied to every leaf."""
    if structure is None:
        return None
    if isinstance(structure, Mapping):
        return {key: mapped(change, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        changed = [mapped(change, value) for value in structure]
        if hasattr(structure, "_fields"):  # a named tuple
            return type(structure)(*changed)
        return type(structure)(changed)
    return change(structure)


def set_names(calls: Sequence[Call]) -> None:
    """Set the name of every call, once the number of calls of each layer is known.

    Parameters
    ----------
    calls
        All calls except the model's own, in the order of completion.
    """
    times = Counter((id(call.parent), id(call.operation)) for call in calls)
    for call in reversed(calls):  # a parent comes after the calls inside it
        again = times[id(call.parent), id(call.operation)] > 1
        called = f"{call.segment}@{call.repeat}" if again else call.segment
        assert call.parent is not None, "only the model's own call has no parent"
        call.name = f"{call.parent.name}/{called}" if call.parent.name else called
