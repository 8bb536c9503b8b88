"""Copies of the iterators that Python objects hold, which a pass advances in their place."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
import types
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from runner.errors import InputError

METHODS = (types.MethodWrapperType, types.BuiltinMethodType)
"""Types of the methods of built-in objects, such as ``itertools.count().__next__``."""

_SCANNER = type(re.compile("").scanner(""))  # type: ignore[attr-defined]  # of re.finditer

_HOLDING = (tuple, *METHODS)  # whether one holds an iterator depends on what it refers to

_found: dict[Any, bool] = {}
_without: set[type] = set()  # classes whose instances hold none


def is_iterator(cls: Any) -> bool:
    """Return whether only the instances of a class know how far they have been iterated.

    Iterators of the user's classes keep their position in attributes, those of TensorFlow in a
    resource, and files outside Python.
    """
    if cls not in _found:
        package = (cls.__module__ or "").partition(".")[0]
        known = package in sys.stdlib_module_names - {"__main__"} or package == "numpy"
        _found[cls] = known and issubclass(cls, Iterator) and not issubclass(cls, io.IOBase)
    return _found[cls]


def holds_iterator(value: Any) -> bool:
    """Return whether a value is an iterator, a method of one, or a tuple that holds one."""
    if isinstance(value, tuple):
        return any(map(holds_iterator, value))
    return is_iterator(type(value.__self__ if isinstance(value, METHODS) else value))


def suspects(values: Collection[Any]) -> list[Any]:
    """Return those of some values whose class does not rule out that they hold an iterator."""
    if not values:
        return []
    classes = {*map(type, values)} - _without  # of all values at once: nearly none remain
    for cls in [cls for cls in classes if not issubclass(cls, _HOLDING) and not is_iterator(cls)]:
        _without.add(cls)
        classes.remove(cls)
    return [value for value in values if type(value) in classes] if classes else []


def seen_through(values: Collection[Any]) -> Iterator[Any]:
    """Return values, and in place of those that hold iterators what these refer to."""
    return _seen_through(values) if suspects(values) else iter(values)


def _seen_through(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if not holds_iterator(value):
            yield value
        elif isinstance(value, tuple):
            yield from _seen_through(value)
        elif isinstance(value, METHODS):
            yield from _seen_through([value.__self__])
        else:
            yield from _seen_through(_reduced(value)[1:])


def refusal_of(value: Any, holder: Any = None) -> InputError:
    """Return the error for an iterator that no copy can replace, and the layer that holds it."""
    name = getattr(holder, "name", None)
    who = f"'{name}'" if isinstance(name, str) else "it"
    held = "an iterator" if isinstance(value, (tuple, *METHODS)) else f"a {type(value).__name__}"
    return InputError.of(
        "model",
        f"{who} holds {held} whose position cannot be restored",
        "capture the model without it: only iterators that can be copied are restored, such as "
        "those of lists and itertools, if an attribute, a list or a dictionary holds them",
    )


class Copies:
    """Copies of iterators. An iterator that is held in several places has one copy."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> Any:
        """Return a value with a copy in place of every iterator in it.

        Raises
        ------
        TypeError
            If an iterator cannot be copied, such as a generator.
        """
        if not holds_iterator(value):
            return value
        if isinstance(value, tuple):
            return tuple.__new__(type(value), map(self.of, value))
        if isinstance(value, METHODS):
            return getattr(self.of(value.__self__), value.__name__)
        if id(value) not in self._made:
            self._made[id(value)] = value, self._copy(value)
        return self._made[id(value)][1]

    def _copy(self, iterator: Any) -> Any:
        make, arguments, state = _reduced(iterator)
        if any(isinstance(getattr(part, "__self__", None), _SCANNER) for part in arguments):
            raise TypeError("cannot copy the position of a regular expression")
        if isinstance(iterator, itertools.cycle):  # it adds what it returns to a list
            state = tuple(list(part) if isinstance(part, list) else part for part in state)
        with _copying():
            copy = make(*map(self.of, arguments))
            if state is not None:
                copy.__setstate__(self.of(state))
        return copy


def _reduced(iterator: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Return a function that makes a copy, its arguments, and the state to set, or ``None``."""
    with _copying():
        make, arguments, *rest = iterator.__reduce_ex__(4)
    state = rest[0] if rest else None
    if state is not None and not hasattr(iterator, "__setstate__"):
        raise TypeError(f"cannot copy '{type(iterator).__name__}' object")
    return make, arguments, state


@contextlib.contextmanager
def _copying() -> Iterator[None]:
    with warnings.catch_warnings():
        # Python 3.14 no longer copies the iterators of itertools.
        warnings.filterwarnings("ignore", "Pickle, copy, and deepcopy support", DeprecationWarning)
        yield
