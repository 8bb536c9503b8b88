"""Shows a probe to a model and publishes all tables."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from runner.errors import RunError
from runner.model.backend import framework, read_backend
from runner.preflight import check_disk, estimated_bytes
from runner.probe.probe import Probe
from runner.record.layer_record import LayerRecord
from runner.record.publication import Publication
from runner.record.record import Header, Headline, ModelRecord, ProbeRecord, RunRecord
from runner.record.training_record import Checkpoint, StepRecord
from runner.saving.layer_records import records_of, with_tables
from runner.saving.probe_table import ProbeTable
from runner.saving.run_workbook import add_workbook
from runner.saving.tensor_tables import TensorTables
from runner.saving.writer_thread import WriterThread
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.table_formats import FORMATS
from runner.tables.plain_tables import write_table
from runner.tables.statistics import summary_table
from runner.tensors import TensorSpec

Progress = Callable[[int, int | None], None]

# Limits of the queue between the model and the disk: in bytes, and in batches.
_QUEUE_BYTES = 16 * 2**20
_QUEUE_LENGTH = 64


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
        The probe to show.
    target
        The run's folder: absent, or empty.
    header
        The known fields of the run's record.
    settings
        How to show the probe and which tensors to keep.
    progress
        Called with the number of samples shown since the last call and their total, if known.

    Returns
    -------
    Path
        The published folder.

    Raises
    ------
    InputError
        If the probe, the selection, the size of the tables or the folder is invalid.
    RunError
        If the model fails, the disk is full, or another run was published there first.
        Nothing is published then.
    """
    with Saving(model, probe, target, header, settings) as saving:
        saving.show(progress=progress)
        return saving.publish()


