"""The size that the chunks of an HDF5 file unpack to, counted before HDF5 unpacks them.

HDF5 unpacks a chunk to whatever its data says, and not only to the size of the chunk that the file
declares: a few kilobytes may become gigabytes.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py

_DEFLATE, _SHUFFLE, _CHECKSUM, _LZF = 1, 2, 3, 32000
_MOST_LZF = 4 << 20  # bytes of a chunk, which LZF unpacks to at most 88 times as many
_PIECE = 1 << 20
_REFERENCE = 16  # bytes of a text's place in the file


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
