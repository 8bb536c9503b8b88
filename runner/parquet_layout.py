"""Where a Parquet file stores its values, read from its metadata without Arrow.

Arrow ends the process at some damaged metadata. A page's header states its unpacked size, which
is what a reader allocates; sizes in the file's footer are not binding.
Format: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any, NamedTuple

from runner.sizes import readable
from runner.thrift import CompactReader

UNCOMPRESSED, SNAPPY = 0, 1
"""Numbers of codecs."""

DATA_PAGE, DICTIONARY_PAGE = 0, 2
"""Numbers of kinds of pages."""

PLAIN = 0
"""Number of an encoding."""

MARK = b"PAR1"
"""The first and the last bytes of a file."""

FOOTER_END = 8
"""Number of bytes at the end of a file: the length of the footer, and `MARK`."""

# Arrow takes about this many times the size of the footer in memory: it may take as much as the
# whole file, or as this size of a footer.
_TIMES, _FOOTER_BYTES = 20, 2**24

_SCHEMA, _ROWS, _GROUPS = 2, 3, 4  # fields of the footer
# By the kind of a page: the field of its header that describes the values.
_HEADER_OF = {0: 5, 2: 7, 3: 8}
_HEADERS: dict[int, Any] = {field: {} for field in _HEADER_OF.values()}
_COLUMN: dict[int, Any] = {3: {}}  # the metadata of a chunk
_REPEATED = 2
_BITS = {0: 1, 1: 32, 2: 64, 3: 96, 4: 32, 5: 64, 6: 32}  # by physical type; a text has a length
_FIXED_LENGTH = 7


class FooterError(ValueError):
    """The footer of a file takes far more memory than the file."""


@dataclass(frozen=True)
class Leaf:
    """A column of a Parquet file's schema: a table's column, or a part of a nested one.

    Attributes
    ----------
    name
        Name of the table's column.
    lists
        Whether a row has several values.
    bits
        Minimum size of a value without an encoding.
    """

    name: str
    lists: bool
    bits: int


class Chunk(NamedTuple):
    """The pages of one column of a row group, according to the file's footer.

    Attributes
    ----------
    group, leaf
        Numbers of the row group and of the column in the file's schema.
    codec
        Number of the compression.
    values
        Number of values, including each value of a list.
    start, end
        Range of bytes in the file.
    """

    group: int
    leaf: int
    codec: int
    values: int
    start: int
    end: int


class Page(NamedTuple):
    """A page, according to its header.

    Attributes
    ----------
    kind, encoding
        Numbers of the kind and of the encoding of the values.
    packed, unpacked
        Sizes in bytes.
    values
        Number of values.
    """

    kind: int
    encoding: int
    packed: int
    unpacked: int
    values: int


@dataclass(frozen=True)
class ParquetLayout:
    """The content of a file's footer.

    Attributes
    ----------
    rows
        Number of rows of the table.
    groups
        Number of rows of each row group.
    leaves
        Columns of the schema.
    chunks
        Chunks in the order of the footer.
    """

    rows: int
    groups: list[int]
    leaves: list[Leaf]
    chunks: list[Chunk]


def footer_start(end: bytes, size: int) -> int:
    """Return the place of the footer in a Parquet file.

    Parameters
    ----------
    end
        The last `FOOTER_END` bytes of the file.
    size
        Size of the file in bytes.

    Raises
    ------
    FooterError, ValueError
        As from `read_layout`.
    """
    length = int.from_bytes(end[:4], "little")
    if end[4:] != MARK or length + 12 > size:
        raise ValueError("it does not end as a Parquet file does")
    if length > (limit := max(_FOOTER_BYTES, size // _TIMES)):
        raise FooterError(
            f"{readable(length)} of {readable(size)} describe its columns and groups of "
            f"rows, the limit is {readable(limit)}"
        )
    return size - FOOTER_END - length


def read_layout(data: bytes | mmap) -> ParquetLayout:
    """Return the layout of a Parquet file, to be read before Arrow opens the file.

    Raises
    ------
    FooterError
        If the footer would take far more memory than the file.
    ValueError
        If the footer is damaged.
    """
    footer_start(data[-FOOTER_END:], len(data))
    rows, groups, leaves, chunks = -1, list[int](), list[Leaf](), list[Chunk]()
    reader = CompactReader(footer_of(data), 0)
    try:
        for field, kind in reader.fields():
            if field == _SCHEMA:
                leaves = _leaves(reader.struct({4: None}) for _ in reader.structs(kind))
            elif field == _ROWS:
                rows = reader.integer(kind)
            elif field == _GROUPS:
                for _ in reader.structs(kind):
                    groups.append(_group(reader, len(groups), chunks))
            else:
                reader.skip(kind)
    except (IndexError, KeyError) as error:
        raise ValueError("its metadata is damaged") from error
    if min(rows, *groups, 0) < 0 or any(chunk.leaf >= len(leaves) for chunk in chunks):
        raise ValueError("its metadata is damaged")
    return ParquetLayout(rows, groups, leaves, chunks)


def footer_of(data: bytes | mmap) -> bytes:
    """Return the footer of a file that is long enough to have one."""
    length = int.from_bytes(data[-FOOTER_END:-4], "little")
    return data[-FOOTER_END - length : -FOOTER_END]


def offsets_of_groups(data: bytes) -> tuple[int, int]:
    """Return where in the footer of a file the number of rows begins, and where the groups end.

    Parameters
    ----------
    data
        A file that is known to be valid.
    """
    reader = CompactReader(footer_of(data), 0)
    rows = end = 0
    for field, kind in reader.fields():
        if field == _ROWS:
            rows = end
        reader.skip(kind)
        end = reader.at
        if field == _GROUPS:
            return rows, end
    raise ValueError("it holds no groups of rows")


def pages(data: bytes | mmap, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a chunk.

    Raises
    ------
    ValueError
        If a header is damaged, or the pages do not fill the chunk.
    """
    place = chunk.start
    reader = CompactReader(data, place)
    while place < chunk.end:
        reader.at = place
        try:
            header = reader.struct(_HEADERS)
            inner = header.get(_HEADER_OF.get(header[1], 0), {})
            page = Page(header[1], inner.get(2, PLAIN), header[3], header[2], inner.get(1, 0))
        except (IndexError, KeyError) as error:
            raise ValueError("the header of a page is damaged") from error
        if min(page.packed, page.unpacked, page.values) < 0:
            raise ValueError("the header of a page is damaged")
        yield page
        place = reader.at + page.packed
    if place != chunk.end:
        raise ValueError("a page does not end with its column")


