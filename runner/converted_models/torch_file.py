"""Tensors in a file that PyTorch saved, read without running code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runner.converted_models.tensor_formats import IDS, PLACE, check_declared, check_installed
from runner.converted_models.torch_pickles import ALONE, check_pickles
from runner.errors import InputError
from runner.given_files import FileOnDisk
from runner.regular_files import read_at_most

_ENTRIES = 100_000
_DEEPEST = 50
_LONGEST = 1_000  # characters of a name
_PICKLES = 5  # in a file as PyTorch wrote them before 1.6

_ZIP = b"PK\x03\x04"  # the start of a file by which PyTorch decides


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
        check_pickles(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"), 1, path)
    else:
        check_pickles(read_at_most(path, held, PLACE), _PICKLES, path)
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


def _loaded(path: Path) -> Any:
    """Return what a file holds, if PyTorch can load it without running code."""
    import torch

    try:
        with warnings.catch_warnings():  # about old formats
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "is a pickle of other things than tensors, which is not loaded"
        raise InputError.of(PLACE, f"{path} {what}, since it can run code", ALONE) from error


def _ids(item: list[Any] | tuple[Any, ...], path: Path, place: str) -> np.ndarray:
    """Return sample ids as an array of objects, in which a long one takes no room in others."""
    if not all(isinstance(each, str | int) for each in item):
        raise InputError.of(PLACE, f"'{place}' in {path} holds others than texts and integers")
    return np.array(item, dtype=object)
