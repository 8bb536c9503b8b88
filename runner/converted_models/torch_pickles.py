"""Pickles of PyTorch, held to what tensors need before PyTorch loads them."""

from __future__ import annotations

import io
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.converted_models.tensor_formats import PLACE
from runner.errors import InputError

ALONE = "save the tensors alone: torch.save(model.state_dict(), path), or with safetensors"
"""What to do with a file that holds more than tensors and plain data."""

_MAPPING = "collections OrderedDict"
_CALLED = (
    *(_MAPPING, "torch Size", "torch device", "torch._utils _rebuild_parameter"),
    *(f"torch._utils _rebuild_tensor{version}" for version in ("", "_v2", "_v3")),
)
# Types of storages and of numbers, which are not called.
_NAMED = re.compile(r"torch(\.storage)? \w+Storage|torch ((u?int|b?float|complex)\d\w*|bool)")

_PARTS = 500_000  # all lists, tuples, mappings, their entries, and calls; one of a tensor has 13
_LONGEST = 100  # entries of a tuple that is given to a call, such as a shape
_KEY_BITS = 64  # Python finds keys of more bits slowly, if their hashes are made to be equal

_PLAIN = (
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINSTRING"),
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _OtherError(Exception):
    """A pickle holds what tensors do not need; the text says what."""


@dataclass(frozen=True)
class _Named:
    """A function, class or type."""

    name: str


@dataclass
class _Made:
    """A list, mapping, tensor or storage, without what is in it."""

    kind: str
    entries: int = 0


def check_pickles(pickled: bytes, count: int, path: Path) -> None:
    """Check that pickles hold nothing but tensors and plain data, in no more than usual parts.

    They are followed without loading anything. Only what is listed here is let through: anything
    else may take any memory or time, also where PyTorch runs no code for it.

    Parameters
    ----------
    pickled
        Pickles behind each other, and perhaps other data behind them.
    count
        Number of pickles.
    path
        The file, for the message.

    Raises
    ------
    InputError
        If they hold anything else, or are damaged.
    """
    stream = io.BytesIO(pickled)
    try:
        for _ in range(count):
            _Followed().check(stream)
    except _OtherError as error:
        raise InputError.of(PLACE, f"{path} {error}", ALONE) from error
    except Exception as error:  # those of a damaged pickle have no common class
        raise InputError.of(PLACE, f"{path} is no file of PyTorch, or is damaged") from error


class _Followed:
    """A pickle that is followed: its stack holds texts, numbers and tuples as they are."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.parts = 0

    def check(self, stream: io.BytesIO) -> None:
        """Follow a pickle to its end."""
        stack = self.stack
        argument: Any
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name in _PLAIN:
                stack.append(argument)
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(self.memo[argument])
            elif name == "GLOBAL":
                stack.append(_named(argument))
            elif name == "APPEND":
                stack.pop()
            elif name == "APPENDS":
                self.marked()
            elif name not in ("PROTO", "STOP"):
                self.follow(name)

    def follow(self, name: str) -> None:
        """Follow what makes a part of the pickle."""
        stack = self.stack
        self.parts += 1
        if name == "MARK":
            self.marks.append(len(stack))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append(_Made("list" if name == "EMPTY_LIST" else _MAPPING))
        elif name == "TUPLE":
            stack.append(tuple(self.marked()))
        elif name in _TUPLES:
            first = len(stack) - _TUPLES[name]
            stack[first:] = [tuple(stack[first:])]
        elif name == "SETITEM":
            self.enter([stack.pop(-2), stack.pop()])
        elif name == "SETITEMS":
            self.enter(self.marked())
        elif name == "REDUCE":
            stack[-2:] = [_called(*stack[-2:])]
        elif name == "BINPERSID":
            stack[-1] = _storage(stack[-1])
        elif name == "BUILD":
            self.parts += _mapping(stack.pop()).entries
            _mapping(stack[-1])
        else:
            raise _other()
        if self.parts > _PARTS:
            raise _OtherError(f"holds more than {_PARTS:,} parts")

    def marked(self) -> list[Any]:
        """Take what is on the stack above the last mark."""
        first = self.marks.pop()
        taken = self.stack[first:]
        del self.stack[first:]
        return taken

    def enter(self, items: list[Any]) -> None:
        """Enter keys and values in the mapping on the stack."""
        if not all(map(_is_key, items[::2])):
            raise _OtherError("has keys that are neither texts nor small integers")
        _mapping(self.stack[-1]).entries += len(items) // 2
        self.parts += len(items) // 2


def _other() -> _OtherError:
    return _OtherError(
        "is a pickle of other things than tensors, which is not loaded, since it can run code"
    )


def _named(name: str) -> _Named:
    if name not in _CALLED and not _NAMED.fullmatch(name):
        named = name.replace(" ", ".")
        raise _OtherError(f"holds {named}, which tensors do not need, and which is not loaded")
    return _Named(name)


def _called(function: Any, arguments: Any) -> _Made:
    """Return what a call makes, if its arguments are those of tensors."""
    is_called = isinstance(function, _Named) and function.name in _CALLED
    if not is_called or not isinstance(arguments, tuple):
        raise _other()
    is_empty = function.name != _MAPPING or not arguments
    if not is_empty or any(_is_long(each) for each in (arguments, *arguments[:_LONGEST])):
        raise _other()
    return _Made(function.name)


def _is_long(argument: Any) -> bool:
    """Return whether a call may copy an argument of any size."""
    if isinstance(argument, _Made):
        return argument.kind == "list" or argument.entries > _LONGEST
    return isinstance(argument, str | bytes | tuple) and len(argument) > _LONGEST


def _storage(described: Any) -> _Made:
    """Return a storage, if it is described by plain values; PyTorch looks for some of them."""
    if not isinstance(described, tuple) or not all(map(_is_plain, described)):
        raise _other()
    return _Made("storage")


def _mapping(found: Any) -> _Made:
    if not isinstance(found, _Made) or found.kind != _MAPPING:
        raise _other()
    return found


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | _Named) or _is_key(value)


def _is_key(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _KEY_BITS
    return isinstance(value, str | bytes)
