"""The memory that the pages of a Parquet file take, read from their headers before unpacking.

A page's header states its unpacked size, which is what a reader allocates; sizes in the file's
footer are not binding. Format: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.errors import InputError
from runner.preflight import readable
from runner.probe.thrift import CompactStruct

# First and maximum number of bytes to read for a header, as in Arrow.
_HEADER_BYTES = (512, 16 * 2**20)
# These unpack to at most 22 times their size.
_MILD_CODECS = (0, 1)  # none, Snappy
# Maximum size of a page of ids or labels: in total, or per value.
_TEXT_PAGE_BYTES, _TEXT_BYTES = 16 * 2**20, 100_000
_LIST_TIMES = 20
_DICTIONARY_PAGE = 2


@dataclass(frozen=True)
class Leaf:
    """A column of a Parquet file's schema: a table's column, or a part of a nested one.

    Attributes
    ----------
    column
        Name of the table's column.
    lists
        Whether a row has several values.
    text
        Whether the column is read as ids or labels.
    """

    column: str
    lists: bool
    text: bool


@dataclass(frozen=True)
class Chunk:
    """The pages of one column of a row group, according to the file's footer.

    Attributes
    ----------
    group, leaf
        Numbers of the row group and of the column in the file's schema.
    mild
        Whether the compression unpacks to at most a small multiple of the size.
    values
        Number of values, including each value of a list.
    start, end
        Range of bytes in the file.
    """

    group: int
    leaf: int
    mild: bool
    values: int
    start: int
    end: int


@dataclass(frozen=True)
class _Page:
    kind: int
    unpacked: int
    values: int


def read_chunks(path: Path) -> list[Chunk]:
    """Return all chunks of a Parquet file, in the order of the footer.

    Arrow is not used, since some damaged metadata of chunks crash it.

    Raises
    ------
    InputError
        If the footer is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(8)[:4], "little")
        file.seek(max(0, size - 8 - length))
        footer = file.read(length)
    try:
        groups = CompactStruct(footer).fields().get(4, [])
        return [
            _chunk(number, leaf, column)
            for number, group in enumerate(_listed(groups))
            for leaf, column in enumerate(_listed(_told(group, 1)))
        ]
    except (IndexError, TypeError) as error:
        raise InputError.of("probe.path", f"{path} is damaged") from error


def check_pages(
    path: Path, chunks: Sequence[Chunk], leaves: Mapping[int, Leaf], limit: int
) -> None:
    """Check that a file does not take too much memory while it is read.

    While a row group is read, one page and the dictionary of every column are in memory; for
    lists, all rows of a block, which may be all rows of the file.

    Parameters
    ----------
    path, chunks
        Path of the file, and its chunks according to the footer.
    leaves
        Columns of the file's schema that are read, by position.
    limit
        Maximum memory in bytes; a larger file may take as much as its own size.

    Raises
    ------
    InputError
        If the file takes too much memory, or a header cannot be read.
    """
    size = path.stat().st_size
    taken: dict[int, int] = {}
    with path.open("rb") as file:
        for chunk in chunks:
            leaf = leaves.get(chunk.leaf)
            if leaf is None or (chunk.mild and not leaf.lists and not leaf.text):
                continue
            pages = list(_pages(file, chunk, path))
            taken[chunk.group] = taken.get(chunk.group, 0) + _memory(pages)
            if leaf.text:
                _check_texts(pages, path, leaf.column)
            values = sum(page.values for page in pages if page.kind != _DICTIONARY_PAGE)
            if leaf.lists and 8 * values > max(limit, _LIST_TIMES * size):
                raise _too_large(path, f"the lists of column '{leaf.column}'", 8 * values, limit)
    for group, found in taken.items():
        if found > max(limit, size):
            raise _too_large(path, f"the pages of row group {group}", found, limit)


def _memory(pages: list[_Page]) -> int:
    dictionary = sum(page.unpacked for page in pages if page.kind == _DICTIONARY_PAGE)
    return dictionary + max((page.unpacked for page in pages), default=0)


def _check_texts(pages: list[_Page], path: Path, name: str) -> None:
    for page in pages:
        if page.unpacked > max(_TEXT_PAGE_BYTES, _TEXT_BYTES * page.values):
            raise InputError.of(
                "probe.path",
                f"{path}: column '{name}': {page.values:,} texts of {readable(page.unpacked)} "
                "are not ids or labels",
            )


def _too_large(path: Path, what: str, found: int, limit: int) -> InputError:
    return InputError.of(
        "probe.max_bytes",
        f"{path}: {what} unpack to {readable(found)}, the limit is {readable(limit)}",
        "raise probe.max_bytes if that is meant",
    )


def _chunk(group: int, leaf: int, column: object) -> Chunk:
    described = _told(column, 3)
    codec, values, packed, data = (_whole(_told(described, field)) for field in (4, 5, 7, 9))
    dictionary = _told(described, 11)
    start = data
    if isinstance(dictionary, int) and 0 < dictionary < data:
        start = dictionary
    return Chunk(group, leaf, codec in _MILD_CODECS, values, start, start + packed)


def _told(struct: object, field: int) -> object:
    if not isinstance(struct, dict):
        raise TypeError
    return struct.get(field)


def _listed(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _pages(file: BinaryIO, chunk: Chunk, path: Path) -> Iterator[_Page]:
    start = chunk.start
    while start < chunk.end:
        page, header, packed = _header(file, start, path)
        yield page
        start += header + packed


def _header(file: BinaryIO, start: int, path: Path) -> tuple[_Page, int, int]:
    """Return a page, and the sizes of its header and its content in bytes."""
    length, most = _HEADER_BYTES
    while True:
        file.seek(start)
        data = file.read(length)
        try:
            fields = CompactStruct(data)
            found = fields.fields()
            break
        except IndexError:
            if len(data) < length or length >= most:
                raise InputError.of("probe.path", f"{path} is damaged") from None
            length = min(16 * length, most)
    inner = next((found[field] for field in (5, 7, 8) if field in found), {})
    try:
        kind, unpacked, packed = (_whole(found.get(field)) for field in (1, 2, 3))
        values = _told(inner, 1)
        return _Page(kind, unpacked, _whole(values or 0)), fields.at, packed
    except TypeError:
        raise InputError.of("probe.path", f"{path} is damaged") from None
