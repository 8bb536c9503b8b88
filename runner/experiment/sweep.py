"""Runs the jobs of a sweep; jobs that differ only in their seed share one model."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config.composition import Composition
from runner.config.experiment_config import ExperimentConfig, FunctionModel
from runner.config.jobs import Job, Task
from runner.errors import InputError, RunnerError
from runner.experiment.earlier import is_done, is_recorded, make_room
from runner.experiment.experiment import (
    failure_published,
    header_of,
    make_ready,
    publish_failure,
    run_experiment,
    settings_of,
)
from runner.experiment.fingerprint import fingerprint_with, packages_of, paths_in
from runner.record.publication import Publication
from runner.record.record import Header

if TYPE_CHECKING:
    import keras

    from runner.model.redrawing import RedrawnModel
    from runner.showing.showing import Showing

# Number of complete runs that may wait for the disk to confirm their files.
_WAITING = 16
_PUBLISHERS = 4


def run_jobs(task: Task) -> Generator[tuple[Job, RunnerError | None]]:
    """Run the jobs of a task and yield each when it is published, with its error, if any.

    The error is that of a run that could not be published, not even as failed.

    A job whose run exists already, complete and undamaged and made from the same experiment, is
    not run again. Another run in its place is moved to ``.superseded``. A job that fails is
    published as a record of its error. If the iteration is stopped, complete runs are still
    published.

    Parameters
    ----------
    task
        Jobs that differ only in their seed.
    """
    batch = _Batch(is_shared=task.count > 1)
    waiting: deque[tuple[Job, Future[Path]]] = deque()
    with ThreadPoolExecutor(_PUBLISHERS, "runner-publisher") as publishers:
        for job in task.jobs:
            run_id = f"{task.run_id}-{job.number}"
            try:
                publication = _run(job, run_id, task.sweep_id, batch)
            except RunnerError as error:
                yield job, None if is_recorded(job.folder, run_id) else error
                continue
            if publication is None:
                yield job, None
                continue
            waiting.append((job, publishers.submit(publication.appear)))
            while len(waiting) > _WAITING or (waiting and waiting[0][1].done()):
                yield _published(*waiting.popleft())
    for pair in waiting:
        yield _published(*pair)


def _published(job: Job, appearing: Future[Path]) -> tuple[Job, RunnerError | None]:
    try:
        appearing.result()
    except RunnerError as error:
        return job, error
    return job, None


def _run(job: Job, run_id: str, sweep_id: str, batch: _Batch) -> Publication | None:
    """Run one job; return its publication if that has yet to appear."""
    composition = job.composition
    if isinstance(composition, InputError):
        make_room(job.folder, run_id)
        name, seed = job.config.get("name"), job.config.get("seed")
        header = Header(
            run_id,
            name if isinstance(name, str) else None,
            sweep=sweep_id,
            config=job.config,
            overrides=job.overrides,
            seed=seed if isinstance(seed, int) else None,
        )
        publish_failure(header, job.folder, composition)
        return None
    if is_done(job.folder, batch.fingerprint(composition)):
        return None
    make_room(job.folder, run_id)
    header = header_of(composition, run_id, sweep_id)
    with failure_published(header, job.folder, composition):
        shared = batch.showing(composition)
        if shared is not None:
            from runner.saving.saving import Saving

            with Publication(job.folder) as publication:
                with Saving(publication, shared, header) as saving:
                    saving.write_tensors()
                    saving.complete()
                return publication
    run_experiment(
        composition,
        job.folder,
        run_id=run_id,
        sweep=sweep_id,
        own_build_because=batch.alone_because,
    )
    return None


class _Batch:
    """One model for many seeds, as long as each seed gives the same results as a new model.

    Attributes
    ----------
    alone_because
        Why each job has to build its own model, if so.
    """

    def __init__(self, *, is_shared: bool) -> None:
        self.alone_because: str | None = None
        self._is_shared = is_shared
        self._is_checked = False
        self._common: ExperimentConfig | None = None
        self._redrawn: RedrawnModel | None = None
        self._showing: Showing | None = None
        self._unseeded: ExperimentConfig | None = None
        self._paths: Sequence[Path] = ()
        self._packages: Mapping[str, str] = {}

    def fingerprint(self, composition: Composition) -> str:
        """Return the fingerprint of a job; what differs only in the seed uses the same files."""
        unseeded = composition.experiment.model_copy(update={"seed": 0})
        if unseeded != self._unseeded:
            self._unseeded, self._paths = unseeded, paths_in(composition.experiment)
            self._packages = packages_of(composition.experiment)
        return fingerprint_with(composition.resolved, self._paths, self._packages)

    def showing(self, composition: Composition) -> Showing | None:
        """Return the model with a job's weights; ``None`` if the job must build its own."""
        if not self._is_shared or self.alone_because is not None:
            return None
        common = composition.experiment.model_copy(update={"seed": 0, "name": None, "extra": {}})
        self._common = self._common or common
        if common != self._common:
            self.alone_because = "more than the seed differs between the jobs"
            return None
        if self._showing is None:
            self._begin(composition)
        else:
            self._redraw(composition)
        return None if self.alone_because is not None else self._showing

    def _begin(self, composition: Composition) -> None:
        config = composition.experiment
        if isinstance(config.model, FunctionModel):
            self.alone_because = "model.function may use the seed in any way"
            return
        if config.train is not None:
            self.alone_because = "it is trained"
            return
        model, probe = make_ready(composition, self._built)
        from runner.showing.showing import Showing

        self._showing = Showing(model, probe, settings_of(config))
        if self._showing.capture.draws_outside:
            self.alone_because = "a layer draws from the random stream of the whole process"

    def _built(self, config: ExperimentConfig) -> keras.Model:
        from runner.model.redrawing import RedrawnModel

        self._redrawn = RedrawnModel(config)
        return self._redrawn.model

    def _redraw(self, composition: Composition) -> None:
        assert self._redrawn is not None
        assert self._showing is not None
        self._redrawn.redraw(composition.experiment.seed)
        self._showing.renew()
        if not self._is_checked:
            self._check(composition)

    def _check(self, composition: Composition) -> None:
        """Compare the second job's weights and first values with those of a model built for it."""
        from runner.model.building import build_model
        from runner.showing.showing import Showing

        assert self._redrawn is not None
        assert self._showing is not None
        built = build_model(composition.experiment)
        if (path := self._redrawn.difference(built)) is not None:
            self.alone_because = f"the seed changes '{path}' differently than redrawing does"
            return
        alone = Showing(built, self._showing.probe, self._showing.settings)
        pairs = zip(alone.capture.tensors, alone.first, self._showing.first, strict=True)
        for spec, expected, found in pairs:
            one, other = (None if array is None else array.tobytes() for array in (expected, found))
            if one != other:
                self.alone_because = (
                    f"the seed changes '{spec.name}' differently than redrawing does"
                )
                return
        self._is_checked = True
