"""Records every call of every layer of a model during a forward pass, in order."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from itertools import chain
from typing import Any

import keras

from runner.capture.call import Call, Observer, leaves, set_names
from runner.deep_models import room_for_depth
from runner.errors import InputError
from runner.keras_models.call_paths import CallPaths
from runner.model.backend import framework
from runner.model.keras_internals import is_inferring, nodes_of
from runner.patching import patched

_MOST_CALLS = 50_000

_watching = threading.RLock()  # Keras's classes are wrapped for one pass at a time


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
    set_names(watcher.finished[:-1])
    return watcher.finished


class _Watcher:
    def __init__(self, observers: Sequence[Observer]) -> None:
        self.finished: list[Call] = []
        self._observers = observers
        self._open: list[Call] = []
        self._paths = CallPaths()
        self._repeats: Counter[tuple[int, int]] = Counter()
        self._nodes: dict[int, tuple[Any, set[int]]] = {}
        self._sizes: dict[int, tuple[Any, int]] = {}
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

    def _calls_in(self, operation: Any) -> int:
        """Return how often a call of a layer or operation calls any, itself included, at least.

        Models nested in models multiply their calls, so they are counted before they are made.
        """
        if not isinstance(operation, keras.Model):
            return 1
        if id(operation) not in self._sizes:
            count = 1 + sum(map(self._calls_in, nodes_of(operation)))
            self._sizes[id(operation)] = operation, count
        return self._sizes[id(operation)][1]

    def _call(self, original: Callable[..., Any], operation: Any, args: Any, kwargs: Any) -> Any:
        parent = self._open[-1] if self._open else None
        call = Call(operation, parent, leaves((*args, *kwargs.values())), depth=len(self._open))
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
        if len(self.finished) + self._calls_in(operation) > _MOST_CALLS:
            raise InputError.of(
                "model",
                f"calls its layers more than {_MOST_CALLS:,} times for one batch",
                "show it with fewer steps or a shorter loop",
            )
        self._open.append(call)
        for observer in self._observers:
            observer.began(call)
        args, kwargs = call.arguments
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
        every = [keras.Layer]
        level: list[type] = every
        while level := [*chain.from_iterable(map(type.__subclasses__, level))]:
            every += level
        self.found = _calling(tuple(map(weakref.ref, every)))

    def of(self, cls: type) -> Any:
        """Return the class whose ``__call__`` runs when an instance of `cls` is called."""
        if cls not in self._of:
            self._of[cls] = next(base for base in cls.__mro__ if base in self.found)
        return self._of[cls]


@functools.lru_cache(maxsize=1)
def _calling(classes: tuple[weakref.ref[type], ...]) -> frozenset[type]:
    """Return the classes whose ``__call__`` runs for instances of some classes.

    They are looked for again only once there are other classes: a pass is as fast as that.
    """
    functions = {cls.__call__: cls for ref in classes if (cls := ref()) is not None}
    return frozenset(
        next(base for base in cls.__mro__ if "__call__" in vars(base)) for cls in functions.values()
    )
