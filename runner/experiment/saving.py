"""Showing a probe to a model and publishing everything that comes out."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np

from runner.capture.capture import Capture, unfused
from runner.capture.inventory import value_of
from runner.experiment.probe_table import ProbeTable
from runner.experiment.showing import Settings, Showing
from runner.model.backend import read_backend
from runner.preflight import check_disk, estimated_bytes
from runner.probe.probe import Batch, Probe, ProbeHasher
from runner.record.publication import Publication
from runner.record.record import (
    Header,
    Headline,
    LayerRecord,
    ModelRecord,
    ProbeRecord,
    RunRecord,
    TensorRecord,
)
from runner.tables.layout import FORMATS, file_name, layout_of
from runner.tables.statistics import RunningStatistics, summary_table
from runner.tables.tables import TableWriter, write_table, write_weight
from runner.tensors import TensorSpec

Progress = Callable[[int, int | None], None]

# What may wait between the model and the disk: this much, four batches at the most.
_QUEUE_BYTES = 16 * 2**20
_QUEUE_LENGTH = 4
# For all tables together, to gather rows in before they are written.
_BUFFER_BYTES = 64 * 2**20
_MAP_BUFFER_BYTES = 2**20


def save(
    model: keras.Model,
    probe: Probe,
    target: Path,
    header: Header,
    settings: Settings,
    progress: Progress | None = None,
) -> Path:
    """Show a probe to a model and publish every table with its record.

    Parameters
    ----------
    model
        Any Keras model.
    probe
        What to show it.
    target
        The run's folder: absent, or empty.
    header
        What is known about the run already.
    settings
        How to show it and what to keep.
    progress
        Called with the samples shown so far and their number, if known.

    Returns
    -------
    Path
        The published folder.

    Raises
    ------
    InputError
        If the probe, the selection, the size of the tables or the folder is wrong.
    RunError
        If the model fails, the disk is full, or another run got there first. Nothing
        is published then.
    """
    with Publication(target) as publication:
        write_run(Showing(model, probe, settings), publication, header, progress)
        return publication.appear()


def write_run(
    showing: Showing, publication: Publication, header: Header, progress: Progress | None = None
) -> None:
    """Show a probe and complete the publication with every table and the record.

    Parameters
    ----------
    showing
        The model that the probe is shown to.
    publication
        Where the files go. It is left to appear.
    header, progress
        As in `save`.

    Raises
    ------
    InputError, RunError
        As from `save`.
    """
    log = [_logged(f"run {header.run_id} began", header.started)]
    how = showing.capture.eager_because
    log.append(_logged("the model was traced" if how is None else f"runs eagerly: {how}"))
    if header.own_build_because is not None:
        log.append(_logged(f"the model was built for this run: {header.own_build_because}"))
    table_format = showing.settings.format
    needed = sum(estimated_bytes(spec, showing.rows or 1, table_format) for spec in showing.specs)
    check_disk(needed, publication.target.parent)
    tables = _Tables(publication, showing.capture, showing.probe, table_format)
    batch_bytes = max(1, sum(array.nbytes for array in showing.capture.first))
    length = min(_QUEUE_LENGTH, max(1, _QUEUE_BYTES // batch_bytes))
    with unfused(), _WriterThread(tables.write, length) as writer:
        for batch, arrays in showing:
            writer.put(batch, arrays)
            if progress is not None:
                progress(len(batch.samples), showing.rows)
    log.append(_logged("the probe was shown"))
    tables.finish()
    log.append(_logged("the tables are complete"))
    for name, data in {**header.files, "run.log": "".join(log).encode()}.items():
        publication.write(name, data)
    publication.complete(tables.record(showing.model, header).to_json())


def _logged(what: str, when: datetime | None = None) -> str:
    return f"{(when or datetime.now(UTC)).isoformat(timespec='milliseconds')} {what}\n"


class _WriterThread(threading.Thread):
    """The one thread that writes, behind a queue that holds the model back.

    What goes wrong in it is raised by the next `put`, or on leaving; what still waits
    is then dropped, as it is when the other thread stops first.
    """

    def __init__(self, write: Callable[[Batch, list[np.ndarray]], None], length: int) -> None:
        super().__init__(name="runner-writer", daemon=True)
        self._write = write
        self._waiting: queue.Queue[tuple[Batch, list[np.ndarray]] | None]
        self._waiting = queue.Queue(length)
        self._error: BaseException | None = None
        self._dropping = False

    def run(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._dropping:
                continue
            try:
                self._write(*item)
            except BaseException as error:  # raised where somebody waits for it
                self._error = error
                self._dropping = True

    def put(self, batch: Batch, arrays: list[np.ndarray]) -> None:
        """Hand over a batch; wait while too many are waiting."""
        if self._error is not None:
            raise self._error
        self._waiting.put((batch, arrays))

    def __enter__(self) -> _WriterThread:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._dropping = self._dropping or kind is not None
        self._waiting.put(None)
        self.join()
        if kind is None and self._error is not None:
            raise self._error


class _Tables:
    """Every file of a run as it grows, and what the record will say of it."""

    def __init__(
        self, publication: Publication, capture: Capture, probe: Probe, table_format: str
    ) -> None:
        self._publication = publication
        self._capture = capture
        self._probe = probe
        self._format = table_format
        self._hasher = ProbeHasher()
        self._shown = ProbeTable(table_format, probe.inputs)
        self._summary: list[dict[str, str | int | float]] = []
        self._rows = 0
        self._weights: dict[int, np.ndarray] = {}
        budgets = _buffers(capture.tensors, table_format)
        self._open: list[tuple[TableWriter, BinaryIO, RunningStatistics]] = []
        for spec, budget in zip(capture.tensors, budgets, strict=True):
            sink = publication.open(file_name(spec, table_format))
            writer = TableWriter(sink, spec, table_format, probe.sample_type, budget)
            self._open.append((writer, sink, RunningStatistics(spec)))

    def write(self, batch: Batch, arrays: list[np.ndarray]) -> None:
        """Write what one batch brought forth."""
        self._rows += len(batch.samples)
        self._hasher.update(batch)
        self._shown.add(batch)
        for (writer, _, statistics), array in zip(self._open, arrays, strict=True):
            statistics.update(array)
            writer.write(batch.samples, array)

    def finish(self) -> None:
        """Close the tables and add those that are written at once."""
        for writer, sink, statistics in self._open:
            writer.close()
            sink.close()
            self._summary.append(statistics.row())
        for spec, variable in self._capture.weights:
            value = self._weight(variable)
            with self._publication.open(file_name(spec, self._format)) as sink:
                write_weight(sink, spec, value, self._format)
            statistics = RunningStatistics(spec)
            statistics.update(value[None])
            self._summary.append(statistics.row())
        single = {"probe": self._shown.table(), "summary": summary_table(self._summary)}
        for name, table in single.items():
            with self._publication.open(name + FORMATS[self._format]) as sink:
                write_table(sink, table, self._format)

    def _weight(self, variable: keras.Variable) -> np.ndarray:
        if id(variable) not in self._weights:
            self._weights[id(variable)] = value_of(variable)
        return self._weights[id(variable)]

    def _weights_hash(self, model: keras.Model) -> str:
        """Return the SHA-256 over the shapes, types and bytes of all weights, in Keras's order."""
        digest = hashlib.sha256()
        for weight in model.weights:
            value = self._weight(weight)
            digest.update(f"{value.dtype.name}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()

    def record(self, model: keras.Model, header: Header) -> RunRecord:
        """Return the record of the completed run."""
        files = dict(self._publication.files)
        tensors: dict[str, list[TensorRecord]] = defaultdict(list)
        weights = [spec for spec, _ in self._capture.weights]
        for spec in (*self._capture.tensors, *weights):
            name = file_name(spec, self._format)
            tensors[spec.layer_path].append(TensorRecord.of(spec, name, files.pop(name)))
        for alias, spec in self._capture.aliases:
            name = file_name(spec, self._format)
            digest = self._publication.files[name]
            tensors[alias.layer_path].append(TensorRecord.of(alias, name, digest, spec.name))
        layers = [
            LayerRecord(
                layer.path,
                layer.layer_class,
                layer.order,
                tuple(sorted(tensors.pop(layer.path, []), key=lambda tensor: tensor.order)),
                layer.reason,
            )
            for layer in self._capture.layers
        ]
        # Weights that belong to the model itself and to none of its layers.
        layers += [
            LayerRecord(path, type(model).__name__, None, tuple(own), "the model itself")
            for path, own in tensors.items()
        ]
        return header.record(
            self._format,
            status="COMPLETED",
            backend=read_backend(),
            model=ModelRecord(
                type(model).__name__,
                model.count_params(),
                self._capture.outputs,
                self._weights_hash(model),
            ),
            probe=ProbeRecord(
                source=self._probe.source,
                rows=self._rows,
                inputs=self._probe.inputs,
                sample_type=self._probe.sample_type,
                has_labels=self._probe.has_labels,
                has_targets=self._probe.has_targets,
                sha256=self._hasher.content(),
                sample_ids_sha256=self._hasher.sample_ids(),
                file="probe" + FORMATS[self._format],
                has_inputs=self._shown.has_inputs,
            ),
            layers=tuple(layers),
            files=files,
            headline=Headline(
                tensors=len(self._capture.tensors),
                dead_units=sum(
                    int(row["dead_units"]) for row in self._summary if row["kind"] == "activation"
                ),
                nan=sum(int(row["nan"]) for row in self._summary),
                inf=sum(int(row["inf"]) for row in self._summary),
            ),
        )


def _buffers(specs: Sequence[TensorSpec], table_format: str) -> list[int]:
    """Share out the memory in which tables gather rows, so that all write as many at once.

    A column costs the same to begin however few rows follow; the one column of a map is
    cheap, and a map gathers little.
    """
    layouts = [layout_of(spec, table_format) for spec in specs]
    widths = [
        layout.row_size * layout.cell.itemsize if layout.column is None else 0 for layout in layouts
    ]
    total = max(1, sum(widths))
    return [_BUFFER_BYTES * width // total if width else _MAP_BUFFER_BYTES for width in widths]
