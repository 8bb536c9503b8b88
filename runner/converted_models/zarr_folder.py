"""Arrays in a folder of Zarr, version 2 or 3."""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from runner.converted_models.tensor_formats import PLACE, check_declared, check_installed
from runner.errors import InputError
from runner.patching import patched
from runner.probe.compressed import largest
from runner.regular_files import read_at_most
from runner.sizes import readable

_ARRAYS = {".zarray": 2, "zarr.json": 3}
_MARKS = (*_ARRAYS, ".zgroup")
_BYTES = 10_000_000
_FILES = 1_000_000
_CHUNKS = 10_000  # that may be missing, or small, each of which takes half a millisecond
_CHUNK_BYTES = 1000
_MOST_CODECS = 16
_TEXT_ITEM = 16  # bytes of a text of any length, in memory, besides its characters
_NUMBERS = re.compile(r"[<>|]?([biuf])(\d{1,2})|[<>|]?c(8|16)|[<>|]?[US]\d{1,5}")
_NAMED = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)|string")
_COMPRESSORS = ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd")
# Others may run code, as Python's pickle, a filter of version 2, or make more of what they read, as
# filters that change the type.
_CODECS = {
    *_COMPRESSORS,
    *("bytes", "shuffle"),
    *("transpose", "crc32", "crc32c", "adler32", "fletcher32", "vlen-utf8", "sharding_indexed"),
}


