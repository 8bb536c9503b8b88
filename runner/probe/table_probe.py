"""A probe from the columns of a table, read in pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runner.errors import InputError
from runner.probe.arrow_values import CellError, array, is_array, is_integer, matrix
from runner.probe.batch import Batch
from runner.probe.columns import ColumnRoles
from runner.probe.probe import Probe
from runner.probe.sample_ids import ColumnGatherer, SampleColumn, joined
from runner.tensors import InputSpec

_RESET = "give each sample its own id (in pandas: reset_index), or name a column in probe.id_column"

Tables = Callable[[Sequence[str]], Iterator[pa.Table]]
TablesFrom = Callable[[Sequence[str], int], Iterator[pa.Table]]


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
