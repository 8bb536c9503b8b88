"""The roles of a table's columns (ids, labels, targets, inputs), and the probe of a table."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from runner.config.references import ProbeFile
from runner.config.strict import Length
from runner.errors import InputError, suggest
from runner.probe.arrow_values import CellError, array, is_array, is_integer, matrix
from runner.probe.batch import Batch
from runner.probe.probe import Probe
from runner.probe.sample_ids import ColumnGatherer, Locate, SampleColumn, joined
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

# Columns are checked and read one by one; a table wider than this should be an array.
MAX_COLUMNS = 100_000
_UNIT = re.compile(r"u\d+(_\d+)*")
_RESET = "give each sample its own id (in pandas: reset_index), or name a column in probe.id_column"

Tables = Callable[[Sequence[str]], Iterator[pa.Table]]
TablesFrom = Callable[[Sequence[str], int], Iterator[pa.Table]]


class TableColumns(ProbeSource):
    """The roles of the columns of a table with one sample per row."""

    examples: ClassVar[dict[str, str]] = {
        "id_column": "probe.id_column=name",
        "label_column": "probe.label_column=species",
        "target_columns": "probe.target_columns=[height]",
        "input_columns": "probe.input_columns=[length,width]",
        "max_bytes": "probe.max_bytes=4000000000",
    }

    id_column: str | None = None
    """Column of sample ids; `null`: `id`, else a DataFrame's index, else row numbers."""
    label_column: str | None = None
    """Column of labels; `null`: `label` if there is one."""
    target_columns: list[str] = Field(default=[])
    """Columns of the targets of the loss."""
    input_columns: list[str] | None = None
    """Numeric columns that form the model's only input; `null`: all remaining columns."""
    max_bytes: Length = 2**30
    """Limit in bytes on the part of the file in memory at once; larger files are refused."""


class TableSource(TableColumns):
    """A table with one sample per row: its file, and the roles of its columns."""

    path: ProbeFile
    """The file."""


class ColumnRoles:
    """The roles of the columns of a table.

    Parameters
    ----------
    config
        Configuration of the probe.
    names
        Names of all columns.
    source
        Description of the table in one line, for messages.
    index
        Columns that hold a DataFrame's index; they are inputs only if named as such.
    index_ids
        Columns of `index` that are the sample ids, unless the configuration names others.
    locate
        As in `runner.probe.probe.Probe`.

    Attributes
    ----------
    ids, labels, targets, inputs
        Names of the columns in each role.

    Raises
    ------
    InputError
        If a named column does not exist, or no column is left for the inputs.
    """

    def __init__(
        self,
        config: TableColumns,
        names: Sequence[str],
        source: str,
        index: Sequence[str] = (),
        index_ids: Sequence[str] = (),
        locate: Locate | None = None,
    ) -> None:
        self.source = source
        self.locate = locate
        self._config = config
        self._names = names
        self._known_names = set(names)
        own = _is_table_of_units(names)
        given = self._named(config.id_column, "sample" if own else "id", "probe.id_column")
        self.ids = tuple(index_ids) if given is None else (given,)
        self.from_index = given is None and bool(index_ids)
        self.label = self._named(config.label_column, "label", "probe.label_column")
        self.targets = [self._known(name, "probe.target_columns") for name in config.target_columns]
        special = {*self.ids, *index, self.label, *self.targets}
        if config.input_columns is None:
            self.inputs = [name for name in names if name not in special]
            if own and self.inputs != ["activation"]:
                self.inputs.sort(key=lambda name: [int(place) for place in name[1:].split("_")])
        else:
            self.inputs = [
                self._known(name, "probe.input_columns") for name in config.input_columns
            ]
        if not self.inputs:
            raise InputError.of("probe.path", f"{source} has no column of inputs")

    @property
    def texts(self) -> list[str]:
        """Names of the columns that are ids or labels, and may be text."""
        return [*self.ids, *([] if self.label is None else [self.label])]

    @property
    def numbers(self) -> list[str]:
        """Names of the columns that must be numbers."""
        return [*self.inputs, *self.targets]

    @property
    def advice(self) -> str:
        """Advice for a column that does not hold numbers."""
        if self._config.input_columns is None:
            return "name the inputs in probe.input_columns"
        return "show text from probe=npz or probe=function"

    def _named(self, given: str | None, usual: str, place: str) -> str | None:
        if given is not None:
            return self._known(given, place)
        return usual if usual in self._known_names else None

    def _known(self, name: str, place: str) -> str:
        if name not in self._known_names:
            advice = suggest(name, self._names) or f"columns are {', '.join(self._names[:12])}"
            raise InputError.of(place, f"{self.source} has no column '{name}'", advice)
        return name


