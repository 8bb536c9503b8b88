"""Makes parts of a run, in the process that launches them or in a worker."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from runner.config.composition import Composition
from runner.config.jobs import Job, Task
from runner.errors import DamagedError, InputError, RunError, RunnerError
from runner.experiment.experiment import header_of, make_ready, settings_of
from runner.parts.part_records import PartRecord, Plan, TensorStates
from runner.parts.parts_folder import GO_ON, PartsFolder
from runner.parts.planning import set_weights
from runner.probe.probe import Probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.showing.division import Part
from runner.showing.settings import Settings
from runner.stores.places import holds_run, run_at
from runner.stores.store import Draft, StoredRun
from runner.stores.superseded import move_aside


def make_parts(task: Task) -> Generator[tuple[Job, RunnerError | None]]:
    """Make the parts of a task, and yield each when it is complete, with its error, if any.

    A part that is there, complete and undamaged, is not made again.

    Parameters
    ----------
    task
        Jobs whose numbers are those of the parts, and whose folders lie beside the plan.
    """
    maker: _Maker | None = None
    for job in task.jobs:
        try:
            if maker is None:
                folder = PartsFolder(job.folder.parent)
                found = folder.plan()
                if found is None:
                    raise DamagedError.of(str(folder.folder), "the plan is missing", GO_ON)
                maker = _Maker(folder, *found)
            maker.make(job)
        except RunnerError as error:
            yield job, error
        else:
            yield job, None


class _Maker:
    """Makes parts with one model.

    Parameters
    ----------
    folder, stored, plan
        The folder of the parts, and the plan with its files.
    """

    def __init__(self, folder: PartsFolder, stored: StoredRun, plan: Plan) -> None:
        self._folder = folder
        self._stored = stored
        self._plan = plan
        self._ready: tuple[Any, Probe] | None = None

    def make(self, job: Job) -> None:
        """Make the part of a job, unless it is there."""
        if isinstance(job.composition, InputError):
            raise job.composition
        if holds_run(job.folder):
            if self._is_made(job.number, run_at(job.folder)):
                return
            move_aside(job.folder, "failed")
        header = replace(header_of(job.composition, self._plan.run_id), files={})
        part = self._plan.division.part(job.number)
        with self._failure_recorded(job.composition, header, part):
            if header.fingerprint != self._plan.fingerprint:
                raise InputError.of(
                    "parts",
                    "the configuration, a file or a version is another one than in the plan",
                    "make the parts where the plan was made",
                )
            self._make(job.composition, header, part)

    def _is_made(self, number: int, run: StoredRun) -> bool:
        try:
            record = self._folder.record(number, run, self._plan).record
            if record.status == "COMPLETED":
                return next(run.damages(record.digests), None) is None
        except DamagedError:
            pass
        return False

    def _make(self, composition: Composition, header: Header, part: Part) -> None:
        if self._ready is None:
            self._ready = make_ready(composition)
            if self._plan.weights is not None:
                set_weights(self._ready[0], self._stored, self._plan.files)
        from runner.model.backend import framework

        model, probe = self._ready
        config = composition.experiment
        settings = replace(settings_of(config, model), part=part)
        with contextlib.ExitStack() as scopes:
            if config.train is not None:  # as a model is shown a probe while it is trained
                scopes.enter_context(framework().deterministic())
            save_part(self._folder.draft(part.number), model, probe, settings, header)

    @contextlib.contextmanager
    def _failure_recorded(
        self, composition: Composition, header: Header, part: Part
    ) -> Iterator[None]:
        """Record an error raised in the scope as that of the part, for the launching process."""
        with composition.variables.kept_secret():
            try:
                yield
            except Exception as error:
                why = (
                    str(error)
                    if isinstance(error, RunnerError)
                    else f"{type(error).__name__}: {error}"
                )
                failed = PartRecord(
                    part=part.number,
                    start=part.start,
                    record=header.record(
                        composition.experiment.format,
                        status="FAILED",
                        error=composition.variables.scrubbed(why),
                        files={},
                    ),
                )
                with Publication(self._folder.draft(part.number)) as publication:
                    publication.publish(failed.to_json())
                if isinstance(error, RunnerError):
                    raise
                raise RunError(why) from error


def save_part(draft: Draft, model: Any, probe: Probe, settings: Settings, header: Header) -> None:
    """Show a part of a probe to a model, and publish its tables with its record.

    Parameters
    ----------
    draft
        The new part, in the folder of the parts.
    model, probe
        The model, and the whole probe.
    settings
        How the probe is shown, and the part.
    header
        The known fields of the record.
    """
    from runner.saving.saving import Saving
    from runner.showing.showing import Showing

    part = settings.part
    assert part is not None, "a part is shown"
    with Publication(draft) as publication:
        with Saving(publication, Showing(model, probe, settings), header) as saving:
            saving.write_tensors()
            record = saving.record()
        tables = saving.steps.last
        made = PartRecord(
            part=part.number,
            start=part.start,
            record=record,
            hashes=tables.hasher.block_hashes,
            statistics=tuple(
                TensorStates(each.spec.name, each.spec.kind, each.states())
                for each in tables.statistics
            ),
        )
        publication.publish(made.to_json())
