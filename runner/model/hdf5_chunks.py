"""The chunks of an HDF5 file and the size that they unpack to, counted before HDF5 reads them.

HDF5 lists every chunk that is read, also one that is missing, and unpacks a chunk to whatever its
data says, and not only to the size of the chunk that the file declares: a few kilobytes may become
gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

from runner.sizes import readable

if TYPE_CHECKING:
    import h5py

_DEFLATE, _SHUFFLE, _CHECKSUM, _LZF = 1, 2, 3, 32000
_MOST_LZF = 4 << 20  # bytes of a chunk, which LZF unpacks to at most 88 times as many
_PIECE = 1 << 20
_CHUNKS = 10_000  # that may be missing, or small; to read one takes HDF5 4 kB
_CHUNK_BYTES = 1000
_REFERENCE = 16  # bytes of a text's place in the file


def why_not_listed(arrays: Iterable[h5py.Dataset], held: int) -> str:
    """Return why the arrays of a file are not read, after its name; empty if they can be.

    Parameters
    ----------
    arrays
        The arrays.
    held
        Size of the file in bytes.
    """
    shapes = [(each.shape or (), each.chunks) for each in arrays if each.chunks]
    chunks = sum(prod(-(-a // b) for a, b in zip(*each, strict=True)) for each in shapes)
    if chunks > _CHUNKS + held // _CHUNK_BYTES:
        return f"declares {chunks:,} chunks, and has {readable(held)}"
    return ""


def why_not_unpacked(array: h5py.Dataset) -> str:
    """Return why an array of a file is not read, after its name; empty if its chunks can be.

    Parameters
    ----------
    array
        The array, whose declared size was checked, also that of its chunks.
    """
    made = array.id.get_create_plist()
    filters = [made.get_filter(number)[0] for number in range(made.get_nfilters())]
    packing = [each for each in filters if each not in (_SHUFFLE, _CHECKSUM)]
    if not packing:
        return ""
    if packing not in ([_DEFLATE], [_LZF]):
        return "is not packed with gzip or lzf alone"
    size = _REFERENCE if array.dtype.hasobject else array.dtype.itemsize
    chunk = prod(array.chunks) * size + 4  # perhaps with a checksum
    wrong = ""

    def check(stored: Any) -> bool | None:
        """Note what is wrong with a chunk, and end with it."""
        nonlocal wrong
        if packing == [_LZF]:
            wrong = "has a large chunk, packed with lzf" if stored.size > _MOST_LZF else ""
        else:
            _, packed = array.id.read_direct_chunk(stored.chunk_offset)
            is_more = unpacked_size(packed, chunk) > chunk
            wrong = "unpacks to far more than it declares" if is_more else ""
        return True if wrong else None

    array.id.chunk_iter(check)
    return wrong


def unpacked_size(packed: bytes, most: int) -> int:
    """Return the size of what data of zlib unpacks to, or a size over `most` if it is more."""
    stream, size = zlib.decompressobj(), 0
    try:
        while packed and size <= most:
            size += len(stream.decompress(packed, _PIECE))
            packed = stream.unconsumed_tail
    except zlib.error:  # which is found when it is read
        pass
    return size
