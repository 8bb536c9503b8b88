"""What happens inside a model while it runs: every call of every layer, in order."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

Leaf = tuple[str | None, Any]

_TracedFunction: Any = type(tf.function(lambda: None))

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
    keywords
        Position to name of the arguments that were given by name.
    given
        All that was given to it, by position, then what was given by name.
    outputs
        What it returned, each leaf with its place in the structure: ``None`` for a
        plain tensor, else ``0``, ``state``, ``1.state``...
    pre_activation
        What went into the layer's ``activation``, where that was called once and
        its result is the layer's output; else ``None``.
    gradients
        Gradients of a loss with respect to `outputs`, each with its place, where they were
        asked for and there are any.
    no_gradient
        Why there is none for one of `outputs`.
    loop
        The call of the recurrent layer that runs this one inside its loop, if any.
    layer_path
        Names of the operations from below the model down to this one, joined by
        ``/``; ``#2`` tells a second operation of the same name in one place apart.
    name
        The call path: as `layer_path`, and ``@k`` behind whatever is called more
        than once in its place.
    index
        Which call of `layer_path` this is, from 0.
    """

    operation: Any
    parent: Call | None
    inputs: list[Leaf]
    keywords: dict[int, str] = field(default_factory=dict)
    given: tuple[Any, ...] = ()
    outputs: list[Leaf] = field(default_factory=list)
    pre_activation: Any = None
    gradients: list[Leaf] = field(default_factory=list)
    no_gradient: str | None = None
    loop: Call | None = None
    layer_path: str = ""
    name: str = ""
    index: int = 0


def watch(
    forward: Callable[[], Any],
    *,
    pre_activations: bool = False,
    tape: tf.GradientTape | None = None,
) -> list[Call]:
    """Run a forward pass and return every call of it, in the order of completion.

    Keras has no forward hooks, so ``Layer.__call__`` and ``Operation.__call__`` are
    wrapped for the length of the pass, for this thread alone; so is the ``__call__`` of
    layer classes that have their own. What the layers compute is not touched. A
    ``tf.function`` inside the model is run as part of the pass: on its own it would hide
    its layers, and keep this pass's tensors in a trace that outlives it.

    Parameters
    ----------
    forward
        Calls a model once; the model's own call is the root, the last of the result.
    pre_activations
        Whether to look for what goes into each layer's activation function.
    tape
        Is told to watch all that layers put out.
    """
    watcher = _Watcher(pre_activations, tape)
    with _watching, watcher.installed():
        forward()
    _name(watcher.finished[:-1])
    return watcher.finished


