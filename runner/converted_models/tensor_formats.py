"""Readers of files of tensors of other programs, none of which can run code."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import InputError, first_line
from runner.given_files import FileOnDisk
from runner.model.hdf5_chunks import unpacked_size, why_not_listed, why_not_unpacked
from runner.model.hdf5_texts import has_endless_heap
from runner.probe.array_files import mapped, unpacked
from runner.probe.compressed import expands, largest
from runner.regular_files import written_file
from runner.sizes import readable

_MOST_GROUPS = 100  # of HDF5, in each other
_MATLAB_HEADER, _MATLAB_COMPRESSED = 128, 15
_MATLAB_BYTES = 1000  # of an element besides its values

PLACE = "FILES"
"""Where the files were named, for messages."""

IDS = ("sample_ids", "ids")
"""Names of an array of sample ids."""

Reader = Callable[[Path, str, int], Mapping[str, np.ndarray]]
"""Reads the arrays of a file, given the name of a single array and a limit in bytes."""

_PLAIN = (
    *("F64", "F32", "F16", "I64", "U64", "I32", "U32", "I16", "U16", "I8", "U8", "BOOL", "C64"),
)
"""Types of safetensors that NumPy has."""
_SMALL = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Other types of safetensors, by their names in `ml_dtypes`."""

_TEXT_BYTES = 256_000_000
"""Size of the texts that are read at once, if each is as long as the file."""

_NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32)))


