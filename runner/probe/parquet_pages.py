"""The memory that the pages of a Parquet file take, read from their headers before unpacking."""

from __future__ import annotations

from collections.abc import Container
from mmap import mmap

from runner.errors import InputError
from runner.given_files import GivenFile
from runner.parquet_layout import (
    DICTIONARY_PAGE,
    SNAPPY,
    UNCOMPRESSED,
    Page,
    ParquetLayout,
    pages,
)
from runner.sizes import readable

# These unpack to at most 22 times their size.
_MILD_CODECS = (UNCOMPRESSED, SNAPPY)
# Maximum size of a page of ids or labels: in total, or per value.
_TEXT_PAGE_BYTES, _TEXT_BYTES = 16 * 2**20, 100_000
_LIST_TIMES = 20


def check_pages(
    file: GivenFile,
    data: bytes | mmap,
    layout: ParquetLayout,
    numbers: Container[str],
    texts: Container[str],
    limit: int,
) -> None:
    """Check that a file does not take too much memory while it is read.

    While a row group is read, one page and the dictionary of every column are in memory; for
    lists, all rows of a block, which may be all rows of the file.

    Parameters
    ----------
    file, data, layout
        The file, its content and its layout.
    numbers, texts
        Columns of the table that are read: as numbers, and as ids or labels.
    limit
        Maximum memory in bytes; a larger file may take as much as its own size.

    Raises
    ------
    InputError
        If the file takes too much memory.
    ValueError
        If the file is damaged.
    """
    size = len(data)
    taken: dict[int, int] = {}
    for chunk in layout.chunks:
        leaf = layout.leaves[chunk.leaf]
        is_text = leaf.name in texts
        mild = chunk.codec in _MILD_CODECS and not leaf.lists
        if not is_text and (mild or leaf.name not in numbers):
            continue
        found = list(pages(data, chunk))
        taken[chunk.group] = taken.get(chunk.group, 0) + _memory(found)
        if is_text:
            _check_texts(found, file, leaf.name)
        values = sum(page.values for page in found if page.kind != DICTIONARY_PAGE)
        if leaf.lists and 8 * values > max(limit, _LIST_TIMES * size):
            raise _too_large(file, f"the lists of column '{leaf.name}'", 8 * values, limit)
    for group, total in taken.items():
        if total > max(limit, size):
            raise _too_large(file, f"the pages of row group {group}", total, limit)


def _memory(found: list[Page]) -> int:
    dictionary = sum(page.unpacked for page in found if page.kind == DICTIONARY_PAGE)
    return dictionary + max((page.unpacked for page in found), default=0)


def _check_texts(found: list[Page], file: GivenFile, name: str) -> None:
    for page in found:
        if page.unpacked > max(_TEXT_PAGE_BYTES, _TEXT_BYTES * page.values):
            raise InputError.of(
                "probe.path",
                f"{file}: column '{name}': {page.values:,} texts of {readable(page.unpacked)} "
                "are too long for ids or labels",
            )


def _too_large(file: GivenFile, what: str, found: int, limit: int) -> InputError:
    return InputError.of(
        "probe.max_bytes",
        f"{file}: {what} unpack to {readable(found)}, the limit is {readable(limit)}",
        "if this is intended, raise probe.max_bytes",
    )
