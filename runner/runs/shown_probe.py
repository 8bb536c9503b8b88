"""The probe that a model was shown, read from the table in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd

from runner.errors import DamagedError, InputError
from runner.probe.probe_hash import is_content_hash
from runner.record.probe_layout import ProbeColumns, Role, unrecorded_layout
from runner.record.probe_record import ProbeRecord
from runner.table_formats import FORMATS


@dataclass(frozen=True)
class ShownInput:
    """The values of one model input for some samples.

    Attributes
    ----------
    name
        Name of the input.
    values
        Shape (sample, *axes of the input).
    entry_names
        Names of the entries of a sample in C order; empty if they have none.
    """

    name: str
    values: np.ndarray
    entry_names: tuple[str, ...]


class ShownProbe:
    """The table of the probe, with its columns by role.

    Parameters
    ----------
    place, table
        Where the run's file is, and its table, ``sample`` first.
    record
        Record of the probe.
    table_format
        A key of `runner.table_formats.FORMATS`.
    entries
        Names of the entries of a sample, for columns that hold all entries in a cell.

    Raises
    ------
    DamagedError
        If the table does not have the columns that the record says it has.
    """

    def __init__(
        self,
        place: str,
        table: pd.DataFrame,
        record: ProbeRecord,
        table_format: str,
        entries: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        names = [str(column) for column in table]
        layout = record.columns
        if layout is None:
            layout = unrecorded_layout(
                names,
                record.inputs if record.has_inputs else (),
                has_labels=record.has_labels,
                has_targets=record.has_targets,
                table_format=table_format,
            )
        for part in layout:
            if min(part.first, part.count) < 0 or part.first + part.count > len(names):
                raise DamagedError.of(
                    place,
                    f"expected {part.count} columns of {part.role} '{part.name}' from column "
                    f"{part.first} on, found {len(names)} columns in all",
                )
        width = 1 + sum(part.count for part in layout)
        if record.columns is not None and len(names) != width:
            raise DamagedError.of(place, f"expected {width} columns, found {len(names)}")
        self._place = place
        self._record = record
        self._is_text = FORMATS[table_format].is_text
        self._layout = layout
        self._names = names
        self._entries = entries or {}
        parts = {name: part for part in layout for name in self._columns(part)}
        types = {name: p.dtype for name, p in parts.items() if p.dtype not in ("", "string")}
        if self._is_text:  # text has no types: float32 is read as float64
            try:
                table = table.astype(types)
            except (ValueError, TypeError, OverflowError) as error:
                raise DamagedError.of(place, f"not of the recorded types: {error}") from error
        for name, part in parts.items():
            if why := _unlike(table[name], part):
                raise DamagedError.of(place, f"column '{name}': {why}")
        self.table = table.set_index("sample")

    def select(self, role: Role) -> pd.DataFrame:
        """Return the labels, the targets or all inputs, as a table indexed by ``sample``."""
        parts = [part for part in self._layout if part.role == role]
        return self.table[[name for part in parts for name in self._columns(part)]]

    def input(self, name: str, rows: np.ndarray | None = None) -> ShownInput:
        """Return one input.

        Parameters
        ----------
        name
            Name of the input.
        rows
            Positions of the selected samples, shape (sample,); default: all samples.

        Raises
        ------
        InputError
            If the table does not hold that input, or not in the recorded shape.
        """
        part = next((p for p in self._layout if (p.role, p.name) == ("input", name)), None)
        if part is None:
            raise InputError.of("probe", f"the run keeps no input '{name}'")
        columns = self._columns(part)
        cells = self.table[list(columns)]
        if rows is not None:
            cells = cells.iloc[rows]
        if len(columns) == 1 and len(cells) and isinstance(cells.iloc[0, 0], np.ndarray):
            values = np.stack(list(cells.iloc[:, 0]))
            return ShownInput(name, values, self._entries.get(columns[0], ()))
        values = cells.to_numpy(object if part.dtype == "string" else part.dtype)
        try:
            values = values.reshape(len(cells), *part.shape)
        except ValueError:
            raise InputError.of(
                "probe",
                f"expected input '{name}' of shape {list(part.shape)} a sample, found "
                f"{len(columns)} columns",
            ) from None
        return ShownInput(name, values, columns if len(columns) == prod(part.shape) else ())

    def check_inputs(self) -> None:
        """Check that the inputs are those whose hash is recorded, if the table can tell.

        Raises
        ------
        DamagedError
            If they are others.
        """
        if self.has_inputs_of(self._record) is False:
            raise DamagedError.of(
                self._place, "its inputs are not those whose hash is recorded (probe.sha256)"
            )

    def has_inputs_of(self, record: ProbeRecord) -> bool | None:
        """Return whether the inputs have the hash of a record; ``None`` if the table cannot tell.

        It cannot if it does not hold the inputs, if it is text and they have NaN (whose bits text
        does not keep), or if the own record is too old to say which shape they have.
        """
        names = [given.name for given in self._record.inputs]
        kept = {part.name for part in self._layout if part.role == "input"}
        open_shape = any(None in given.shape for given in self._record.inputs)
        if kept != {*names} or (self._record.columns is None and open_shape):
            return None
        inputs = {name: self.input(name).values for name in names}
        if self._is_text and any(
            a.dtype.kind == "f" and np.isnan(a).any() for a in inputs.values()
        ):
            return None
        return is_content_hash(record.sha256, record.hash_block, inputs)

    def _columns(self, part: ProbeColumns) -> tuple[str, ...]:
        return tuple(self._names[part.first : part.first + part.count])


def _unlike(cells: pd.Series, part: ProbeColumns) -> str:
    """Return how a column differs from the record; empty if it does not."""
    first = cells.iloc[0] if len(cells) else None
    kind = cells.dtype.name
    if isinstance(first, np.ndarray):
        kind = first.dtype.name
        if part.shape not in ((), first.shape):  # without a record, the shape may be unknown
            return f"expected arrays of shape {list(part.shape)}, found {list(first.shape)}"
    elif part.count != prod(part.shape):
        return f"expected arrays of shape {list(part.shape)}, found single values"
    elif isinstance(first, str):
        kind = "string"
    return "" if part.dtype in ("", kind) else f"expected {part.dtype}, found {kind}"
