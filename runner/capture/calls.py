"""What happens inside a model while it runs: every call of every layer, in order."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from runner.capture.call_paths import CallPaths
from runner.deep_models import room_for_depth

Leaf = tuple[str | None, Any]

_TracedFunction: Any = type(tf.function(lambda: None))

_NO_SCOPE = re.compile(r"[^A-Za-z0-9_./-]")

_watching = threading.RLock()  # Keras's classes are wrapped for one pass at a time


@dataclass(eq=False)
class Call:
    """One call of one layer, or of one operation node of a Functional model.

    Attributes
    ----------
    operation
        The layer or operation that was called.
    parent
        The call inside which it happened; ``None`` for the model's own.
    inputs
        The tensors given to it, each with its place among the arguments.
    layer_path
        Names of the operations from below the model down to this one, joined by
        ``/``; ``#2`` tells a second operation of the same name in one place apart.
    index
        Which call of `layer_path` this is, from 0.
    segment
        The last part of `layer_path`.
    repeat
        Which call of its operation inside `parent` this is, from 0.
    made
        Whether the operation was made during the pass, by the layer that called it.
    loop
        The call of the recurrent layer that runs this one inside its loop, if any.
    keywords
        Position to name of the arguments that were given by name.
    given
        All that was given to it, by position, then what was given by name.
    outputs
        What it returned, each leaf with its place in the structure: ``None`` for a
        plain tensor, else ``0``, ``state``, ``1.state``... Empty until it is over.
    pre_activation
        What went into the layer's ``activation``, where that was called once and
        its result is the layer's output; else ``None``.
    gradients
        Gradients of a loss with respect to `outputs`, each with its place, where they were
        asked for and there are any.
    no_gradient
        Why there is none, for each of the other places.
    name
        The call path: as `layer_path`, and ``@k`` behind whatever is called more
        than once in its place. Known when the whole pass is over.
    """

    operation: Any
    parent: Call | None
    inputs: list[Leaf]
    layer_path: str = ""
    index: int = 0
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
    name: str = ""


class Observer:
    """Looks on while layers are called. This one does nothing; others override what they need."""

    def began(self, call: Call) -> None:
        """Take note of a call that begins: all of it is known but what comes out."""

    def ended(self, call: Call, returned: Any) -> Any:  # noqa: ARG002
        """Return what is to go on in place of what a call returned.

        An observer that returns something else decides what ``call.outputs`` are.
        """
        return returned

    def failed(self, call: Call) -> None:
        """Undo what `began` did to a call that raises an error."""


def watch(forward: Callable[[], Any], observers: Sequence[Observer] = ()) -> list[Call]:
    """Run a forward pass and return every call of it, in the order of completion.

    Keras has no forward hooks, so ``Layer.__call__`` and ``Operation.__call__`` are
    wrapped for the length of the pass, for this thread alone; so is the ``__call__`` of
    layer classes that have their own. What the layers compute is not touched. A
    ``tf.function`` inside the model is run as part of the pass: on its own it would hide
    its layers, and keep this pass's tensors in a trace that outlives it. So is what
    ``tf.recompute_grad`` (a remat scope of Keras) would hide from a gradient.

    Parameters
    ----------
    forward
        Calls a model once; the model's own call is the root, the last of the result.
    observers
        Are shown every call, in this order.
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
        operation_class, graph_class = keras.Operation, tf.Graph
        operation_call, name_scope = operation_class.__call__, graph_class.name_scope
        operation_init, recompute = operation_class.__init__, tf.recompute_grad
        calling = _CallingClasses()
        layer_calls = {cls: cls.__call__ for cls in calling.found}
        function_call = _TracedFunction.__call__

        def wrapped(calling_class: type, layer_call: Callable[..., Any]) -> Callable[..., Any]:
            def call_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
                if (
                    threading.get_ident() != self._thread
                    or not isinstance(layer, keras.Layer)
                    or _is_symbolic(args, kwargs)
                    or calling.of(type(layer)) is not calling_class  # it called super()
                ):
                    return layer_call(layer, *args, **kwargs)
                return self._call(layer_call, layer, args, kwargs)

            return call_layer

        def call_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if (
                threading.get_ident() != self._thread
                or not self._is_node(operation)
                or _is_symbolic(args, kwargs)
            ):
                return operation_call(operation, *args, **kwargs)
            return self._call(operation_call, operation, args, kwargs)

        def make_operation(operation: Any, name: str | None = None) -> None:
            operation_init(operation, name=name)
            if threading.get_ident() == self._thread:
                self._paths.note_made(operation, name)

        def call_function(function: Any, *args: Any, **kwargs: Any) -> Any:
            # One that is compiled computes by other kernels, and is left to do so.
            if threading.get_ident() != self._thread or getattr(function, "_jit_compile", None):
                return function_call(function, *args, **kwargs)
            return function.python_function(*args, **kwargs)

        def computed_once(function: Any) -> Any:
            return recompute(function) if threading.get_ident() != self._thread else function

        def scope_of_any_name(graph: Any, name: str | None) -> Any:
            # A layer may be called anything; a scope of TensorFlow's graph may not.
            fit = _NO_SCOPE.sub("_", name) if name else name
            return name_scope(graph, f".{fit}" if fit and fit[0] in "_/-" else fit)

        for cls, layer_call in layer_calls.items():
            cls.__call__ = wrapped(cls, layer_call)
        operation_class.__call__ = call_operation
        operation_class.__init__ = make_operation
        graph_class.name_scope = scope_of_any_name
        _TracedFunction.__call__ = call_function
        tf.recompute_grad = computed_once
        try:
            yield
        finally:
            for cls, layer_call in layer_calls.items():
                cls.__call__ = layer_call
            operation_class.__call__ = operation_call
            operation_class.__init__ = operation_init
            graph_class.name_scope = name_scope
            _TracedFunction.__call__ = function_call
            tf.recompute_grad = recompute

    def _is_node(self, operation: Any) -> bool:
        """Tell whether an operation is a node of the Functional model being called."""
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
    """Tell whether a call only finds out shapes, as when a layer is made and built in the pass."""
    given = (*args, *kwargs.values())
    return in_symbolic_scope() or any(
        isinstance(tensor, keras.KerasTensor) for _, tensor in leaves(given)
    )


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

    ``None`` is no leaf. A plain value has the place ``None``.
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
    """Give every call its name, now that it is known what is called how often.

    Parameters
    ----------
    calls
        All but the model's own, in the order of completion.
    """
    times = Counter((id(call.parent), id(call.operation)) for call in calls)
    for call in reversed(calls):  # a parent comes after all that it calls
        again = times[id(call.parent), id(call.operation)] > 1
        called = f"{call.segment}@{call.repeat}" if again else call.segment
        assert call.parent is not None, "only the model's own call has no parent"
        call.name = f"{call.parent.name}/{called}" if call.parent.name else called
