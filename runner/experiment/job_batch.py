"""Runs the jobs of one batch of a sweep, and publishes them while the next ones run."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

from runner.config.jobs import Job, Task
from runner.errors import InputError, RunnerError
from runner.experiment.earlier import is_done, is_recorded, make_room
from runner.experiment.experiment import (
    failure_published,
    header_of,
    publish_failure,
    run_experiment,
)
from runner.experiment.fingerprint import Fingerprints
from runner.experiment.shared_model import SharedModel
from runner.record.header import Header
from runner.record.publication import Publication
from runner.stores.places import draft_at
from runner.stores.store import StoredRun

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
        Jobs that differ only in the values of cheap keys.
    """
    shared = SharedModel() if task.count > 1 else None
    fingerprints = Fingerprints()
    waiting: deque[tuple[Job, Future[StoredRun]]] = deque()
    with ThreadPoolExecutor(_PUBLISHERS, "runner-publisher") as publishers:
        for job in task.jobs:
            run_id = f"{task.run_id}-{job.number}"
            try:
                publication = _run(job, run_id, task.sweep_id, shared, fingerprints)
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


def _published(job: Job, appearing: Future[StoredRun]) -> tuple[Job, RunnerError | None]:
    try:
        appearing.result()
    except RunnerError as error:
        return job, error
    return job, None


def _run(
    job: Job, run_id: str, sweep_id: str, shared: SharedModel | None, fingerprints: Fingerprints
) -> Publication | None:
    """Run one job; return its publication if that has yet to appear."""
    composition = job.composition
    if not isinstance(composition, InputError) and composition.experiment.parts > 1:
        composition = InputError.of("parts", "the runs of a sweep are made whole", "leave it out")
    if isinstance(composition, InputError):
        make_room(job.folder, run_id)
        publish_failure(_header_of_invalid(job, run_id, sweep_id), job.folder, composition)
        return None
    if is_done(job.folder, fingerprints.of(composition), composition.overrides):
        return None
    make_room(job.folder, run_id)
    header = header_of(composition, run_id, sweep_id)
    with failure_published(header, job.folder, composition):
        showing = shared.showing(composition) if shared is not None else None
        if showing is not None:
            from runner.saving.saving import Saving

            with Publication(draft_at(job.folder, "folder")) as publication:
                with Saving(publication, showing, header) as saving:
                    saving.write_tensors()
                    saving.complete()
                return publication
    run_experiment(
        composition,
        job.folder,
        run_id=run_id,
        sweep=sweep_id,
        own_build_because=shared.refusal if shared is not None else None,
    )
    return None


def _header_of_invalid(job: Job, run_id: str, sweep_id: str) -> Header:
    name, seed = job.config.get("name"), job.config.get("seed")
    return Header(
        run_id,
        name if isinstance(name, str) else None,
        sweep=sweep_id,
        config=job.config,
        overrides=job.overrides,
        seed=seed if isinstance(seed, int) else None,
    )
