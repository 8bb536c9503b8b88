"""Tensors in a file that PyTorch saved, read without running code."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runner.converted_models.tensor_formats import IDS, PLACE, check_declared, check_installed
from runner.errors import InputError
from runner.given_files import FileOnDisk
from runner.regular_files import read_at_most

_ENTRIES = 100_000
_DEEPEST = 50
_LONGEST = 1_000  # characters of a name
_PARTS = 10_000_000  # of all tuples together
_PICKLES = 5  # in a file as PyTorch wrote them before 1.6

_ZIP = b"PK\x03\x04"  # the start of a file by which PyTorch decides
# What PyTorch calls with any arguments: for a number, or again and again for what it returned.
_OF_ANY_SIZE = {"builtins bytearray": "a bytearray", "_codecs encode": "bytes"}
_ALONE = "save the tensors alone: torch.save(model.state_dict(), path), or with safetensors"

_CLASS = re.compile(r"(?:GLOBAL|global:?|class) ([\w.]+)")  # as PyTorch names what it refuses


def read_torch(path: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return the tensors in a file of PyTorch, also those in nested mappings.

    Parameters
    ----------
    path
        The file, a ``.pt`` or ``.pth``.
    name
        Name of the tensor, if the file holds a single one.
    limit
        Largest size of all tensors together, in bytes.

    Returns
    -------
    dict
        The tensors by their keys, which are joined by ``/``; those of bfloat16 as float32.

    Raises
    ------
    InputError
        If it holds anything but tensors and plain data, has mappings that are nested without end,
        or declares far more than it holds.
    """
    check_installed("torch", path)
    import torch

    held = path.stat().st_size
    if FileOnDisk(path).start(len(_ZIP)) == _ZIP:
        with zipfile.ZipFile(path) as archive:
            packed = sum(each.file_size for each in archive.infolist())
        check_declared(str(path), packed, held, limit)
        # PyTorch finds it in its own way, for example in capital letters.
        _check_pickles(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"), path)
    else:
        _check_pickles(read_at_most(path, held, PLACE), path)
    loaded = _loaded(path)
    tensors: dict[str, Any] = {}
    found: dict[str, np.ndarray] = {}
    seen = 0

    def visit(place: str, item: Any, depth: int) -> None:
        nonlocal seen
        seen += 1  # also if it was seen before: one mapping can stand in many places
        if seen > _ENTRIES:
            raise InputError.of(PLACE, f"{path} holds more than {_ENTRIES:,} entries")
        if depth > _DEEPEST or len(place) > _LONGEST:
            raise InputError.of(
                PLACE, f"{path} is nested too deeply, or has names that are too long"
            )
        if isinstance(item, torch.Tensor):
            tensors[place or name] = item
        elif isinstance(item, Mapping):
            for key, value in item.items():
                if isinstance(key, str | int):
                    visit(f"{place}/{key}" if place else str(key), value, depth + 1)
        elif isinstance(item, list | tuple) and place in IDS:
            found[place] = _ids(item, path, place)

    visit("", loaded, 0)
    # A view may repeat a few stored numbers without end.
    declared = sum(each.numel() * each.element_size() for each in tensors.values())
    check_declared(str(path), declared, held, limit)
    for key, tensor in tensors.items():
        plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        found[key] = np.asarray(plain.detach().resolve_conj().resolve_neg().numpy())
    return found


class _AnySizeError(Exception):
    """A pickle makes something that may be of any size, which the text names."""


def _check_pickles(pickled: bytes, path: Path) -> None:
    """Check that pickles make nothing of any size, and no tuple whose hash takes Python hours.

    A key of a mapping may be a tuple, and one that holds a tuple twice, which itself holds one
    twice, has as many parts as it has paths. The parts are counted without loading anything.

    Parameters
    ----------
    pickled
        Pickles behind each other, and perhaps other data behind them.
    path
        The file, for the message.

    Raises
    ------
    InputError
        If the tuples have more than 10,000,000 parts, something else may be of any size, or there
        is no pickle.
    """
    stream = io.BytesIO(pickled)
    for number in range(_PICKLES):
        try:
            counted = _parts_of_tuples(stream)
        except _AnySizeError as error:
            message = f"{path} holds {error}, which is not loaded, since it may take any memory"
            raise InputError.of(PLACE, message, _ALONE) from error
        except Exception as error:
            if number:  # other data
                return
            raise InputError.of(PLACE, f"{path} is no file of PyTorch, or is damaged") from error
        if counted > _PARTS:
            raise InputError.of(PLACE, f"{path} holds tuples of more than {_PARTS:,} parts")


def _parts_of_tuples(stream: io.BytesIO) -> int:
    """Return the number of parts of all tuples that a pickle makes and uses, or more than allowed.

    Every value on the stack stands for the number of its parts, ``None`` for a mark.
    """
    stack: list[int | None] = []
    memo: dict[Any, int] = {}
    counted = 0
    for opcode, argument, _ in pickletools.genops(stream):
        name, before = opcode.name, opcode.stack_before
        if name == "GLOBAL" and argument in _OF_ANY_SIZE:
            raise _AnySizeError(_OF_ANY_SIZE[argument])
        if name == "MARK":
            stack.append(None)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1] or 0
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
            counted += memo[argument]
        else:
            taken: list[int | None] = []
            if pickletools.markobject in before:  # with all values above it
                while (last := stack.pop()) is not None:
                    taken.append(last)
            below = [each for each in before if each.name not in ("mark", "stackslice")]
            taken += [stack.pop() for _ in below]
            parts = 1
            if name.startswith("TUPLE") or name in ("REDUCE", "NEWOBJ", "DUP"):
                parts += sum(filter(None, taken))
                counted += parts
            stack += [parts] * len(opcode.stack_after)
        if counted > _PARTS:
            break
    return counted


def _loaded(path: Path) -> Any:
    """Return what a file holds, if PyTorch can load it without running code."""
    import torch

    try:
        with warnings.catch_warnings():  # about old formats
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _CLASS.search(str(error))
        what = f"holds {named[1]}" if named else "is a pickle of other things than tensors"
        raise InputError.of(
            PLACE,
            f"{path} {what}, which is not loaded, since it can run code",
            _ALONE,
        ) from error


def _ids(item: list[Any] | tuple[Any, ...], path: Path, place: str) -> np.ndarray:
    """Return sample ids as an array of objects, in which a long one takes no room in others."""
    if not all(isinstance(each, str | int) for each in item):
        raise InputError.of(PLACE, f"'{place}' in {path} holds others than texts and integers")
    return np.array(item, dtype=object)
