"""A text file as a table: its encoding, its delimiter, and the lines of its rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import IO, Annotated, ClassVar, Literal

from pydantic import Field

from runner.errors import InputError
from runner.given_files import GivenFile
from runner.probe.columns import MAX_COLUMNS, TableSource
from runner.probe.compressed import COMPRESSIONS, Unpacked
from runner.probe.number_texts import is_number
from runner.regular_files import BINARY_START, binary_kind
from runner.sizes import readable

_BLOCK_BYTES = 2**20
# Maximum length of a number in a text; a row must fit in a block.
_NUMBER_BYTES = 32
_DELIMITERS = (",", ";", "\t", "|", " ")
_LOOKED_AT = 20
_SEPARATOR_HINT = re.compile(r"sep=([^\w\s]|\t)\r?\n?")
# Columns without a name, and the names that pandas gives to them.
_NAMELESS = re.compile(r"(Unnamed: \d+(\.\d+)*)?")


class TextSource(TableSource):
    """A table in a text file, and how the text is read."""

    examples: ClassVar[dict[str, str]] = {
        **TableSource.examples,
        "delimiter": "'probe.delimiter=\";\"'",
        "decimal": "'probe.decimal=\",\"'",
        "header": "probe.header=false",
        "encoding": "probe.encoding=latin-1",
    }

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Separator of columns; `null`: detected from the first rows."""
    decimal: Literal[".", ","] = "."
    """Decimal separator."""
    header: bool | None = None
    """Whether the first line names the columns; `null`: it must, and numbers there are refused."""
    encoding: str = "utf-8"
    """Encoding of the text."""


