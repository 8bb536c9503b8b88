"""The attributes, lists and counters of the Python objects that a model refers to."""

from __future__ import annotations

import collections
import functools
import io
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from runner.capture.containers import Put, contents
from runner.capture.iterators import (
    METHODS,
    Copies,
    holds_iterator,
    is_iterator,
    refusal_of,
    seen_through,
)
from runner.model.backend import framework
from runner.model.keras_internals import TRACKERS, all_layers

# Packages whose functions and objects are skipped, except layers and their attributes.
_LIBRARIES = sys.stdlib_module_names - {"__main__"} | {
    "keras", "tensorflow", "numpy", "scipy", "pandas", "pyarrow", "sklearn", "jax", "torch",
    "h5py", "absl", "google", "ml_dtypes", "wrapt", "pytest", "_pytest", "runner",
}  # fmt: skip
_PLAIN = (
    bool, int, float, complex, str, bytes, type(None), type, types.ModuleType, np.generic,
    keras.KerasTensor, keras.Variable,
)  # fmt: skip
_HOLDERS = (keras.Operation, keras.metrics.Metric, *TRACKERS, types.SimpleNamespace)
_LOOKED_INTO = (
    tuple, frozenset, list, dict, set, collections.deque, bytearray, np.ndarray, random.Random,
    np.random.RandomState, np.random.Generator, types.MethodType, types.FunctionType,
    functools.partial, io.IOBase, *METHODS,
)  # fmt: skip
# Attributes that Keras itself keeps in a layer and changes when it builds one.
_OF_KERAS = frozenset((*vars(keras.Model()), *vars(keras.layers.Layer())))


