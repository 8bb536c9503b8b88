"""Reading of NumPy files, which may be damaged or made to harm."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from runner.errors import InputError
from runner.given_files import GivenFile, given_file
from runner.probe.compressed import check_unpacked
from runner.probe.stored_array import Array, StoredArray
from runner.regular_files import begins, regular_file
from runner.sizes import readable
from runner.tables.column_types import MOST_AXES
from runner.zip_damage import DAMAGED

UNPACK = "save it uncompressed with numpy.savez"
"""Advice for an ``.npz`` file that unpacks to far more than its size."""

_HEADER_BYTES = 10_000  # NumPy's own limit
_BLOCK = 2**20


def mapped(name: str, place: str, limit: int) -> np.ndarray:
    """Return the array of an ``.npy`` file of this machine, memory-mapped.

    Parameters
    ----------
    name
        Path of the file.
    place
        Key of the path, for messages.
    limit
        Largest declared size in bytes.

    Raises
    ------
    InputError
        If the file is not an array of numbers or text, or is larger.
    """
    path = regular_file(name, place)
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, str(path), path.stat().st_size, limit, place)
        offset = file.tell()
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def array_in(name: str, place: str, limit: int) -> Array:
    """Return the array of an ``.npy`` file: memory-mapped, or one in a store.

    Parameters
    ----------
    name
        Path or URL of the file.
    place, limit
        As in `mapped`.

    Raises
    ------
    InputError
        As from `mapped`, or if the rows of an array in a store are not one after another.
    """
    file = given_file(name, place)
    if file.path is not None:
        return mapped(name, place, limit)
    with file.open() as opened:
        shape, fortran, dtype = _header(opened, file.place, file.size, limit, place)
        offset = opened.tell()
    if fortran and len(shape) > 1:
        message = f"{file} holds its values column by column, so that no rows can be fetched"
        raise InputError.of(place, message, "save it with numpy.ascontiguousarray")
    array = StoredArray(file, shape or (1,), dtype, offset)
    return array if shape else array[:].reshape(())


def unpacked(file: GivenFile, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name.

    Parameters
    ----------
    file
        The file.
    limit
        Largest declared size of all arrays in bytes.

    Raises
    ------
    InputError
        If the file is not such an archive, is damaged, or is larger.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with file.open() as whole, zipfile.ZipFile(whole) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            check_unpacked(file, declared, UNPACK)
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise InputError.of("probe.path", f"{file} holds '{name}' twice")
                with archive.open(member) as opened:
                    size = member.file_size
                    arrays[name] = read_array(opened, f"{file}: {name}", size, limit)
                limit -= arrays[name].nbytes
    except InputError:
        raise
    except DAMAGED as error:
        with file.open() as whole:
            is_whole = zipfile.is_zipfile(whole)
        if is_whole:
            raise InputError.of("probe.path", f"{file} is damaged: {error}") from error
        kind = file.what_it_is()
        if kind == "it is a zip file":
            raise InputError.of(
                "probe.path",
                f"{file} is damaged: it begins as a zip file, and its end is missing",
                "copy or save it again",
            ) from error
        raise InputError.of("probe.path", f"{file} is not an .npz file: {kind}") from error
    return arrays


def read_array(file: IO[bytes], name: str, size: int, limit: int) -> np.ndarray:
    """Return an array, as an ``.npy`` file holds it.

    Parameters
    ----------
    file
        The open file.
    name
        Its name, for messages.
    size
        Its size in bytes.
    limit
        Largest declared size in bytes.

    Raises
    ------
    InputError
        If it is not an array of numbers or text, or is larger.
    """
    shape, fortran, dtype = _header(file, name, size, limit)
    count = math.prod(shape) * dtype.itemsize
    data = np.empty(count, np.uint8)
    held = 0
    while part := file.read(min(_BLOCK, count - held)):  # all at once takes the memory twice
        data[held : held + len(part)] = np.frombuffer(part, np.uint8)
        held += len(part)
    if held != count:
        raise InputError.of("probe.path", f"{name} declares {count:,} bytes, but holds {held:,}")
    data.flags.writeable = False
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(
    file: IO[bytes], name: str, size: int, limit: int, place: str = "probe.path"
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return an array's shape, order and dtype, checked before any memory is allocated."""
    start = file.read(12)
    if not start.startswith(npy_format.MAGIC_PREFIX):
        raise InputError.of(place, f"{name} is not an .npy array: it {begins(start)}")
    read = {b"\1\0": npy_format.read_array_header_1_0, b"\2\0": npy_format.read_array_header_2_0}
    if start[6:8] not in read:
        raise InputError.of(place, f"{name} has an unknown version, or is incomplete")
    # NumPy reads headers of any declared length, up to 4 GiB.
    ends = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:ends], "little")
    if length > _HEADER_BYTES:
        raise InputError.of(place, f"{name} has a header of {readable(length)}")
    try:
        text = start[8:] + file.read(length + ends - len(start))
        with warnings.catch_warnings():  # about files written by Python 2
            warnings.simplefilter("ignore")
            shape, fortran, dtype = read[start[6:8]](io.BytesIO(text))
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise InputError.of(place, f"{name} has a header that describes no array") from error
    except (RecursionError, MemoryError) as error:  # of Python's parser
        raise InputError.of(place, f"{name} has a header that is nested too deeply") from error
    if dtype.hasobject:
        raise InputError.of(
            place,
            f"{name} holds pickled Python objects, which can run code when read",
            "save it as an array of numbers",
        )
    is_shape = len(shape) <= MOST_AXES and all(type(axis) is int and axis >= 0 for axis in shape)
    if dtype.kind not in "biufSU" or not dtype.itemsize or not is_shape:
        raise InputError.of(place, f"{name} declares {dtype} of shape {shape}, expected numbers")
    declared = math.prod(shape) * dtype.itemsize
    if not declared and shape[:1] != (0,):
        raise InputError.of(place, f"{name} holds no values, its shape is {shape}")
    held = size - file.tell()
    if declared > limit:
        of_probe = place.startswith("probe.")
        raise InputError.of(
            "probe.max_bytes" if of_probe else place,
            f"{name} declares {readable(declared)}, the limit leaves {readable(limit)}",
            "if this is intended, raise probe.max_bytes" if of_probe else "",
        )
    if declared > held:
        raise InputError.of(
            place, f"{name} declares {declared:,} bytes of values, but holds {held:,}"
        )
    return shape, fortran, dtype