def read_with(reader: Reader, path: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays of a file, or of a folder that is read as a whole.

    Parameters
    ----------
    reader
        The function that reads it.
    path
        The file or folder.
    name
        Name of the array, where it has none.
    limit
        Largest size of all arrays together, in bytes.

    Raises
    ------
    InputError
        If it cannot be read, or declares more.
    """
    try:
        return dict(reader(path, name, limit))
    except InputError as error:
        problems = [
            replace(each, place=PLACE, advice="" if "probe." in each.advice else each.advice)
            for each in error.problems
        ]
        raise InputError(problems) from error
    except RecursionError as error:
        raise InputError.of(PLACE, f"{path} is nested too deeply to be read") from error
    except KeyError as error:
        key = str(error.args[0]) if error.args else ""
        said = f"has no '{key}'" if key.isidentifier() else f"cannot be read: {key}"
        raise InputError.of(PLACE, f"{path} {said}") from error
    except Exception as error:  # those of others' libraries have no common class
        raise InputError.of(PLACE, f"{path} cannot be read: {first_line(error)}") from error


def check_declared(what: str, declared: int, held: int, limit: int) -> None:
    """Check the size that a file declares, before it is read.

    Parameters
    ----------
    what
        What declares it, for the message.
    declared
        Size of the values in bytes.
    held
        Size on disk in bytes.
    limit
        Largest size in bytes.

    Raises
    ------
    InputError
        If it is larger than the limit, or far larger than what is on disk.
    """
    if declared > limit:
        raise InputError.of(
            PLACE, f"{what} declares {readable(declared)}, this machine has {readable(limit)} left"
        )
    if expands(held, declared):
        raise InputError.of(
            PLACE, f"{what} has {readable(held)}, and declares {readable(declared)}"
        )


def check_installed(package: str, path: Path, requirement: str = "") -> None:
    """Check that a package is installed, raise InputError with what to type otherwise."""
    if importlib.util.find_spec(package) is None:
        raise InputError.missing(PLACE, f"{path} needs {package}", requirement or package)


def read_npy(path: Path, name: str, _: int) -> dict[str, np.ndarray]:
    """Return the array in a ``.npy`` file, mapped into memory."""
    return {name: mapped(str(path), PLACE, 2**62)}


def read_npz(path: Path, _: str, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays in a ``.npz`` file."""
    return unpacked(FileOnDisk(path), limit)


def read_safetensors(path: Path, _: str, limit: int) -> dict[str, np.ndarray]:
    """Return the tensors in a file of safetensors, those of bfloat16 and float8 as float32."""
    check_installed("safetensors", path)
    import ml_dtypes
    from safetensors import safe_open

    size = path.stat().st_size
    check_declared(str(path), size, size, limit)
    arrays = {}
    with safe_open(path, "numpy") as file:  # checks the header
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        small = {name for name, kind in kinds.items() if kind in _SMALL}
        for name, kind in kinds.items():
            if name not in small and kind not in _PLAIN:
                raise InputError.of(
                    PLACE,
                    f"'{name}' in {path} has values of type {kind}",
                    f"the types are {', '.join((*_PLAIN, *_SMALL))}",
                )
            if name not in small:
                arrays[name] = file.get_tensor(name)
    if not small:
        return arrays
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        described = json.loads(opened.read(length))
    first = 8 + length
    spans = {name: described[name]["data_offsets"] for name in small}
    check_declared(
        str(path), size + 4 * sum(end - begin for begin, end in spans.values()), size, limit
    )
    for name, (begin, end) in spans.items():
        stored = np.fromfile(path, np.uint8, end - begin, offset=first + begin)
        values = stored.view(getattr(ml_dtypes, _SMALL[kinds[name]])).astype(np.float32)
        arrays[name] = values.reshape(described[name]["shape"])
    return arrays


def read_hdf5(path: Path, _: str, limit: int) -> dict[str, np.ndarray]:
    """Return the data sets in an HDF5 file by their paths."""
    import h5py

    if has_endless_heap(FileOnDisk(path).content()):
        raise InputError.of(PLACE, f"{path} is damaged: its texts have no end")
    held = path.stat().st_size
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if name.count("/") > _MOST_GROUPS:  # each is opened by its whole path
            raise InputError.of(PLACE, f"{path} is nested too deeply to be read")
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise InputError.of(PLACE, f"'{name}' in {path} lies in other files")
        if item.shape is None:
            raise InputError.of(
                PLACE, f"'{name}' in {path} is empty: it has no shape and no values"
            )
        if item.dtype.kind not in "biufcSO" or (
            item.dtype.kind == "O" and (not h5py.check_string_dtype(item.dtype) or item.ndim > 1)
        ):
            what = f"'{name}' in {path} holds values of type {item.dtype}"
            raise InputError.of(PLACE, what, "leave it out, or save it as numbers")
        found[name] = item

    def texts(item: Any) -> np.ndarray:
        """Read texts, few at a time: many of them can be one and the same text of the file."""
        rows, size = max(1, _TEXT_BYTES // held), 0
        values = np.empty(item.shape, object)
        for start in range(0, len(item), rows):
            part = item.asstr()[start : start + rows]
            size += sum(map(len, part))
            if size > held:
                raise InputError.of(PLACE, f"{path} declares more texts than it holds")
            values[start : start + rows] = part
        return values

    with h5py.File(path) as file:
        file.visititems(visit)
        # HDF5 unpacks whole chunks, which may be larger than the array.
        values = {name: max(each.size, prod(each.chunks or (0,))) for name, each in found.items()}
        declared = sum(values[name] * each.dtype.itemsize for name, each in found.items())
        check_declared(str(path), declared, held, limit)
        if why := why_not_listed(found.values(), held):
            raise InputError.of(PLACE, f"{path} {why}", "save it in larger chunks")
        for name, each in found.items():
            if why := why_not_unpacked(each):
                raise InputError.of(PLACE, f"'{name}' in {path} {why}", "save it with gzip")
        return {
            name: texts(each) if each.dtype.kind == "O" and each.shape else each[()]
            for name, each in found.items()
        }


def read_matlab(path: Path, _: str, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays of numbers in a ``.mat`` file."""
    check_installed("scipy", path)
    from scipy.io import loadmat, whosmat

    size = written_file(path, PLACE).stat().st_size
    unpacked = _unpacked_matlab(path, min(limit, largest(size)) + 1)
    check_declared(str(path), sum(unpacked), size, limit)  # also names are unpacked
    listed = [(name, prod(shape), kind in _NUMBERS) for name, shape, kind in whosmat(str(path))]
    check_declared(str(path), sum(8 * count for _, count, wanted in listed if wanted), size, limit)
    for (name, count, wanted), held in zip(listed, unpacked, strict=False):
        if wanted and held > 16 * count + _MATLAB_BYTES:  # SciPy unpacks it to its end
            message = f"'{name}' in {path} unpacks to far more than it declares"
            raise InputError.of(PLACE, message, "save it again")
    names = [name for name, _, wanted in listed if wanted]
    loaded = loadmat(str(path), variable_names=[*names])
    return {name: np.asarray(loaded[name]) for name in names}


def _unpacked_matlab(path: Path, most: int) -> list[int]:
    """Return what each element of a ``.mat`` file unpacks to: nothing if it is not compressed.

    They are counted until they are more than `most` together, in bytes.

    Source: MAT-File Format, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
    """
    unpacked: list[int] = []
    with path.open("rb") as file:
        order = "<" if file.read(_MATLAB_HEADER)[-2:] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}2I", tag)
            end = file.tell() + length
            packed = file.read(length) if kind == _MATLAB_COMPRESSED else b""
            unpacked.append(unpacked_size(packed, most - sum(unpacked)))
            file.seek(end)
    return unpacked


def read_numbers(path: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return the matrix in a text file of numbers, a row in each line."""
    written_file(path, PLACE)
    size = path.stat().st_size
    check_declared(str(path), 4 * size, size, limit)  # a number takes at least two characters
    return {name: np.loadtxt(path, ndmin=2)}
