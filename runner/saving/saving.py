"""Shows a probe to a model and publishes all tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from runner.errors import RunError
from runner.file_names import EFFECTS, LOG, STEPS, SUMMARY, plain_table
from runner.intervening.intervened import showing_of
from runner.probe.probe import Probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.record.record import RunRecord
from runner.record.training_record import Checkpoint
from runner.saving.effect_parts import table_of_parts
from runner.saving.layer_records import records_of
from runner.saving.probe_table import ProbeTable
from runner.saving.run_log import RunLog
from runner.saving.run_record import record_of_run
from runner.saving.run_workbook import add_workbook
from runner.saving.steps import Steps
from runner.saving.tensor_tables import TensorTables
from runner.saving.weight_values import WeightValues
from runner.saving.writer_thread import WriterThread, queue_length
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.stores.store import Draft, StoredRun
from runner.table_formats import FORMATS
from runner.tables.plain_tables import write_table

PART_FORMAT = "parquet"
"""Format of the probe's table of a part of a run, which keeps every type; joined, it has that of
the run."""

Progress = Callable[[int, int | None], None]


def save(
    model: Any,
    probe: Probe,
    draft: Draft,
    header: Header,
    settings: Settings,
    progress: Progress | None = None,
) -> StoredRun:
    """Show a probe to a model and publish every table with its record.

    Parameters
    ----------
    model
        Any model of a library in `runner.capture.model_libraries`.
    probe
        The probe to show.
    draft
        The new run, in its store.
    header
        The known fields of the run's record.
    settings
        How to show the probe and which tensors to keep.
    progress
        Called with the number of samples shown since the last call and their total, if known.

    Returns
    -------
    StoredRun
        The published run.

    Raises
    ------
    InputError
        If the probe, the selection, the size of the tables or the folder is invalid.
    RunError
        If the model fails, the disk is full, or another run was published there first.
        Nothing is published then.
    """
    with Publication(draft) as publication:
        showing = showing_of(model, probe, settings)
        with Saving(publication, showing, header) as saving:
            saving.write_tensors(progress=progress)
            return saving.publish()


class Saving:
    """A run in progress: the files of a showing, until they are published.

    Leaving the context ends the thread that writes; a publication that is not complete then
    removes the files.

    Parameters
    ----------
    publication
        The run to be published; entered already, so that an error in its place is found first.
    showing
        The probe and the traced model.
    header
        The known fields of the run's record.

    Attributes
    ----------
    publication, showing
        As given. Further files can be added to the publication.
    steps : Steps
        The tables of tensors.

    Raises
    ------
    RunError
        If the disk has no room for the tables.
    """

    def __init__(self, publication: Publication, showing: Showing, header: Header) -> None:
        self.publication = publication
        self.showing = showing
        self.steps = Steps()
        self._header = header
        self._log = RunLog(header)
        why = showing.capture.eager_because
        self._log.add("the model was traced" if why is None else f"runs eagerly: {why}")
        self._log.add(showing.summary())
        publication.draft.check_room(showing.bytes_of_tables())
        stored_as = None if showing.settings.part is None else PART_FORMAT
        self._probe_table = ProbeTable(
            publication, showing.whole, showing.settings.format, stored_as
        )
        batch = sum(array.nbytes for array in showing.capture.first)
        parameters = showing.capture.library.count_parameters(showing.model)
        self._writer = WriterThread(queue_length(max(batch, 4 * parameters)))

    def __enter__(self) -> Saving:
        self._writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.stop(drop=True)

    def write_tensors(
        self, checkpoint: Checkpoint | None = None, *, progress: Progress | None = None
    ) -> None:
        """Show the whole probe to the model and write the table of every tensor.

        The record of the run describes the last showing.

        Parameters
        ----------
        checkpoint
            The point of a training that the model has reached; its tables get a folder of
            their own.
        progress
            As in `save`.

        Raises
        ------
        RunError
            If the model or the disk fails, or the probe differs from the previous showing.
        """
        showing = self.showing
        tables = TensorTables(self.publication, showing, checkpoint)
        self.steps.add(tables)
        is_first = len(self.steps) == 1
        weights = WeightValues(showing.model, showing.capture)
        self._writer.put(tables.open)
        with showing.capture.library.exact():
            for batch, arrays in showing:
                self._writer.put(partial(tables.write, batch, arrays))
                if is_first:
                    self._writer.put(partial(self._probe_table.add, batch))
                if progress is not None:
                    progress(len(batch.samples), showing.rows)
        if showing.capture.lost and not is_first:
            spec, reason = next(iter(showing.capture.lost.items()))
            raise RunError(f"'{spec.name}' had a table at the first step, but not now: {reason}")
        self._writer.put(partial(tables.finish, weights))
        self._writer.put(partial(tables.hash_rest, showing.following()))
        if is_first:
            self._writer.put(self._probe_table.finish)
        self._writer.put(partial(self.steps.check_samples, tables))
        where = f": {tables.folder}" if tables.folder else ""
        self._log.add(f"the probe was shown{where}")

    def write_table(self, name: str, table: Any) -> None:
        """Add a plain table to the run, under a name without suffix."""
        table_format = self.showing.settings.format
        with self.publication.open(plain_table(name, table_format)) as sink:
            write_table(sink, table, table_format)

    def publish(self, **known: Any) -> StoredRun:
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
        self.publication.complete(self.record(**known).to_json())

    def record(self, **known: Any) -> RunRecord:
        """Write all remaining files but the record, and return that.

        Parameters
        ----------
        **known
            As in `publish`.
        """
        self._writer.stop()
        self._log.add("the tables are complete")
        self.write_table(SUMMARY, self.steps.last_summary())
        if self.steps.checkpoints:
            self.write_table(STEPS, self.steps.summary())
        layers = records_of(self.showing, self.steps.last, self._header.variables)
        if FORMATS[self.showing.settings.format].has_workbook:
            add_workbook(self.publication, layers)
        if (effects := self.showing.effects) is not None:
            known["effects"] = effects.records()
            for note in effects.notes:
                self._log.add(note)
            if parts := effects.parts:
                known["effect_rows"] = len(parts)
                self.write_table(EFFECTS, table_of_parts(parts))
        for name, data in {**self._header.files, LOG: self._log.content()}.items():
            self.publication.write(name, data)
        return record_of_run(
            self._header,
            self.showing,
            self.steps,
            self._probe_table,
            layers,
            self.publication.files,
            **known,
        )