class _Watcher:
    def __init__(self, pre_activations: bool, tape: tf.GradientTape | None) -> None:
        self.finished: list[Call] = []
        self._tape = tape
        self._open: list[Call] = []
        self._pre_activations = pre_activations
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        operation_class, graph_class = keras.Operation, tf.Graph
        operation_call, name_scope = operation_class.__call__, graph_class.name_scope
        layer_calls = {cls: cls.__call__ for cls in _calling_classes()}
        function_call = _TracedFunction.__call__

        def wrapped(calling_class: type, layer_call: Callable[..., Any]) -> Callable[..., Any]:
            def call_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
                if (
                    threading.get_ident() != self._thread
                    or not isinstance(layer, keras.Layer)
                    or _calling_class(type(layer)) is not calling_class  # it called super()
                ):
                    return layer_call(layer, *args, **kwargs)
                return self._call(layer_call, layer, args, kwargs)

            return call_layer

        def call_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread or not self._is_node(operation):
                return operation_call(operation, *args, **kwargs)
            return self._call(operation_call, operation, args, kwargs)

        def call_function(function: Any, *args: Any, **kwargs: Any) -> Any:
            # One that is compiled computes by other kernels, and is left to do so.
            if threading.get_ident() != self._thread or getattr(function, "_jit_compile", None):
                return function_call(function, *args, **kwargs)
            return function.python_function(*args, **kwargs)

        def scope_of_any_name(graph: Any, name: str | None) -> Any:
            # A layer may be called anything; a scope of TensorFlow's graph may not.
            return name_scope(graph, re.sub(r"[^A-Za-z0-9_./-]", "_", name) if name else name)

        for cls, layer_call in layer_calls.items():
            cls.__call__ = wrapped(cls, layer_call)
        operation_class.__call__ = call_operation
        graph_class.name_scope = scope_of_any_name
        _TracedFunction.__call__ = call_function
        try:
            yield
        finally:
            for cls, layer_call in layer_calls.items():
                cls.__call__ = layer_call
            operation_class.__call__ = operation_call
            graph_class.name_scope = name_scope
            _TracedFunction.__call__ = function_call

    def _is_node(self, operation: Any) -> bool:
        """Tell whether an operation is a node of the Functional model being called."""
        if isinstance(operation, keras.Layer) or not self._open:
            return False
        nodes = getattr(self._open[-1].operation, "operations", ())
        return any(node is operation for node in nodes)

    def _call(self, original: Callable[..., Any], operation: Any, args: Any, kwargs: Any) -> Any:
        parent = self._open[-1] if self._open else None
        call = Call(operation, parent, leaves((*args, *kwargs.values())))
        call.keywords = dict(enumerate(kwargs, len(args)))
        call.given = (*args, *kwargs.values())
        if parent is not None:
            call.loop = parent if isinstance(parent.operation, keras.layers.RNN) else parent.loop
        self._open.append(call)
        try:
            with self._activation_watched(operation) as activations:
                returned = original(operation, *args, **kwargs)
        except Exception as error:
            if not getattr(error, "__notes__", []):
                error.add_note("in " + "/".join(open_.operation.name for open_ in self._open))
            raise
        finally:
            self._open.pop()
        call.outputs = leaves(returned)
        if self._tape is not None and call.loop is None:
            for _, tensor in call.outputs:
                if isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating:
                    self._tape.watch(tensor)
        if len(activations) == 1 and activations[0][1] is returned:
            call.pre_activation = activations[0][0]
        self.finished.append(call)
        return returned

    @contextlib.contextmanager
    def _activation_watched(self, layer: Any) -> Iterator[list[tuple[Any, Any]]]:
        seen: list[tuple[Any, Any]] = []
        activation = vars(layer).get("activation") if self._pre_activations else None
        if not callable(activation) or isinstance(activation, keras.Layer):
            yield seen
            return

        def watched(value: Any, *args: Any, **kwargs: Any) -> Any:
            result = activation(value, *args, **kwargs)
            seen.append((value, result))
            return result

        layer.activation = watched
        try:
            yield seen
        finally:
            layer.activation = activation


def _calling_class(cls: type) -> Any:
    """Return the class whose ``__call__`` runs when an instance of `cls` is called."""
    return next(base for base in cls.__mro__ if "__call__" in vars(base))


def _calling_classes() -> set[Any]:
    found, waiting = {keras.Layer}, [keras.Layer]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            if cls not in found:
                waiting.append(cls)
            found.add(cls)
    return {_calling_class(cls) for cls in found}


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


def _name(calls: list[Call]) -> None:
    """Give every call its name, now that it is known what is called how often."""
    siblings: dict[tuple[int, int], list[Call]] = {}
    for call in calls:
        siblings.setdefault((id(call.parent), id(call.operation)), []).append(call)
    segments: dict[tuple[str, str], Any] = {}
    indices: dict[str, int] = {}
    named: set[int] = set()

    def name(call: Call) -> None:
        if id(call) in named or call.parent is None:
            return
        named.add(id(call))
        name(call.parent)
        parent_path = call.parent.layer_path
        segment, position = call.operation.name, 1
        while segments.setdefault((parent_path, segment), call.operation) is not call.operation:
            position += 1
            segment = f"{call.operation.name}#{position}"
        again = siblings[id(call.parent), id(call.operation)]
        repeat = next(i for i, other in enumerate(again) if other is call)
        call.layer_path = f"{parent_path}/{segment}" if parent_path else segment
        called = f"{segment}@{repeat}" if len(again) > 1 else segment
        call.name = f"{call.parent.name}/{called}" if call.parent.name else called

    for call in calls:
        name(call)
    for call in calls:
        call.index = indices.get(call.layer_path, 0)
        indices[call.layer_path] = call.index + 1
