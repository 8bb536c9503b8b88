"""The contents of containers, random generators and open files, and how to set them."""

from __future__ import annotations

import collections
import functools
import io
import random
import types
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from runner.keras_models.iterators import METHODS, refusal_of
from runner.model.backend import framework

Put = Callable[[Any], None]

_parts: dict[type, Callable[[Any], Iterable[Any]] | None] = {}


def parts_of(thing: Any) -> Iterable[Any] | None:
    """Return the objects that a tuple, a method or a wrapper refers to, which cannot change.

    ``None`` for objects of other types.
    """
    cls = type(thing)
    if cls not in _parts:  # asked once: whether it is a compiled function takes long to find out
        _parts[cls] = _parts_by_type(thing)
    parts = _parts[cls]
    return None if parts is None else parts(thing)


def _parts_by_type(thing: Any) -> Callable[[Any], Iterable[Any]] | None:
    if isinstance(thing, (tuple, frozenset)):
        return iter
    if isinstance(thing, types.MethodType):
        return lambda method: [method.__func__, method.__self__]
    if isinstance(thing, functools.partial):
        return lambda partial: [partial.func, *partial.args, *partial.keywords.values()]
    if isinstance(thing, framework().wrapping_types):
        return framework().wrapped_by
    return (lambda method: [method.__self__]) if isinstance(thing, METHODS) else None


def contents(thing: Any) -> tuple[Put | None, Any, Collection[Any], Collection[Any] | None]:
    """Return what an object contains that can change.

    Returns
    -------
    put
        Function that sets the contents; ``None`` for objects of other types.
    held
        The current contents.
    below
        The objects that it refers to.
    container
        The container, if it has members that can be compared by identity.
    """
    thing = getattr(thing, "__wrapped__", thing) if isinstance(thing, (list, dict)) else thing
    match thing:
        case list():
            items = list(thing)
            below = [*items, *framework().wrapped_by(thing)]
            return functools.partial(_put_items_back, thing), items, below, thing
        case dict():
            pairs = dict(thing)
            return functools.partial(_put_pairs_back, thing), pairs, pairs.values(), thing
        case set() | collections.deque() | bytearray():
            members = type(thing)(thing)
            return functools.partial(_put_members_back, thing), members, list(members), thing
        case np.ndarray() if thing.flags.writeable:
            return functools.partial(np.copyto, thing), thing.copy(), (), None
        case random.Random():
            return thing.setstate, thing.getstate(), (), None
        case np.random.RandomState():
            return thing.set_state, thing.get_state(), (), None
        case np.random.Generator():
            generator = thing.bit_generator
            return functools.partial(setattr, generator, "state"), generator.state, (), None
        case io.BytesIO() | io.StringIO() if not thing.closed:
            return thing.__setstate__, thing.__getstate__(), (), None  # type: ignore[union-attr]
        case io.IOBase() if _is_read(thing):  # what was written cannot be taken back
            return functools.partial(_seek, thing), _position(thing), (), None
    return None, None, (), None


def _is_read(file: io.IOBase) -> bool:
    return not file.closed and file.readable() and not file.writable() and file.seekable()


def _position(file: io.IOBase) -> int:
    try:
        return file.tell()
    except OSError as error:  # a text file whose lines are being iterated
        raise refusal_of(file) from error


def _seek(file: io.IOBase, position: int) -> None:
    file.seek(position)


def _put_items_back(now: list[Any], before: list[Any]) -> None:
    if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
        # Not by its own methods: Keras's lists notify their layer of every change.
        list.clear(now)
        list.extend(now, before)


def _put_pairs_back(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    if now.keys() == before.keys() and all(now[key] is value for key, value in before.items()):
        return
    plain = collections.OrderedDict if isinstance(now, collections.OrderedDict) else dict
    plain.clear(now)
    plain.update(now, before)


def _put_members_back(now: Any, before: Any) -> None:
    if isinstance(now, set):
        set.clear(now)
        set.update(now, before)
    else:
        now.clear()
        now.extend(before)
