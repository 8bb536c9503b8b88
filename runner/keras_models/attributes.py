"""The attributes, lists and counters of the Python objects that a model refers to."""

from __future__ import annotations

import collections
import functools
import io
import operator
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from runner.capture.membership import Membership, Named
from runner.keras_models.containers import Put, contents, parts_of
from runner.keras_models.iterators import (
    METHODS,
    Copies,
    holds_iterator,
    is_iterator,
    refusal_of,
    seen_through,
    suspects,
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
CONTAINERS = (list, dict, set, collections.deque)
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

    Attributes
    ----------
    notes : dict
        Each object, how to set what it holds, and what it held, by a key.
    """

    def __init__(self, root: Any) -> None:
        self.notes: dict[Any, tuple[Any, Put, Any]] = {}
        self._lent: set[Any] = set()  # keys of the notes that hold iterators
        self._unbuilt = {
            id(layer) for layer in all_layers(root) if not getattr(layer, "built", True)
        }
        self._containers: dict[Any, Any] = {}  # of the notes whose members can be compared
        self._owners: list[Any] = []  # of `_owned`, the attributes of each
        self._owned: list[Any] = []
        self._compared: tuple[Attributes, list[tuple[Any, Put, Any]]] | None = None
        self.note(root)
        self._membership = self._now()

    def is_present(self) -> bool:
        """Return whether every object that was noted at first has the same contents now."""
        membership = self._membership
        return (
            membership is not None
            and all(map(operator.is_, map(vars, self._owners), self._owned))
            and membership.is_same()
        )

    def _now(self) -> Membership | None:
        """Return the present members of all containers; ``None`` where that is not all."""
        if self._lent or self._containers.keys() != self.notes.keys():
            return None
        every = self._containers.values()
        return Membership(
            [one for one in every if isinstance(one, Mapping)],
            [one for one in every if not isinstance(one, Mapping)],
        )

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
            cls = type(thing)
            may_hold = _holding[cls] if cls in _holding else _may_hold(cls)  # most cannot
            if not may_hold or (key := id(thing)) in seen:
                continue
            seen.add(key)
            if thing is root or is_part(thing):
                if key in self._unbuilt and getattr(thing, "built", False):
                    self._unbuilt.discard(key)
                waiting += self._noted(thing)

    def put_back(self, present: Attributes | None = None) -> None:
        """Restore the noted contents of every object; what a layer's building added stays.

        Parameters
        ----------
        present
            The attributes as they are now, if that is known: only what differs is restored.
        """
        for _, put, held in self.notes.values() if present is None else self._unlike(present):
            put(held)

    def _unlike(self, other: Attributes) -> list[tuple[Any, Put, Any]]:
        """Return the notes that differ from those of another moment."""
        if other is self:
            return []
        if self._compared is None or self._compared[0] is not other:
            known = other.notes
            unlike = [
                note
                for key, note in self.notes.items()
                if key not in known or not _are_same(note[-1], known[key][-1])
            ]
            self._compared = other, unlike
        return self._compared[1]

    def lend(self) -> None:
        """Put a copy in place of every iterator, which `put_back` puts back."""
        copies = Copies()
        for key in self._lent:
            _, put, held = self.notes[key]
            pairs = held.items() if isinstance(held, dict) else enumerate(held)
            lent = {name: copies.of(value) for name, value in pairs}
            put(lent if isinstance(held, dict) else list(lent.values()))

    def _keep(self, key: Any, thing: Any, put: Put, held: Any, container: Any = None) -> None:
        """Note what an object holds, and how to set it.

        Parameters
        ----------
        key
            The key of the note.
        thing
            The object.
        put
            Sets what it holds.
        held
            What it holds.
        container
            A container of that, if it can be compared with its members at another time.

        Raises
        ------
        InputError
            If it holds an iterator that cannot be copied.
        """
        self.notes[key] = thing, put, held
        if container is not None:
            self._containers[key] = container
        self._lent.discard(key)
        if not isinstance(held, CONTAINERS) or not held:
            return
        for value in suspects(held.values() if isinstance(held, dict) else held):
            if holds_iterator(value):
                self._lent.add(key)
                try:
                    Copies().of(value)
                except Exception as error:  # of any type
                    raise refusal_of(value, thing) from error

    def _noted(self, thing: Any) -> Iterable[Any]:
        """Note one object, and return the objects that it refers to."""
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if not isinstance(thing, CONTAINERS):
            if (parts := parts_of(thing)) is not None:
                return parts
            if holds_iterator(thing):  # where no copy can take its place
                raise refusal_of(thing)
        put, held, below, container = contents(thing)
        if put is not None:
            self._keep(id(thing), thing, put, held, container)
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
            self._keep(id(thing), thing, put, saved, attributes)
            self._owners.append(thing)
            self._owned.append(attributes)
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
            self._keep(
                (id(thing), "slots"),
                thing,
                functools.partial(_set, thing),
                values,
                Named(thing, values),
            )
            yield from values.values()
        if id(cls) in self.notes:
            return
        own = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        data = {name: value for name, value in own.items() if not _is_code(value)}
        self._keep(id(cls), cls, functools.partial(_set, cls), data, Named(cls, data))
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
            self._keep(id(cell), cell, functools.partial(_set, cell), held, Named(cell, held))
        if attributes := vars(function):
            put = functools.partial(_put_attributes_back, attributes, frozenset())
            self._keep(id(function), function, put, dict(attributes), attributes)
        defaults = {"__defaults__": function.__defaults__}
        self._keep(
            (id(function), "defaults"),
            function,
            functools.partial(_set, function),
            defaults,
            Named(function, defaults),
        )
        yield from seen_through(function.__defaults__ or ())
        yield function.__kwdefaults__
        names = set(_names(function.__code__)) & function.__globals__.keys()
        used = {name: function.__globals__[name] for name in names}
        used = {name: value for name, value in used.items() if not isinstance(value, type)}
        put = functools.partial(_update, function.__globals__)
        container = Named(function.__globals__, used)
        self._keep(id(function.__code__), function.__code__, put, used, container)
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


def _are_same(held: Any, other: Any) -> bool:
    """Return whether two containers held the same objects."""
    if isinstance(held, dict) and isinstance(other, dict):
        return _are_same([*held, *held.values()], [*other, *other.values()])
    if isinstance(held, (list, set, collections.deque)):
        return len(held) == len(other) and all(map(operator.is_, held, other))
    return held is other


def _set(thing: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if getattr(thing, name, None) is not value:
            setattr(thing, name, value)


def _update(now: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if now.get(name) is not value:
            now[name] = value