class TableProbe:
    """A probe from the columns of a table, read in pieces.

    Parameters
    ----------
    roles
        Roles of the columns.
    schema
        Types of the columns that are numbers.
    tables
        Function that returns the rows of some columns, in pieces from the first row.
    allow_nan
        Whether missing numbers are read as NaN.
    max_bytes
        Maximum memory for ids and labels, which are kept.
    """

    def __init__(
        self,
        roles: ColumnRoles,
        schema: pa.Schema,
        tables: Tables,
        *,
        allow_nan: bool,
        max_bytes: int,
    ) -> None:
        self._roles = roles
        self._schema = schema
        self._tables = tables
        self._allow_nan = allow_nan
        self._max_bytes = max_bytes
        self._wide = {name for name in roles.numbers if is_array(schema.field(name).type)}
        self._integers = [is_integer(schema.field(name).type) for name in roles.inputs]

    def probe(
        self,
        rows: int | None = None,
        ids: range | None = None,
        integers: Callable[[], Sequence[bool]] | None = None,
        tables_from: TablesFrom | None = None,
    ) -> Probe:
        """Return the probe.

        Ids and labels are read first and kept in memory, since only all rows show whether they
        are integers and whether ids are unique.

        Parameters
        ----------
        rows
            Number of rows, if known; otherwise the table is read once to count them.
        ids
            Sample ids if no column holds them; default: row numbers from 0.
        integers
            As in `runner.probe.probe.Probe`; default: derived from the types of the columns.
        tables_from
            Function that returns the rows of some columns from a row on.
        """
        roles = self._roles
        gathered: dict[str, SampleColumn] = {}
        if roles.texts or rows is None:
            rows, gathered = self._gathered()
        if roles.ids:
            samples = joined([gathered[name] for name in roles.ids])
            advice = _RESET if roles.from_index else ""
            samples.check_unique(roles.source, roles.locate, advice)
        else:
            samples = SampleColumn(range(rows) if ids is None else ids)
        labels = None if roles.label is None else gathered[roles.label]
        first = self._first()
        single = isinstance(first, np.ndarray)
        inputs = {"input": first} if single else first
        plain = single and first.ndim == 2 and not self._wide

        def blocks(row: int = 0) -> Iterator[Batch]:
            numbers = roles.numbers
            pieces = tables_from(numbers, row) if tables_from and row else self._tables(numbers)
            return self._blocks(pieces, samples, labels, row, rows)

        return Probe(
            roles.source,
            tuple(InputSpec(name, a.shape[1:], a.dtype.name) for name, a in inputs.items()),
            blocks,
            rows,
            "string" if samples.is_text else "int64",
            labels is not None,
            bool(roles.targets),
            tuple(roles.inputs) if plain else (),
            roles.locate,
            integers=(integers or (lambda: self._integers)) if plain else None,
            seek=blocks if tables_from else None,
        )

    def _gathered(self) -> tuple[int, dict[str, SampleColumn]]:
        roles = self._roles
        look = roles.locate is not None  # in a text file, numbers have no type
        gatherers = {
            name: ColumnGatherer(
                name, roles.source, self._max_bytes, look=look, locate=roles.locate
            )
            for name in roles.texts
        }
        rows = 0
        for table in self._tables(roles.texts or [roles.inputs[0]]):
            for name, gatherer in gatherers.items():
                gatherer.add(table.column(name))
            rows += table.num_rows
        return rows, {name: gatherer.values() for name, gatherer in gatherers.items()}

    def _first(self) -> Any:
        """Return the inputs of the first row, which define shapes and dtypes."""
        names = self._roles.inputs
        if self._wide.intersection(names):
            for table in self._tables(names):
                if table.num_rows:
                    return self._inputs(table.slice(0, 1), 0)
        return self._inputs(self._schema.empty_table(), 0)

    def _blocks(
        self,
        pieces: Iterator[pa.Table],
        samples: SampleColumn,
        labels: SampleColumn | None,
        start: int,
        rows: int,
    ) -> Iterator[Batch]:
        for table in pieces:
            end = start + table.num_rows
            yield Batch(
                samples[start:end],
                self._inputs(table, start),
                None if labels is None else labels[start:end],
                self._targets(table, start) if self._roles.targets else None,
            )
            start = end
        if start != rows:
            source = self._roles.source
            raise InputError.of("probe", f"{source} declares {rows:,} rows, but holds {start:,}")

    def _inputs(self, table: pa.Table, start: int) -> Any:
        names = self._roles.inputs
        with self._placed(start):
            if not self._wide.intersection(names):
                return matrix(table, names, allow_nan=self._allow_nan)
            arrays = {name: array(table, name, allow_nan=self._allow_nan) for name in names}
        return arrays if len(arrays) > 1 else arrays[names[0]]

    def _targets(self, table: pa.Table, start: int) -> np.ndarray:
        names = self._roles.targets
        with self._placed(start):
            if len(names) == 1 and names[0] in self._wide:
                return array(table, names[0], allow_nan=self._allow_nan)
            return matrix(table, names, allow_nan=self._allow_nan)

    @contextlib.contextmanager
    def _placed(self, start: int) -> Iterator[None]:
        """Turn a CellError into an InputError with the position in the file."""
        try:
            yield
        except CellError as error:
            roles, row = self._roles, start + error.row
            message = f"column '{error.column}': {error.message}"
            if roles.locate is not None:
                raise InputError.of(roles.locate(row), message, error.advice) from error
            message = f"{roles.source}: counted from 0, row {row}, {message}"
            raise InputError.of("probe", message, error.advice) from error


def _is_table_of_units(names: Sequence[str]) -> bool:
    """Return whether a table is one that Runner wrote for a layer: samples and their units."""
    if list(names) == ["sample", "activation"]:
        return True
    return len(names) > 1 and names[0] == "sample" and all(map(_UNIT.fullmatch, names[1:]))
