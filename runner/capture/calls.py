"""Records every call of every layer of a model during a forward pass, in order."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import keras

from runner.capture.call_paths import CallPaths
from runner.deep_models import room_for_depth
from runner.errors import RunError
from runner.model.backend import framework
from runner.model.keras_internals import is_inferring
from runner.patching import patched

_MOST_CALLS = 50_000

Leaf = tuple[str | None, Any]

_watching = threading.RLock()  # Keras's classes are wrapped for one pass at a time


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


class Observer:
    """Base class of observers of layer calls. Every method does nothing by default."""

    def began(self, call: Call) -> None:
        """Handle the start of a call: all of it is known except its outputs."""

    def ended(self, call: Call, returned: Any) -> Any:  # noqa: ARG002
        """Return the value to use in place of the value that a call returned.

        A different value also replaces ``call.outputs``.
        """
        return returned

    def failed(self, call: Call) -> None:
        """Undo the effects of `began` for a call that raises an error."""


def watch(forward: Callable[[], Any], observers: Sequence[Observer] = ()) -> list[Call]:
    """Run a forward pass and return every call in it, in the order of completion.

    Keras has no forward hooks, so ``Layer.__call__`` and ``Operation.__call__`` are wrapped
    during the pass, for this thread alone; so is the ``__call__`` of layer classes that
    define their own. The computation of the layers is unchanged. A compiled function inside
    the model is run as part of the pass: otherwise it would hide its layers.

    Parameters
    ----------
    forward
        Function that calls a model once; the model's call is the root, and last in the
        result.
    observers
        Observers of every call, notified in this order.
    """
    watcher = _Watcher(observers)
    with _watching, room_for_depth(), watcher.installed():
        forward()
    _name(watcher.finished[:-1])
    return watcher.finished


class _Watcher:
    def __init__(self, observers: Sequence[Observer]) -> None:
        self.finished: list[Call] = []
        self._observers = observers
        self._open: list[Call] = []
        self._paths = CallPaths()
        self._repeats: Counter[tuple[int, int]] = Counter()
        self._nodes: dict[int, tuple[Any, set[int]]] = {}
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        operation_class = keras.Operation
        operation_call, operation_init = operation_class.__call__, operation_class.__init__
        calling = _CallingClasses()
        layer_calls = {cls: cls.__call__ for cls in calling.found}

        def wrapped(calling_class: type, layer_call: Callable[..., Any]) -> Callable[..., Any]:
            def call_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
                if (
                    not self._is_mine()
                    or not isinstance(layer, keras.Layer)
                    or _is_symbolic(args, kwargs)
                    or calling.of(type(layer)) is not calling_class  # it called super()
                ):
                    return layer_call(layer, *args, **kwargs)
                return self._call(layer_call, layer, args, kwargs)

            return call_layer

        def call_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._is_mine() or not self._is_node(operation) or _is_symbolic(args, kwargs):
                return operation_call(operation, *args, **kwargs)
            return self._call(operation_call, operation, args, kwargs)

        def made_with(*args: Any, **kwargs: Any) -> Any:
            return signature(operation_init).bind(*args, **kwargs).arguments.get("name")

        def make_operation(operation: Any, *args: Any, **kwargs: Any) -> None:
            operation_init(operation, *args, **kwargs)  # takes a dtype too in older Keras
            if self._is_mine():
                self._paths.note_made(operation, made_with(operation, *args, **kwargs))

        with contextlib.ExitStack() as stack:
            for cls, layer_call in layer_calls.items():
                stack.enter_context(patched(cls, __call__=wrapped(cls, layer_call)))
            stack.enter_context(
                patched(operation_class, __call__=call_operation, __init__=make_operation)
            )
            stack.enter_context(framework().watching(self._is_mine, self._note_read))
            yield

    def _is_mine(self) -> bool:
        """Return whether the current thread is that of the pass."""
        return threading.get_ident() == self._thread

    def _note_read(self, variable: Any) -> None:
        if self._open:
            self._open[-1].read[id(variable)] = variable

    def _is_node(self, operation: Any) -> bool:
        """Return whether an operation is a node of the Functional model being called."""
        if isinstance(operation, keras.Layer) or not self._open:
            return False
        model = self._open[-1].operation
        if id(model) not in self._nodes:
            nodes = {id(node) for node in getattr(model, "operations", ())}
            self._nodes[id(model)] = model, nodes
        return id(operation) in self._nodes[id(model)][1]

    def _call(self, original: Callable[..., Any], operation: Any, args: Any, kwargs: Any) -> Any:
        parent = self._open[-1] if self._open else None
        call = Call(operation, parent, leaves((*args, *kwargs.values())))
        call.keywords = dict(enumerate(kwargs, len(args)))
        call.given = (*args, *kwargs.values())
        if parent is not None:
            call.loop = parent if isinstance(parent.operation, keras.layers.RNN) else parent.loop
            call.made = self._paths.is_made(operation)
            call.layer_path, call.segment, call.index = self._paths.place(operation, parent)
            call.repeat = self._repeats[id(parent), id(operation)]
            self._repeats[id(parent), id(operation)] += 1
            called = f"{call.segment}@{call.repeat}"
            call.indexed = f"{parent.indexed}/{called}" if parent.indexed else called
        if len(self.finished) >= _MOST_CALLS:  # models nested in models multiply their calls
            raise RunError(f"the model calls its layers more than {_MOST_CALLS:,} times")
        self._open.append(call)
        for observer in self._observers:
            observer.began(call)
        try:
            returned = original(operation, *args, **kwargs)
        except BaseException as error:
            for observer in self._observers:
                observer.failed(call)
            if not getattr(error, "__notes__", []):
                error.add_note("in " + "/".join(open_.operation.name for open_ in self._open))
            raise
        finally:
            self._open.pop()
        call.outputs = leaves(returned)
        for observer in self._observers:
            returned = observer.ended(call, returned)
        self.finished.append(call)
        return returned


def _is_symbolic(args: Any, kwargs: Any) -> bool:
    """Return whether a call only infers shapes, as when a layer is built during the pass."""
    return is_inferring(tensor for _, tensor in leaves((*args, *kwargs.values())))


class _CallingClasses:
    """The classes whose ``__call__`` runs when a layer is called."""

    def __init__(self) -> None:
        self._of: dict[type, Any] = {}
        found, waiting = {keras.Layer}, [keras.Layer]
        while waiting:
            for cls in waiting.pop().__subclasses__():
                if cls not in found:
                    waiting.append(cls)
                found.add(cls)
        self.found = {self.of(cls) for cls in found}

    def of(self, cls: type) -> Any:
        """Return the class whose ``__call__`` runs when an instance of `cls` is called."""
        if cls not in self._of:
            self._of[cls] = next(base for base in cls.__mro__ if "__call__" in vars(base))
        return self._of[cls]


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


def _name(calls: Sequence[Call]) -> None:
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