class Attributes:
    """A snapshot of the contents of every object that a model refers to, by identity.

    It covers the attributes of layers, models, modules and objects of the user's own
    classes, the lists, dictionaries, sets and arrays in them, class attributes, and the
    closures and module globals that functions of such classes use. Values are restored
    without Keras's tracker, which would register them as new ones.

    Parameters
    ----------
    root
        Object where the search begins, such as a model.
    """

    def __init__(self, root: Any) -> None:
        self._notes: dict[Any, tuple[Any, Put, Any]] = {}
        self._lent: set[Any] = set()  # keys of the notes that hold iterators
        self._unbuilt = {
            id(layer) for layer in all_layers(root) if not getattr(layer, "built", True)
        }
        self.note(root)

    def note(self, root: Any) -> None:
        """Note the current contents of every object that `root` refers to."""
        self._walk(root, lambda _: True)

    def note_built(self, layer: Any) -> None:
        """Note the contents of a layer that has just been built, with layers made by that."""

        def is_part(thing: Any) -> bool:
            if isinstance(thing, (types.FunctionType, types.MethodType)):
                return False
            return not isinstance(thing, keras.Operation) or (
                id(thing) in self._unbuilt and getattr(thing, "built", False)
            )

        known, self._lent = self._lent, set()
        self._walk(layer, is_part)
        self.lend()
        self._lent |= known

    def _walk(self, root: Any, is_part: Callable[[Any], bool]) -> None:
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            thing = waiting.pop()
            if id(thing) in seen or not _may_hold(type(thing)):
                continue
            seen.add(id(thing))
            if thing is root or is_part(thing):
                if getattr(thing, "built", False):
                    self._unbuilt.discard(id(thing))
                waiting += self._noted(thing)

    def put_back(self) -> None:
        """Restore the noted contents of every object; what a layer's building added stays."""
        for _, put, held in self._notes.values():
            put(held)

    def lend(self) -> None:
        """Put a copy in place of every iterator, which `put_back` puts back."""
        copies = Copies()
        for key in self._lent:
            _, put, held = self._notes[key]
            pairs = held.items() if isinstance(held, dict) else enumerate(held)
            lent = {name: copies.of(value) for name, value in pairs}
            put(lent if isinstance(held, dict) else list(lent.values()))

    def _keep(self, key: Any, thing: Any, put: Put, held: Any) -> None:
        """Note what an object holds, and how to set it.

        Raises
        ------
        InputError
            If it holds an iterator that cannot be copied.
        """
        self._notes[key] = thing, put, held
        self._lent.discard(key)
        if not isinstance(held, (list, dict, set, collections.deque)):
            return
        for value in held.values() if isinstance(held, dict) else held:
            if holds_iterator(value):
                self._lent.add(key)
                try:
                    Copies().of(value)
                except Exception as error:  # of any type
                    raise refusal_of(value, thing) from error

    def _noted(self, thing: Any) -> Iterable[Any]:
        """Note one object, and return the objects that it refers to."""
        if isinstance(thing, (tuple, frozenset)):
            return thing
        if isinstance(thing, types.MethodType):
            return [thing.__func__, thing.__self__]
        if isinstance(thing, functools.partial):
            return [thing.func, *thing.args, *thing.keywords.values()]
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, framework().wrapping_types):
            return framework().wrapped_by(thing)
        if isinstance(thing, METHODS):
            return [thing.__self__]
        if holds_iterator(thing):  # where no copy can take its place
            raise refusal_of(thing)
        put, held, below = contents(thing)
        if put is not None:
            self._keep(id(thing), thing, put, held)
            return seen_through(below)
        if isinstance(thing, (*_HOLDERS, *framework().module_types)) or _is_users(type(thing)):
            return self._object(thing)
        return ()

    def _object(self, thing: Any) -> Iterable[Any]:
        attributes = getattr(thing, "__dict__", None)
        below: list[Any] = []
        if attributes is not None:
            of_keras = _OF_KERAS if id(thing) in self._unbuilt else frozenset[str]()
            saved = dict(attributes)
            put = functools.partial(_put_attributes_back, attributes, of_keras)
            self._keep(id(thing), thing, put, saved)
            for name, value in saved.items():
                if name not in of_keras:
                    below.append(value)
                elif isinstance(value, (list, dict)):  # Keras fills it: only its items
                    below += value.values() if isinstance(value, dict) else value
        for cls in filter(_is_users, type(thing).__mro__):
            below += self._class(cls, thing)
        return seen_through(below)

    def _class(self, cls: type, thing: Any) -> Iterable[Any]:
        slots = vars(cls).get("__slots__", ())
        held = [name for name in ([slots] if isinstance(slots, str) else slots) if name[:2] != "__"]
        held = [name for name in held if hasattr(thing, name)]
        if held:
            values = {name: getattr(thing, name) for name in held}
            self._keep((id(thing), "slots"), thing, functools.partial(_set, thing), values)
            yield from values.values()
        if id(cls) in self._notes:
            return
        own = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        data = {name: value for name, value in own.items() if not _is_code(value)}
        self._keep(id(cls), cls, functools.partial(_set, cls), data)
        for value in vars(cls).values():
            if isinstance(value, (staticmethod, classmethod)):
                yield value.__func__
            elif isinstance(value, property):
                yield value.fget
            else:
                yield value

    def _function(self, function: types.FunctionType) -> Iterable[Any]:
        """Note the closures and globals that a user's function refers to."""
        module = function.__module__ or ""
        yield from seen_through(vars(function).values())  # includes a decorated function
        cells = [cell for cell in function.__closure__ or () if _is_filled(cell)]
        closure = [cell.cell_contents for cell in cells]
        if module.partition(".")[0] in _LIBRARIES:
            yield from closure
            return
        yield from seen_through(closure)
        for cell in cells:
            held = {"cell_contents": cell.cell_contents}
            self._keep(id(cell), cell, functools.partial(_set, cell), held)
        if attributes := vars(function):
            put = functools.partial(_put_attributes_back, attributes, frozenset())
            self._keep(id(function), function, put, dict(attributes))
        defaults = {"__defaults__": function.__defaults__}
        self._keep(
            (id(function), "defaults"), function, functools.partial(_set, function), defaults
        )
        yield from seen_through(function.__defaults__ or ())
        yield function.__kwdefaults__
        names = set(_names(function.__code__)) & function.__globals__.keys()
        used = {name: function.__globals__[name] for name in names}
        used = {name: value for name, value in used.items() if not isinstance(value, type)}
        put = functools.partial(_update, function.__globals__)
        self._keep(id(function.__code__), function.__code__, put, used)
        yield from seen_through(used.values())


_holding: dict[Any, bool] = {}


def _may_hold(cls: Any) -> bool:
    """Return whether instances of a class can refer to anything that is noted."""
    if cls not in _holding:
        own = framework()
        holders = (*_HOLDERS, *own.module_types, *own.wrapping_types)
        _holding[cls] = not issubclass(cls, (*_PLAIN, *own.plain_types)) and (
            issubclass(cls, (*_LOOKED_INTO, *holders)) or is_iterator(cls) or _is_users(cls)
        )
    return _holding[cls]


def _is_users(cls: type) -> bool:
    return (cls.__module__ or "").partition(".")[0] not in _LIBRARIES


def _is_code(value: Any) -> bool:
    found = callable(value) or hasattr(type(value), "__get__")
    return found and not holds_iterator(value)


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _put_attributes_back(
    now: dict[str, Any], of_keras: frozenset[str], before: dict[str, Any]
) -> None:
    missing = object()
    for name in {*now, *before}:
        value, old = now.get(name, missing), before.get(name, missing)
        if value is old or name in of_keras:
            continue
        if of_keras and _holds_layers(value):  # made while building
            continue
        if old is missing:
            del now[name]
        else:
            now[name] = old


def _holds_layers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_layers, value))
    if isinstance(value, dict):
        return any(map(_holds_layers, value.values()))
    held = (keras.Operation, keras.Variable, *framework().module_types)
    return isinstance(value, held) or framework().is_variable(value)


def _set(thing: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if getattr(thing, name, None) is not value:
            setattr(thing, name, value)


def _update(now: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if now.get(name) is not value:
            now[name] = value
