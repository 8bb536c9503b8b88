"""Reading of NumPy files, which may be damaged or made to harm."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from runner.errors import InputError
from runner.probe.compressed import check_unpacked
from runner.regular_files import begins, regular_file, what_it_is
from runner.sizes import readable

_HEADER_BYTES = 64 * 2**10
_AXES = 32  # NumPy before 2 allows no more


def mapped(name: str, place: str, limit: int) -> np.ndarray:
    """Return the array of an ``.npy`` file, memory-mapped.

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
        shape, fortran, dtype = _header(file, str(path), path.stat().st_size, limit)
        offset = file.tell()
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def unpacked(path: Path, limit: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by name.

    Parameters
    ----------
    path
        A regular file.
    limit
        Largest declared size of all arrays in bytes.

    Raises
    ------
    InputError
        If the file is not such an archive, is damaged, or is larger.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            check_unpacked(path, declared, "save it uncompressed with numpy.savez")
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise InputError.of("probe.path", f"{path} holds '{name}' twice")
                with archive.open(member) as file:
                    size = member.file_size
                    arrays[name] = _read(file, f"{path}: {name}", size, limit)
                limit -= arrays[name].nbytes
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        if zipfile.is_zipfile(path):
            raise InputError.of("probe.path", f"{path} is damaged: {error}") from error
        kind = what_it_is(path)
        if kind == "it is a zip file":
            raise InputError.of(
                "probe.path",
                f"{path} is damaged: it begins as a zip file, and its end is missing",
                "copy or save it again",
            ) from error
        raise InputError.of("probe.path", f"{path} is not an .npz file: {kind}") from error
    except (RuntimeError, NotImplementedError) as error:
        # Allowed by the zip format, but never written by NumPy: passwords, other compressions.
        raise InputError.of("probe.path", f"{path} cannot be read: {error}") from error
    return arrays


def _read(file: IO[bytes], name: str, size: int, limit: int) -> np.ndarray:
    shape, fortran, dtype = _header(file, name, size, limit)
    count = math.prod(shape) * dtype.itemsize
    data = file.read(count)
    if len(data) != count:
        raise InputError.of(
            "probe.path", f"{name} declares {count:,} bytes, but holds {len(data):,}"
        )
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(
    file: IO[bytes], name: str, size: int, limit: int
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return an array's shape, order and dtype, checked before any memory is allocated."""
    start = file.read(12)
    if not start.startswith(npy_format.MAGIC_PREFIX):
        raise InputError.of("probe.path", f"{name} is not an .npy array: it {begins(start)}")
    read = {b"\1\0": npy_format.read_array_header_1_0, b"\2\0": npy_format.read_array_header_2_0}
    if start[6:8] not in read:
        raise InputError.of("probe.path", f"{name} has an unknown version, or is incomplete")
    # NumPy reads headers of any declared length, up to 4 GiB.
    ends = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:ends], "little")
    if length > _HEADER_BYTES:
        raise InputError.of("probe.path", f"{name} has a header of {readable(length)}")
    try:
        text = start[8:] + file.read(length + ends - len(start))
        with warnings.catch_warnings():  # about files written by Python 2
            warnings.simplefilter("ignore")
            shape, fortran, dtype = read[start[6:8]](io.BytesIO(text))
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise InputError.of("probe.path", f"{name} has a broken header: {error}") from error
    except (RecursionError, MemoryError) as error:  # of Python's parser
        raise InputError.of(
            "probe.path", f"{name} has a header that is nested too deeply"
        ) from error
    if dtype.hasobject:
        raise InputError.of(
            "probe.path",
            f"{name} holds pickled Python objects, which can run code when read",
            "save it as an array of numbers",
        )
    is_shape = len(shape) <= _AXES and all(type(axis) is int and axis >= 0 for axis in shape)
    if dtype.kind not in "biufSU" or not dtype.itemsize or not is_shape:
        raise InputError.of(
            "probe.path", f"{name} declares {dtype} of shape {shape}, expected numbers"
        )
    declared = math.prod(shape) * dtype.itemsize
    if not declared and shape[:1] != (0,):
        raise InputError.of("probe.path", f"{name} holds no values, its shape is {shape}")
    held = size - file.tell()
    if declared > limit:
        raise InputError.of(
            "probe.max_bytes",
            f"{name} declares {readable(declared)}, the limit leaves {readable(limit)}",
            "if this is intended, raise probe.max_bytes",
        )
    if declared > held:
        raise InputError.of(
            "probe.path", f"{name} declares {declared:,} bytes of values, but holds {held:,}"
        )
    return shape, fortran, dtype