class Saving:
    """A run in progress: shows its probe, then publishes it.

    Entering the context shows the first batch, so that errors are found before anything is
    written; leaving it without publishing removes all files.

    Parameters
    ----------
    model, probe, target, header, settings
        As in `save`.
    showing
        A showing of the same probe to the same model, if there is one already.

    Attributes
    ----------
    publication : Publication
        The folder to be published, to which further files can be added.
    showing : Showing
        The probe and the traced model.
    """

    showing: Showing

    def __init__(
        self,
        model: keras.Model,
        probe: Probe,
        target: Path,
        header: Header,
        settings: Settings,
        showing: Showing | None = None,
    ) -> None:
        self._model = model
        self._probe = probe
        self._given = showing
        self._header = header
        self._settings = settings
        self._log: list[str] = []
        self.log(f"run {header.run_id} began")
        if header.own_build_because is not None:
            self.log(f"the model was built for this run: {header.own_build_because}")
        self.publication = Publication(target)
        self._probe_table = ProbeTable(settings.format, probe.inputs, probe.columns)
        self._shown: list[tuple[Checkpoint | None, TensorTables]] = []

    def __enter__(self) -> Saving:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.publication)
            self.showing = self._given or Showing(self._model, self._probe, self._settings)
            how = self.showing.capture.eager_because
            self.log("the model was traced" if how is None else f"runs eagerly: {how}")
            self.log(self.showing.summary())
            check_disk(self._estimate(), self.publication.target.parent)
            waiting = max(1, *self._waiting_bytes())
            self._writer = WriterThread(min(_QUEUE_LENGTH, max(1, _QUEUE_BYTES // waiting)))
            self._writer.start()
            undo.callback(self._writer.stop, drop=True)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.__exit__(kind, error, traceback)

    def log(self, what: str) -> None:
        """Add a line to ``run.log``."""
        when = self._header.now.isoformat(timespec="milliseconds")
        self._log.append(f"{when} {what}\n")

    def show(
        self,
        checkpoint: Checkpoint | None = None,
        *,
        renewed: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Show the whole probe to the model; the record describes the last showing.

        Parameters
        ----------
        checkpoint
            The point of a training that the model has reached; its tables get a folder of
            their own.
        renewed
            Whether the model has changed since it was last shown a batch.
        progress
            As in `save`.

        Raises
        ------
        RunError
            If the model or the disk fails, or the probe differs from the previous showing.
        """
        if renewed:
            self.showing.renew()
        capture = self.showing.capture
        folder = checkpoint.folder if checkpoint is not None else ""
        settings = self._settings
        tables = TensorTables(
            self.publication,
            capture.tensors,
            self._probe,
            settings.format,
            settings.capture.on_nan,
            folder,
        )
        remembers = not self._shown
        self._shown.append((checkpoint, tables))
        held = (*self._model.weights, *capture.plain_variables)
        values = {id(variable): framework().value_of(variable) for variable in held}
        whole = list(values.values())
        chosen = [
            (
                spec,
                values[id(variable)] if id(variable) in values else framework().value_of(variable),
            )
            for spec, variable in capture.weights
        ]
        self._writer.put(tables.open)
        with framework().exact():
            for batch, arrays in self.showing:
                self._writer.put(partial(tables.write, batch, arrays))
                if remembers:
                    self._writer.put(partial(self._probe_table.add, batch))
                if progress is not None:
                    progress(len(batch.samples), self.showing.rows)
        lost = capture.lost
        if lost and len(self._shown) > 1:
            spec, reason = next(iter(lost.items()))
            raise RunError(f"'{spec.name}' had a table at the first step, but not now: {reason}")
        self._writer.put(partial(self._finish, tables, chosen, whole))
        self.log(f"the probe was shown: {folder}" if folder else "the probe was shown")

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The captured checkpoints of a training."""
        return [checkpoint for checkpoint, _ in self._shown if checkpoint is not None]

    def write(self, name: str, table: Any) -> None:
        """Add a plain table to the run, under a name without suffix."""
        table_format = self._settings.format
        with self.publication.open(name + FORMATS[table_format].suffix) as sink:
            write_table(sink, table, table_format)

    def publish(self, **known: Any) -> Path:
        """Publish the run.

        Parameters
        ----------
        **known
            Further fields of `runner.record.record.RunRecord`.

        Raises
        ------
        RunError
            If the disk is full or another run was published there first.
        """
        self.complete(**known)
        return self.publication.appear()

    def complete(self, **known: Any) -> None:
        """Write all remaining files; the publication can then appear after this context ends.

        Parameters
        ----------
        **known
            As in `publish`.
        """
        self._writer.stop()
        self.log("the tables are complete")
        self.write("probe", self._probe_table.table())
        self.write("summary", summary_table(self._shown[-1][1].summary))
        if self.checkpoints:
            self.write("steps", self._steps_summary())
        if FORMATS[self._settings.format].has_workbook:
            add_workbook(self.publication, self._layers)
        log = self._header.variables.scrubbed("".join(self._log))
        for name, data in {**self._header.files, "run.log": log.encode()}.items():
            self.publication.write(name, data)
        self.publication.complete(self._record(**known).to_json())

    def _waiting_bytes(self) -> tuple[int, int]:
        """Return the sizes of the writer's jobs: one batch, and all weights."""
        batch = sum(array.nbytes for array in self.showing.capture.first)
        return batch, 4 * self._model.count_params()

    def _estimate(self) -> int:
        rows, settings = self.showing.rows or 1, self._settings
        once = sum(estimated_bytes(spec, rows, settings.format) for spec in self.showing.specs)
        return once * settings.times

    def _finish(
        self,
        tables: TensorTables,
        chosen: list[tuple[TensorSpec, np.ndarray]],
        whole: list[np.ndarray],
    ) -> None:
        tables.finish(chosen)
        tables.weights_sha256 = _weights_hash(whole)
        first = self._shown[0][1].hasher
        if (tables.hasher.content(), tables.hasher.sample_ids()) != (
            first.content(),
            first.sample_ids(),
        ):
            raise RunError(
                f"{self._probe.source} did not give the same samples again; "
                "what is shown at several steps must be the same each time"
            )

    def _steps_summary(self) -> pa.Table:
        """Return the summaries of all checkpoints in one table, with the step as first column."""
        rows = [
            (checkpoint.step, row)
            for checkpoint, tables in self._shown
            if checkpoint is not None
            for row in tables.summary
        ]
        steps = pa.array([step for step, _ in rows], pa.int64())
        return summary_table(row for _, row in rows).add_column(0, "step", steps)

    @cached_property
    def _layers(self) -> tuple[LayerRecord, ...]:
        """The records of all layers; known when the tables are complete."""
        tables = self._shown[-1][1]
        return records_of(self.showing, tables, self._header.variables)

    def _record(self, **known: Any) -> RunRecord:
        last, probe = self._shown[-1][1], self._probe
        of_tensors = {name for _, tables in self._shown for name in tables.files}
        files = self.publication.files.items()
        return self._header.record(
            self._settings.format,
            **{"status": "COMPLETED", **known},
            backend=read_backend(),
            model=ModelRecord(
                type(self._model).__name__,
                self._model.count_params(),
                self.showing.capture.outputs,
                last.weights_sha256,
            ),
            probe=ProbeRecord(
                source=probe.source,
                rows=last.rows,
                inputs=probe.inputs,
                sample_type=probe.sample_type,
                has_labels=probe.has_labels,
                has_targets=probe.has_targets,
                sha256=last.hasher.content(),
                sample_ids_sha256=last.hasher.sample_ids(),
                file="probe" + FORMATS[self._settings.format].suffix,
                has_inputs=self._probe_table.has_inputs,
                columns=self._probe_table.layout(),
                picture=probe.picture,
                notes=probe.notes,
                training=self._settings.capture.training,
                mixed_by=self.showing.mixed_by,
                batch_size=self.showing.batch_size,
                compared_sizes=self.showing.compared_sizes,
            ),
            layers=self._layers,
            steps=tuple(
                StepRecord(
                    **vars(checkpoint),
                    folder=checkpoint.folder,
                    sha256=tables.weights_sha256,
                    files={
                        name.removeprefix(f"{checkpoint.folder}/"): digest
                        for name, digest in tables.files.items()
                    },
                )
                for checkpoint, tables in self._shown
                if checkpoint is not None
            ),
            files={name: digest for name, digest in files if name not in of_tensors},
            headline=Headline(
                tensors=len(with_tables(self.showing.capture)),
                dead_units=sum(
                    int(row["dead_units"]) for row in last.summary if row["kind"] == "activation"
                ),
                nan=sum(int(row["nan"]) for row in last.summary),
                inf=sum(int(row["inf"]) for row in last.summary),
            ),
        )


def _weights_hash(weights: list[np.ndarray]) -> str:
    """Return the SHA-256 of the shapes, dtypes and bytes of all weights, in Keras's order."""
    digest = hashlib.sha256()
    for value in weights:
        digest.update(f"{value.dtype.name}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
