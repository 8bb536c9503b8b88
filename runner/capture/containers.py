"""The contents of containers, random generators and open files, and how to set them."""

from __future__ import annotations

import collections
import functools
import io
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from runner.capture.iterators import refusal_of
from runner.model.backend import framework

Put = Callable[[Any], None]


def contents(thing: Any) -> tuple[Put | None, Any, Iterable[Any]]:
    """Return what an object contains that can change.

    Returns
    -------
    put
        Function that sets the contents; ``None`` for objects of other types.
    held
        The current contents.
    below
        The objects that it refers to.
    """
    thing = getattr(thing, "__wrapped__", thing) if isinstance(thing, (list, dict)) else thing
    match thing:
        case list():
            items = list(thing)
            below = [*items, *framework().wrapped_by(thing)]
            return functools.partial(_put_items_back, thing), items, below
        case dict():
            pairs = dict(thing)
            return functools.partial(_put_pairs_back, thing), pairs, pairs.values()
        case set() | collections.deque() | bytearray():
            members = type(thing)(thing)
            return functools.partial(_put_members_back, thing), members, list(members)
        case np.ndarray() if thing.flags.writeable:
            return functools.partial(np.copyto, thing), thing.copy(), ()
        case random.Random():
            return thing.setstate, thing.getstate(), ()
        case np.random.RandomState():
            return thing.set_state, thing.get_state(), ()
        case np.random.Generator():
            generator = thing.bit_generator
            return functools.partial(setattr, generator, "state"), generator.state, ()
        case io.BytesIO() | io.StringIO() if not thing.closed:
            return thing.__setstate__, thing.__getstate__(), ()  # type: ignore[union-attr]
        case io.IOBase() if _is_read(thing):  # what was written cannot be taken back
            return functools.partial(_seek, thing), _position(thing), ()
    return None, None, ()


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