@dataclass(frozen=True)
class _Described:
    """What the description of an array says.

    Attributes
    ----------
    folder
        The folder of the array.
    version
        The version of the format.
    shape, chunk
        Shapes of the array and of a chunk.
    inner
        Number of chunks in a chunk: more than one if it is a shard.
    itemsize
        Size of a value in bytes.
    is_text
        Whether the values are texts of any length.
    """

    folder: Path
    version: int
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    inner: int
    itemsize: int
    is_text: bool

    @property
    def chunks(self) -> int:
        """The number of chunks, counted inside of shards."""
        outer = prod(-(-axis // one) for axis, one in zip(self.shape, self.chunk, strict=True))
        return outer * self.inner


def is_zarr(folder: Path) -> bool:
    """Return whether a folder is an array or a group of Zarr."""
    return any((folder / mark).is_file() for mark in _MARKS)


def read_zarr(folder: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return all arrays of numbers and texts in a folder of Zarr, by their paths.

    Parameters
    ----------
    folder
        The folder.
    name
        Name of the array, if the folder is one.
    limit
        Largest size of all arrays together, in bytes.

    Raises
    ------
    InputError
        If Zarr is not installed, a file is none of Zarr's or a link, an array uses a codec that may
        run code, or declares far more than the folder holds.
    """
    check_installed("zarr", folder, "[zarr]")
    files, held = _files(folder)
    found = [_described(path, _ARRAYS[path.name]) for path in files if path.name in _ARRAYS]
    arrays = [each for each in found if each is not None]
    for each in arrays:
        check_declared(str(each.folder), prod(each.chunk) * each.itemsize, held, limit)
    chunks = sum(each.chunks for each in arrays)
    if chunks > _CHUNKS + len(files) + held // _CHUNK_BYTES:
        has = f"has {len(files):,} files of {readable(held)}"
        raise InputError.of(PLACE, f"{folder} declares {chunks:,} chunks, and {has}")
    declared = sum(prod(each.shape) * each.itemsize for each in arrays)
    check_declared(str(folder), declared, held, limit)
    import zarr
    from zarr.storage import LocalStore

    values = {}
    for each in arrays:
        store = LocalStore(each.folder, read_only=True)
        key = each.folder.relative_to(folder).as_posix()
        with _bounded(each, held):
            array = zarr.open_array(store, mode="r", zarr_format=each.version)
            values[name if key == "." else key] = np.asarray(array[...])
    return values


@contextlib.contextmanager
def _bounded(array: _Described, held: int) -> Iterator[None]:
    """Refuse to unpack more, inside the scope, than the chunks of an array declare.

    Texts declare no size: all of them together may take what a folder of the size `held` may.
    """
    import numcodecs

    left = largest(held, text=True) if array.is_text else prod(array.chunk) * array.itemsize

    def bounded(kind: str, decode: Callable[..., Any]) -> Callable[..., Any]:
        def checked(codec: Any, packed: Any, out: Any = None) -> Any:
            nonlocal left
            size = _unpacked_size(kind, codec, bytes(packed), left)
            if size > left:
                raise InputError.of(
                    PLACE, f"a chunk of {array.folder} unpacks to far more than it declares"
                )
            left -= size if array.is_text else 0
            return decode(codec, packed, out)

        return checked

    with contextlib.ExitStack() as scopes:
        for kind in _COMPRESSORS:
            codec = type(numcodecs.get_codec({"id": kind}))
            scopes.enter_context(patched(codec, decode=bounded(kind, codec.decode)))
        yield


def _unpacked_size(kind: str, codec: Any, packed: bytes, most: int) -> int:
    """Return the size of what is packed, counted until it is more than `most`, in bytes."""
    if kind == "blosc":
        return int.from_bytes(packed[4:8], "little")
    if kind == "lz4":
        return int.from_bytes(packed[:4], "little")
    if kind == "zlib":
        return len(zlib.decompressobj().decompress(packed, most + 1))
    if kind == "lzma":
        with lzma.open(io.BytesIO(packed), format=codec.format, filters=codec.filters) as stream:
            return len(stream.read(most + 1))
    with pa.CompressedInputStream(pa.BufferReader(packed), kind) as stream:
        return len(stream.read(most + 1))


def _files(folder: Path) -> tuple[list[Path], int]:
    """Return the files of a folder, and their size in bytes."""
    files: list[Path] = []
    held = 0

    def entries(above: Path) -> Iterator[Path]:
        with os.scandir(above) as listed:
            for each in sorted(listed, key=lambda one: one.name):
                if each.is_dir(follow_symlinks=False):
                    yield from entries(Path(each.path))
                elif each.is_file(follow_symlinks=False):
                    yield Path(each.path)
                else:
                    raise InputError.of(PLACE, f"'{each.path}' is a link or no regular file")

    for path in entries(folder):
        files.append(path)
        held += path.lstat().st_size
        if len(files) > _FILES:
            raise InputError.of(PLACE, f"'{folder}' has more than {_FILES:,} files")
    return files, held


def _described(path: Path, version: int) -> _Described | None:
    """Return what a file says of an array; ``None`` if it is a group's."""
    found = json.loads(read_at_most(path, _BYTES, PLACE))
    if version == 3 and found.get("node_type") == "group":
        return None
    if version == 2:
        kind, chunk, smallest = found["dtype"], found["chunks"], found["chunks"]
        names = [each["id"] for each in (*(found["filters"] or ()), found["compressor"]) if each]
    else:
        codecs = [*_codecs(found["codecs"])]
        kind, names = found["data_type"], [name for name, _ in codecs]
        chunk = found["chunk_grid"]["configuration"]["chunk_shape"]
        smallest = min((inner for _, inner in codecs if inner), key=prod, default=chunk)
        if found.get("storage_transformers"):
            raise InputError.of(PLACE, f"{path.parent} has storage transformers")
    if len(names) > _MOST_CODECS:
        raise InputError.of(PLACE, f"{path.parent} uses {len(names):,} codecs")
    if unknown := [each for each in names if each not in _CODECS]:
        raise InputError.of(
            PLACE,
            f"{path.parent} uses the codec '{unknown[0]}', which is not read",
            "save it with blosc, zstd or gzip",
        )
    shape = found["shape"]
    if len(shape) != len(chunk) or not all(
        type(axis) is int and 0 <= axis < 2**62 for axis in (*shape, *chunk, *smallest)
    ):
        raise InputError.of(PLACE, f"{path.parent} has a broken shape {shape}")
    if 0 in (*chunk, *smallest):
        raise InputError.of(
            PLACE, f"{path.parent} has chunks of shape {smallest}, which hold no values"
        )
    is_text = "vlen-utf8" in names
    itemsize = _itemsize(kind, str(found["fill_value"]) if is_text else None)
    if itemsize is None:
        raise InputError.of(PLACE, f"{path.parent} holds {kind}, expected numbers")
    inner = prod(chunk) // prod(smallest)
    return _Described(path.parent, version, (*shape,), (*chunk,), inner, itemsize, is_text)


def _codecs(codecs: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each codec, also inside a shard, and the shape of a shard's chunks."""
    for each in codecs:
        inner = {} if isinstance(each, str) else each.get("configuration") or {}
        yield each if isinstance(each, str) else each["name"], inner.get("chunk_shape")
        for key in ("codecs", "index_codecs"):
            yield from _codecs(inner.get(key) or ())


def _itemsize(kind: Any, fill: str | None) -> int | None:
    """Return the size of a value in bytes; ``None`` if it is neither a number nor a text.

    `fill` stands in the place of each missing text, and is ``None`` for numbers.
    """
    if not isinstance(kind, str):
        return None
    if kind in ("|O", "string"):
        return None if fill is None else _TEXT_ITEM + len(fill.encode())
    if _NUMBERS.fullmatch(kind) or _NAMED.fullmatch(kind):
        return max(1, np.dtype(kind).itemsize)
    return None
