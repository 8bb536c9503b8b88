"""Probes from CSV and similar text tables, one sample per row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from runner.errors import InputError, first_line
from runner.given_files import given_file
from runner.probe.arrow_values import READ_AS_NAN
from runner.probe.columns import ColumnRoles
from runner.probe.compressed import check_samples
from runner.probe.delimited_text import TextSource, TextTable
from runner.probe.exactness import KEEP_INTEGER, rounding
from runner.probe.number_texts import MISSING, is_number, missing_words
from runner.probe.probe import Probe
from runner.probe.table_probe import TableProbe
from runner.tensors import InputSpec

_INTEGER = r"^[ \t]*[+-]?[0-9]+[ \t]*$"
_THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}([,.' \u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?\s*")
# Integers with up to this many digits are exact in float64.
_EXACT_DIGITS = 15


class CsvConfig(TextSource):
    """A text file with one sample per row.

    Columns ``id`` and ``label`` are used as sample ids and labels unless others are named; all
    remaining columns are inputs.
    """

    order = 20
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=csv probe.path=flowers.csv",
        **TextSource.examples,
    }

    source: Literal["csv"]

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the table, read in blocks of 1 MiB; Arrow reads some ahead."""
        file = given_file(self.path, "probe.path", whole=True)
        return _CsvProbe(TextTable(file, self), self).probe()


