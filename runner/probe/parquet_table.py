"""A Parquet file as a table, read piece by piece from a disk or an object store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import InputError, first_line
from runner.given_files import GivenFile
from runner.parquet_layout import FOOTER_END, FooterError, footer_start, read_layout
from runner.probe.arrow_values import why_not_numbers
from runner.probe.compressed import check_samples, check_unpacked
from runner.probe.parquet_pages import check_pages
from runner.probe.stored_tables import StoredTable

_BLOCK_BYTES = 2**20
# Buffer for reading ahead: in all columns together, and the bounds per column.
_AHEAD_BYTES, _LEAST_AHEAD, _MOST_AHEAD = 2**25, 2**12, 2**16
# Assumed size of a text, when the number of rows per block is chosen.
_TEXT_BYTES = 128
_UNPACK = "save it as .npy and use probe=npy"


class ParquetTable(StoredTable):
    """A Parquet file as a table.

    A file on a disk is read page by page. Of one in a store, a row group is fetched at a time,
    into a file on this machine's disk.

    Parameters
    ----------
    file
        The file.

    Raises
    ------
    InputError
        If the file is damaged, or far larger in memory than it is.
    """

    def __init__(self, file: GivenFile) -> None:
        self.place = file.place
        self._file = file
        with self._reading():
            with file.open() as opened:
                start = footer_start(self._end(opened), file.size)
            data = file.content([(start, file.size)])
            self._layout = read_layout(data)
            check_samples(file, self._layout.rows, _UNPACK)
            source = file.path or pa.BufferReader(pa.py_buffer(data))
            with _opened(source) as whole:
                self.schema, self._metadata = whole.schema_arrow, whole.metadata
            self.names = self.schema.names
        self.rows: int = self._layout.rows
        self._values: dict[str, int] = {}
        self._checked: tuple[Sequence[str], Sequence[str], int] | None = None

    def check(self, numbers: Sequence[str], texts: Sequence[str], limit: int) -> None:
        """Check the sizes of the pages: in a store, before each row group is read."""
        file, layout, declared, packed = self._file, self._layout, 0, 0
        self._checked = numbers, texts, limit
        with self._reading():
            if file.path is not None:
                check_pages(file, file.content(), layout, numbers, texts, limit)
            for chunk in layout.chunks:
                leaf = layout.leaves[chunk.leaf]
                self._values[leaf.name] = self._values.get(leaf.name, 0) + chunk.values
                declared += chunk.values * leaf.bits // 8
                packed += chunk.end - chunk.start
            check_unpacked(file, declared, _UNPACK)
            if packed > file.size:
                raise ValueError("its columns overlap")

    def tables(self, include: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of some columns, in pieces from the first row."""
        return self._tables(include, 0)

    def _tables(self, include: Sequence[str], first: int) -> Iterator[pa.Table]:
        """Yield the rows of some columns from a row group on."""
        rows = max(1, _BLOCK_BYTES // max(1, sum(map(self._row_bytes, include))))
        ahead = max(_LEAST_AHEAD, min(_MOST_AHEAD, _AHEAD_BYTES // len(include)))
        texts = [name for name in include if self._is_text(name)]
        options: dict[str, Any] = {"read_dictionary": texts, "metadata": self._metadata}
        with self._reading():
            if self._file.path is not None:
                with _opened(self._file.path, buffer_size=ahead, **options) as whole:
                    groups = [*range(first, len(self._layout.groups))]
                    yield from _pieces(whole, rows, include, row_groups=groups)
                return
            for group in range(first, len(self._layout.groups)):
                with _opened(self._fetched(group, include), **options) as whole:
                    yield from _pieces(whole, rows, include, row_groups=[group])

    def tables_from(self, include: Sequence[str], row: int) -> Iterator[pa.Table]:
        """Yield the rows from one on; row groups that end before it are not read."""
        groups, start = self._layout.groups, 0
        first = 0
        while first < len(groups) and start + groups[first] <= row:
            start += groups[first]
            first += 1
        row -= start
        for table in self._tables(include, first):
            if row < table.num_rows:
                yield table.slice(row) if row else table
            row = max(0, row - table.num_rows)

    def _fetched(self, group: int, include: Sequence[str]) -> pa.BufferReader:
        """Return the file with some columns of a row group fetched, and checked."""
        layout = self._layout
        chunks = [
            each for each in layout.chunks
            if each.group == group and layout.leaves[each.leaf].name in include
        ]  # fmt: skip
        data = self._file.content((each.start, each.end) for each in chunks)
        if self._checked is not None:
            wanted, limit = set(include), self._checked[2]
            numbers, texts = map(wanted.intersection, self._checked[:2])
            of_group = replace(layout, chunks=chunks)
            check_pages(self._file, data, of_group, numbers, texts, limit)
        return pa.BufferReader(pa.py_buffer(data))

    def _end(self, opened: Any) -> bytes:
        opened.seek(max(0, self._file.size - FOOTER_END))
        return bytes(opened.read())

    def _is_text(self, name: str) -> bool:
        return self._checked is not None and name in self._checked[1]

    def _row_bytes(self, name: str) -> int:
        if why_not_numbers(self.schema.field(name).type) is not None:
            return _TEXT_BYTES
        return 8 * -(-self._values.get(name, 0) // max(1, self.rows))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of Arrow into an InputError that describes the file."""
        file = self._file
        try:
            yield
        except InputError:
            raise
        except FooterError as error:
            advice = "save it with larger groups of rows, or as .npy, and use probe=npy"
            raise InputError.of("probe.path", f"{file}: {error}", advice) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            kind = file.what_it_is()
            if "Parquet" not in kind:
                message = f"{file} is not a Parquet file: {kind}"
                raise InputError.of("probe.path", message) from error
            message = f"{file} is damaged: {first_line(error)}"
            raise InputError.of("probe.path", message) from error


def _opened(source: Any, **options: Any) -> pq.ParquetFile:
    # With pre_buffer, Arrow would read whole row groups ahead, and keep them.
    return pq.ParquetFile(source, pre_buffer=False, **options)


def _pieces(
    whole: pq.ParquetFile, rows: int, include: Sequence[str], **options: Any
) -> Iterator[pa.Table]:
    for batch in whole.iter_batches(rows, columns=list(include), use_threads=False, **options):
        yield pa.table(batch)
