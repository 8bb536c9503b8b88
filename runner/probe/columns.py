"""The roles of a table's columns: ids, labels, targets, inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from runner.config.references import ProbeFile
from runner.config.strict import Length
from runner.errors import InputError, suggest
from runner.probe.sample_ids import Locate
from runner.probe.source import ProbeSource

# Columns are checked and read one by one; a table wider than this should be an array.
MAX_COLUMNS = 100_000
_UNIT = re.compile(r"u\d+(_\d+)*")


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
        labels = [] if self.label is None else [self.label]
        return [*dict.fromkeys([*self.ids, *labels])]

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


def _is_table_of_units(names: Sequence[str]) -> bool:
    """Return whether a table is one that Runner wrote for a layer: samples and their units."""
    if list(names) == ["sample", "activation"]:
        return True
    return len(names) > 1 and names[0] == "sample" and all(map(_UNIT.fullmatch, names[1:]))