class TextTable:
    """A text file whose rows are samples.

    Parameters
    ----------
    file
        The file, plain or compressed.
    config
        Configuration of the probe; unset options are detected from the first rows.

    Attributes
    ----------
    delimiter
        Delimiter of the columns.
    names
        Names of the columns; empty for a column without a name.
    above
        Number of lines above the rows.
    index
        Leading columns without a name, in which pandas and R write the names of rows.
    index_ids
        Columns of `index` that are ids, not an old index that was read and written again.

    Raises
    ------
    InputError
        If the file is not text, has no rows, or its columns have no distinct names.
    """

    def __init__(self, file: GivenFile, config: TextSource) -> None:
        self.file = file
        self._config = config
        self._check_encoding()
        kind = binary_kind(file.start(BINARY_START))
        self.compression = COMPRESSIONS.get(kind or "")
        if kind is not None and self.compression is None:
            advice = "unpack it first" if kind in ("a zip file", "an xz file", "a 7z file") else ""
            if "Office" in kind:
                advice = "save the sheet as CSV"
            raise InputError.of("probe.path", f"{file} is not text: it is {kind}", advice)
        self._hint, self._skipped = self._separator_hint()
        self.delimiter = config.delimiter or self._hint or ","
        if config.delimiter is None and self._hint is None:
            self.delimiter = self._found_delimiter()
        self.names, self.above = self._header()
        leading = takewhile(_NAMELESS.fullmatch, self.names)
        self.index = [] if config.header is False else list(leading)
        unnamed = [column for column, name in enumerate(self.index) if not name]
        for column in unnamed:
            self.index[column] = self.names[column] = f"column {column}"
        self.index_ids = [self.index[column] for column in unnamed or range(len(self.index[:1]))]
        self._check_names()
        if next(self.rows(), None) is None:
            raise InputError.of(
                "probe", f"csv {file} has 0 rows below its header", "give at least one sample"
            )

    @property
    def block_size(self) -> int:
        """Number of bytes read at once; the maximum size of a row."""
        return max(_BLOCK_BYTES, _NUMBER_BYTES * len(self.names))

    def open(self) -> IO[bytes]:
        """Open the file, decompressed.

        Raises
        ------
        InputError
            During reading, if the file unpacks to far more than its size.
        """
        if self.compression is None:
            return self.file.open()
        return io.BufferedReader(Unpacked(self.file, self.compression), 2**16)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows below the header, each with the number of its first line."""
        for line, _, cells in self._parsed(self.delimiter):
            if line > self.above:
                yield line, cells

    def locate(self, row: int) -> str:
        """Return the position of a row: ``data.csv:7``."""
        return f"{self.file}:{next(islice(self.rows(), row, None))[0]}"

    def _parsed(self, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
        """Yield all rows, each with the numbers of its first and last line."""
        encoding = self._config.encoding
        if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
            encoding = "utf-8-sig"
        with self.open() as file:
            lines = _Lines(io.TextIOWrapper(file, encoding, newline=""), self.file)
            line = 1
            try:
                for _ in range(self._skipped):
                    line += next(lines) is not None
                reader = csv.reader(lines, delimiter=delimiter)
                for cells in reader:
                    if cells:
                        yield line, self._skipped + reader.line_num, cells
                        lines.begin_row()
                    line = self._skipped + reader.line_num + 1
            except UnicodeError as error:
                raise InputError.of(
                    str(self.file),
                    f"not {self._config.encoding} at byte {self._undecodable(encoding)}",
                    "set probe.encoding=utf-16"
                    if self._begins_as_utf16()
                    else "set probe.encoding, such as cp949 or latin-1",
                ) from error
            except (csv.Error, OSError, EOFError) as error:
                raise InputError.of(f"{self.file}:{line}", str(error)) from error

    def _separator_hint(self) -> tuple[str | None, int]:
        """Return the delimiter in Excel's first line ``sep=``, and the number of lines to skip."""
        with self.open() as file:
            try:
                first = file.readline(16).decode("utf-8-sig")
            except (UnicodeError, OSError):
                return None, 0
        hint = _SEPARATOR_HINT.fullmatch(first)
        return (hint[1], 1) if hint else (None, 0)

    def _found_delimiter(self) -> str:
        """Return the delimiter that splits the first rows into the same number of columns."""
        header: dict[str, int] = {}
        fitting: dict[str, int] = {}
        for delimiter in _DELIMITERS:
            try:
                first = [cells for _, _, cells in islice(self._parsed(delimiter), _LOOKED_AT)]
            except InputError as error:
                if "not " + self._config.encoding in str(error):
                    raise
                continue
            widths = [len(cells) for cells in first]
            if not widths or widths[0] == 1 or (delimiter == " " and len(widths) == 1):
                continue
            header[delimiter] = widths[0]
            # The header of R's write.table lacks the name of the first column.
            if len(set(widths)) == 1 or {*widths[1:]} == {widths[0] + 1}:
                fitting[delimiter] = widths[0]
        if fitting.keys() - {" "}:
            fitting.pop(" ", None)
        for found in (fitting, {key: width for key, width in header.items() if key != " "}):
            if found:
                return max(found, key=lambda delimiter: found[delimiter])
        return ","

    def _header(self) -> tuple[list[str], int]:
        """Return the names of the columns, and the number of lines above the rows."""
        first = next(self._parsed(self.delimiter), None)
        if first is None:
            raise InputError.of("probe", f"{self.file} has 0 rows", "give at least one sample")
        line, end, cells = first
        place = f"{self.file}:{line}"
        if len(cells) > MAX_COLUMNS:
            raise InputError.of(
                place,
                f"{len(cells):,} columns, the limit is {MAX_COLUMNS:,}",
                "save the numbers as an array and use probe=npy",
            )
        if len(cells) == 1 and self._config.delimiter and re.search(r"[,;\t|]", cells[0]):
            raise InputError.of(
                place,
                f"one column found with probe.delimiter={self._config.delimiter!r}",
                "leave out probe.delimiter to detect it",
            )
        if self._config.header is False:
            return [f"c{column}" for column in range(len(cells))], self._skipped
        if self._config.header is None and all(is_number(cell) for cell in cells):
            raise InputError.of(
                place,
                "expected the columns' names, found numbers",
                "set probe.header=false, or probe.header=true if they are the names",
            )
        return cells, end

    def _check_names(self) -> None:
        place = f"{self.file}:{self._skipped + 1}"
        wanted = self._config.input_columns
        seen: dict[str, int] = {}
        for column, name in enumerate(self.names):
            if not name and wanted is None:
                raise InputError.of(
                    place, f"column {column} has no name", "name the inputs in probe.input_columns"
                )
            if "\0" in name:
                raise InputError.of(place, f"column {column} has a NUL in its name, {name!r}")
            if name in seen and (name or wanted is None):
                raise InputError.of(place, f"two columns are named '{name}'")
            seen[name] = column

    def _check_encoding(self) -> None:
        encoding, delimiter = self._config.encoding, self._config.delimiter
        try:
            "".encode(encoding)  # codecs.lookup accepts encodings of bytes too
        except (LookupError, ValueError) as error:  # one with a NUL, or Python's "undefined"
            raise InputError.of("probe.encoding", f"unknown encoding '{encoding}'") from error
        if delimiter is not None and (delimiter in '"\r\n' or not delimiter.isascii()):
            raise InputError.of("probe.delimiter", f"cannot be {delimiter!r}")

    def _begins_as_utf16(self) -> bool:
        with self.open() as file:
            return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

    def _undecodable(self, encoding: str) -> int:
        """Return the offset of the byte that cannot be decoded; stream errors count per block."""
        decoder = codecs.getincrementaldecoder(encoding)()
        end = 0
        with self.open() as file:
            try:
                while block := file.read(2**16):
                    end += len(block)
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeError as error:
                if isinstance(error, UnicodeDecodeError):
                    return end - len(error.object) + error.start
                return 0  # no byte-order mark where the encoding needs one
        return end


class _Lines:
    """The lines of a text, with a maximum length and number of the lines of a row.

    Empty lines count as part of the row below them.
    """

    def __init__(self, lines: IO[str], file: GivenFile) -> None:
        self._lines_of = lines
        self._file = file
        self._most = _NUMBER_BYTES * MAX_COLUMNS
        self.begin_row()

    def begin_row(self) -> None:
        """Start counting the length and the lines of a new row."""
        self._row = self._lines = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._lines_of.readline(self._most + 1)
        if not line:
            raise StopIteration
        self._row += len(line)
        self._lines += 1
        if self._row > self._most or self._lines > MAX_COLUMNS:
            limit = readable(self._most)
            if self._lines > MAX_COLUMNS:
                limit = f"{MAX_COLUMNS:,} lines, or as many empty lines above it"
            raise InputError.of(
                str(self._file),
                f"has a row of more than {limit}",
                "if it is one array, save it as .npy and use probe=npy",
            )
        return line
