"""The tables of all tensors captured in one showing of a probe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from runner.caller_warnings import warn_caller
from runner.errors import RunError
from runner.file_names import tensor_table
from runner.probe.batch import Batch, named_inputs
from runner.probe.probe_hash import ProbeHasher
from runner.record.publication import Publication
from runner.record.training_record import Checkpoint
from runner.saving.weight_values import WeightValues
from runner.showing.showing import Showing
from runner.stores.digests import FileDigest
from runner.table_formats import FORMATS
from runner.tables.layout import layout_of
from runner.tables.summary import RunningStatistics, not_finite
from runner.tables.writing import TableWriter, write_weight
from runner.tensors import TensorSpec

# Memory for the rows that wait to be written, for all tables together.
_BUFFER_BYTES = 32 * 2**20
_MAP_BUFFER_BYTES = 2**20


class _Table(NamedTuple):
    """A table that is being written, and its file."""

    writer: TableWriter
    sink: BinaryIO

    def close(self) -> None:
        self.writer.close()
        self.sink.close()


class TensorTables:
    """One table per captured tensor, all in one folder of a run.

    Parameters
    ----------
    publication
        The run.
    showing
        The probe and the traced model.
    checkpoint
        The point of a training that the model has reached; ``None`` for the tables in the run's
        own folder.

    Attributes
    ----------
    probe, checkpoint
        As given.
    folder : str
        Path inside the run, with ``/``; empty for the run's own folder.
    summary : list
        One row of statistics per tensor, available when the tables are complete.
    statistics : list
        What `summary` is made from.
    rows : int
        Number of samples written.
    hasher : ProbeHasher
        The hasher of every batch written.
    weights_sha256 : str
        Hash of the weights of the model that was shown the probe.
    """

    weights_sha256: str

    def __init__(
        self,
        publication: Publication,
        showing: Showing,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._publication = publication
        self._specs = showing.capture.tensors
        self._format = showing.settings.format
        self._keeps_values = FORMATS[self._format].keeps_values
        self._on_nan = showing.settings.capture.on_nan
        self.probe = showing.probe
        self.checkpoint = checkpoint
        self.folder = checkpoint.folder if checkpoint is not None else ""
        self.summary: list[dict[str, str | int | float]] = []
        self.statistics: list[RunningStatistics] = []
        self.rows = 0
        part = showing.settings.part
        self._part = None if part is None else part.number
        self.hasher = ProbeHasher(row=0 if part is None else part.start)
        self._names: list[str] = []
        self._open: list[tuple[_Table | None, RunningStatistics] | None] = []

    def open(self) -> None:
        """Start the tables."""
        budgets = _buffers(self._specs, self._format)
        for spec, budget in zip(self._specs, budgets, strict=True):
            table = None
            if self._keeps_values:
                sink = self._begun(spec)
                writer = TableWriter(sink, spec, self._format, self.probe.sample_type, budget)
                table = _Table(writer, sink)
            self._open.append((table, RunningStatistics(spec)))

    def path(self, spec: TensorSpec) -> str:
        """Return the path of a tensor's table inside the run."""
        name = tensor_table(spec, self._format, self._part if spec.per_sample else None)
        return f"{self.folder}/{name}" if self.folder else name

    def write(self, batch: Batch, arrays: Sequence[np.ndarray | None]) -> None:
        """Write the values of one batch; the table of a tensor without values is dropped."""
        self.rows += len(batch.samples)
        size = sum(array.nbytes for array in named_inputs(batch.inputs).values())
        with self._publication.hashing.beside(self.hasher.update, batch, size):
            self._write(batch.samples, arrays)

    def hash_rest(self, following: Iterable[Batch]) -> None:
        """Hash the rest of the last block of samples, which are in the next part of the probe."""
        for batch in following:
            if not self.hasher.missing:
                return
            self.hasher.update(batch[: self.hasher.missing])

    def _write(self, samples: np.ndarray, arrays: Sequence[np.ndarray | None]) -> None:
        for place, (spec, array) in enumerate(zip(self._specs, arrays, strict=True)):
            begun = self._open[place]
            if begun is None:
                continue
            table, statistics = begun
            if array is not None:
                statistics.update(array)
                if table is not None:
                    table.writer.write(samples, array)
                continue
            self._open[place] = None
            if table is not None:
                table.close()
                self._publication.remove(self.path(spec))
                self._names.remove(self.path(spec))

    def finish(self, weights: WeightValues) -> None:
        """Close the tables, add those of the weights, and hash the weights.

        Raises
        ------
        RunError
            If values are NaN or infinite and ``on_nan`` refuses them.
        """
        for table, statistics in filter(None, self._open):
            if table is not None:
                table.close()
            self.statistics.append(statistics)
        for spec, value in [] if self._part else weights.kept:  # the first part has the weights
            if self._keeps_values:
                with self._begun(spec) as sink:
                    write_weight(sink, spec, value, self._format)
            statistics = RunningStatistics(spec)
            statistics.update(value[None])
            self.statistics.append(statistics)
        self.summary += [statistics.row() for statistics in self.statistics]
        self._open.clear()
        self.weights_sha256 = weights.sha256()
        self._mind_nan()

    def _mind_nan(self) -> None:
        found = "" if self._on_nan == "keep" else not_finite(self.summary)
        if not found:
            return
        if self._on_nan == "fail":
            where = f"{self.folder}: " if self.folder else ""
            raise RunError(f"{where}{found}; capture.on_nan=fail refuses them")
        warn_caller(f"{self._publication.draft.place(self.folder)}: {found}")

    def _begun(self, spec: TensorSpec) -> BinaryIO:
        self._names.append(self.path(spec))
        return self._publication.open(self._names[-1])

    @property
    def files(self) -> dict[str, FileDigest]:
        """Size and hash of every table, by its path inside the run."""
        return {name: self._publication.files[name] for name in self._names}


def _buffers(specs: Sequence[TensorSpec], table_format: str) -> list[int]:
    """Divide the buffer memory among the tables, so that all write the same number of rows at once.

    Starting a column has a fixed cost, however few rows follow; the single column of a feature
    map is cheap, so its buffer is small.
    """
    layouts = [layout_of(spec, table_format) for spec in specs]
    widths = [
        layout.row_size * layout.cell.itemsize if layout.column is None else 0 for layout in layouts
    ]
    total = max(1, sum(widths))
    return [_BUFFER_BYTES * width // total if width else _MAP_BUFFER_BYTES for width in widths]