def _group(reader: CompactReader, number: int, chunks: list[Chunk]) -> int:
    """Read a row group: add its chunks to a list, and return its number of rows."""
    rows = -1
    for field, kind in reader.fields():
        if field == 1:
            for leaf in reader.structs(kind):
                told = reader.struct(_COLUMN)[3]
                codec, values, packed, start = told[4], told[5], told[7], told[9]
                if 0 < told.get(11, 0) < start:  # a dictionary comes first
                    start = told[11]
                if min(values, packed, start) < 0:
                    raise IndexError
                chunks.append(Chunk(number, leaf, codec, values, start, start + packed))
        elif field == 3:
            rows = reader.integer(kind)
        else:
            reader.skip(kind)
    return rows


def _leaves(elements: Iterator[dict[int, Any]]) -> list[Leaf]:
    """Return the leaves of a schema, whose elements are in the order of a walk down its tree."""
    leaves: list[Leaf] = []
    # Of each group on the way down: its name at the top, whether it repeats, its members left.
    above: list[tuple[str, bool, int]] = []
    next(elements, None)  # the whole
    for element in elements:
        while above and not above[-1][2]:
            above.pop()
        name, lists = element[4].decode("utf-8", "replace"), element.get(3) == _REPEATED
        if above:
            top, repeats, left = above.pop()
            above.append((top, repeats, left - 1))
            name, lists = top, lists or repeats
        if (members := element.get(5, 0)) > 0:
            above.append((name, lists, members))
        elif element[1] == _FIXED_LENGTH:
            leaves.append(Leaf(name, lists, 8 * element[2]))
        else:
            leaves.append(Leaf(name, lists, _BITS[element[1]]))
    return leaves