class _CsvProbe:
    def __init__(self, text: TextTable, config: CsvConfig) -> None:
        self._text = text
        self._config = config
        self._roles = ColumnRoles(
            config, text.names, f"csv {config.path}", text.index, text.index_ids, text.locate
        )
        self._integers: list[bool] | None = None

    def probe(self) -> Probe:
        roles, config = self._roles, self._config
        schema = pa.schema([(name, pa.float64()) for name in roles.numbers])
        table = TableProbe(
            roles,
            schema,
            self._tables,
            allow_nan=config.allow_nan,
            max_bytes=config.max_bytes,
        )
        probe = table.probe(integers=self._integer_columns)
        check_samples(self._text.file, probe.rows or 0, "unpack it first")
        return probe

    def _tables(self, include: Sequence[str]) -> Iterator[pa.Table]:
        texts = set(self._roles.texts)
        types = {name: pa.string() if name in texts else pa.float64() for name in include}
        missing = missing_words() if self._config.allow_nan else []
        try:
            yield from self._read(types, missing)
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise self._diagnosed(error) from error

    def _read(self, types: dict[str, pa.DataType], missing: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of some columns in the given types."""
        text = self._text
        place = {name: str(column) for column, name in reversed([*enumerate(text.names)])}
        with text.open() as file:
            reader = pa.csv.open_csv(
                file if text.compression or text.file.path is None else str(text.file.path),
                read_options=pa.csv.ReadOptions(
                    block_size=text.block_size,
                    column_names=[str(column) for column in range(len(text.names))],
                    skip_rows=text.above,
                    encoding=self._config.encoding,
                    use_threads=False,
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=text.delimiter, newlines_in_values=True
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types={place[name]: kind for name, kind in types.items()},
                    include_columns=[place[name] for name in types],
                    null_values=missing,
                    strings_can_be_null=False,
                    decimal_point=self._config.decimal,
                ),
            )
            for batch in reader:
                yield pa.table(batch).rename_columns(list(types))

    def _integer_columns(self) -> Sequence[bool]:
        """Return for each input whether it is written as integers in all rows.

        This reads the file again, so it is called only if a value may be rounded.

        Raises
        ------
        InputError
            If float64 cannot represent one of the integers.
        """
        if self._integers is None:
            inputs = self._roles.inputs
            types: dict[str, pa.DataType] = dict.fromkeys(inputs, pa.string())
            integers, rounded = [True] * len(inputs), []
            start = 0
            for table in self._read(types, []):
                for place, name in enumerate(inputs):
                    if integers[place]:
                        column = table.column(name)
                        integers[place] = _all_integers(column)
                        row = _rounded_row(column) if integers[place] else None
                        if row is not None:
                            rounded.append((start + row, place, column[row].as_py()))
                start += table.num_rows
            for row, place, cell in rounded:
                if integers[place]:
                    raise InputError.of(
                        self._text.locate(row),
                        f"column '{inputs[place]}': {rounding(int(cell), 'float64', float(cell))}",
                        KEEP_INTEGER,
                    )
            self._integers = integers
        return self._integers

    def _diagnosed(self, error: Exception) -> InputError:
        """Return the error that names the row and column on which the fast reader failed."""
        text, numbers = self._text, self._roles.numbers
        places = {name: column for column, name in reversed([*enumerate(text.names)])}
        columns = [(name, places[name]) for name in numbers]
        try:
            for line, cells in text.rows():
                if len(cells) != len(text.names):
                    return self._of_width(line, cells)
                for name, column in columns:
                    cell = cells[column]
                    missing = self._config.allow_nan and cell.strip() in MISSING
                    if not missing and not is_number(cell, self._config.decimal):
                        return self._of_cell(line, name, cell)
        except InputError as found:
            return found
        return InputError.of(str(text.file), f"cannot be read: {first_line(error)}")

    def _of_width(self, line: int, cells: list[str]) -> InputError:
        text, found = self._text, len(cells)
        fields = "1 field" if found == 1 else f"{found} fields"
        advice = ""
        if found == len(text.names) + 1 > 2 and line == text.above + 1:
            advice = (
                "if the rows begin with row names, as in R's write.table, give that column a name"
                if cells[-1].strip()
                else "remove the delimiter at the end of the rows"
            )
        message = f"{fields}, expected {len(text.names)}"
        return InputError.of(f"{text.file}:{line}", message, advice)

    def _of_cell(self, line: int, name: str, cell: str) -> InputError:
        wrong = f"expected a number, found {cell!r}" if cell else "found an empty cell"
        advice = f"give it a number, or {self._roles.advice}"
        if self._config.header is None and any(map(is_number, self._text.names)):
            advice = "set probe.header=false if the first line is a sample"
        elif cell.strip() in MISSING:
            advice = f"{READ_AS_NAN}, or {self._roles.advice}"
        elif (apart := _THOUSANDS.fullmatch(cell)) and (
            apart[1] != self._config.decimal or (apart[3] or ".")[0] != self._config.decimal
        ):
            advice = "write numbers without thousands separators"
            if apart[1] == "," and cell.count(",") == 1 and "." not in cell:
                advice += ", or set 'probe.decimal=\",\"' if the comma is a decimal comma"
        elif re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell) and self._config.decimal == ".":
            advice = "set 'probe.decimal=\",\"'"
        elif re.fullmatch(r"\s*[+-]?\d+\.\d+\s*", cell) and self._config.decimal == ",":
            advice = "leave out probe.decimal"
        elif cell.strip().endswith("%"):
            advice = "write percentages as plain numbers"
        elif cell.strip().lower() in ("true", "false", "yes", "no"):
            advice = "write true and false as 1 and 0"
        return InputError.of(f"{self._text.file}:{line}", f"column '{name}': {wrong}", advice)


def _all_integers(column: pa.ChunkedArray) -> bool:
    missing = pc.is_in(pc.utf8_trim_whitespace(column), pa.array([*MISSING]))
    return bool(pc.all(pc.or_(pc.match_substring_regex(column, _INTEGER), missing)).as_py())


def _rounded_row(column: pa.ChunkedArray) -> int | None:
    """Return the first row whose integer float64 cannot represent; ``None`` if there is none."""
    long = pc.greater(pc.binary_length(pc.utf8_trim_whitespace(column)), _EXACT_DIGITS)
    for row in np.flatnonzero(long.to_numpy()).tolist():
        cell = column[row].as_py()
        if cell.strip() not in MISSING and int(float(cell)) != int(cell):
            return int(row)
    return None
