"""The jobs of a sweep, as a worker receives and composes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from runner.config.batches import JOBS
from runner.config.composition import Composition
from runner.config.grammar import hydra_word, parsed_overrides
from runner.config.job_template import JobTemplate
from runner.config.value_columns import read
from runner.errors import InputError, Problem
from runner.store_urls import RunPlace

_OWN_WORDS = "hydra.sweeper."

SWEEP_FOLDER = "hydra.sweep.dir"
"""The key of a sweep's folder."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes
    ----------
    number
        Position in the sweep, from 0.
    folder
        Folder or URL that the run is published in.
    overrides
        Overrides of the command line for this run.
    composition
        The composed experiment, or the error in it.
    config
        Configuration of the run; may be empty for an invalid one.
    """

    number: int
    folder: RunPlace
    overrides: tuple[str, ...]
    composition: Composition | InputError
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A batch as received by a worker.

    Attributes
    ----------
    run_id
        Id of the invocation; a run's id is this and the job's number.
    sweep_id
        Id of the sweep that the runs belong to.
    count
        Number of jobs.
    jobs
        The jobs, each composed when the iterator reaches it.
    in_parts
        Whether they are parts of one run, whose numbers are those of the jobs.
    """

    run_id: str
    sweep_id: str
    count: int
    jobs: Iterator[Job]
    in_parts: bool = False


def task_of(own: DictConfig, hydra: DictConfig) -> Task:
    """Return the batch in a worker's configuration.

    Parameters
    ----------
    own
        Composed configuration of the first job, without the node ``hydra``.
    hydra
        Composed configuration with only the node ``hydra``.
    """
    plain: Any = {**_plain(own), **_plain(hydra)}
    node = plain["hydra"]
    given = node["sweeper"]
    node["sweeper"] = {"_target_": given["_target_"]}
    if plain.get("drawn_by") is None and given.get("drawn_by") is not None:
        plain["drawn_by"] = given["drawn_by"]
    words = [word for word in node["overrides"]["hydra"] if not word.startswith(_OWN_WORDS)]
    if (store := given.get("store")) is not None:  # Hydra itself has a local folder instead
        node["sweep"]["dir"] = store
        words = [word for word in words if not word.startswith(f"{SWEEP_FOLDER}=")]
        words.append(hydra_word(SWEEP_FOLDER, store))
    node["overrides"]["hydra"] = words
    refusal = InputError.of(*given["problem"]) if "problem" in given else None
    run_id, sweep_id = (
        str(OmegaConf.select(hydra, f"hydra.sweeper.{key}_id")) for key in ("run", "sweep")
    )
    words_of_jobs = read(given["jobs"])
    jobs, in_parts = _jobs(plain, words_of_jobs, refusal), given.get("parts") is not None
    return Task(run_id, sweep_id, len(words_of_jobs), jobs, in_parts)


def _jobs(
    plain: dict[str, Any], words: Mapping[int, tuple[str, ...]], refusal: InputError | None
) -> Iterator[Job]:
    """Yield the jobs, each composed when it is reached."""
    template = JobTemplate(plain)
    for number, own in words.items():
        template.place(number, own)
        composition: Composition | InputError
        try:
            if refusal is not None:
                raise refusal
            composition = template.composed()
            config = composition.config
        except InputError as error:
            composition, config = error, {} if refusal else template.config()
        yield Job(number, template.folder, template.overrides, composition, config)


def refused(hydra: DictConfig, words: Sequence[str], problem: Problem) -> DictConfig:
    """Return the configuration that represents a batch that Hydra cannot compose.

    Parameters
    ----------
    hydra
        Configuration composed for the whole sweep.
    words
        Result of `Batch.words`.
    problem
        Problem to report for each job.
    """
    cfg = OmegaConf.masked_copy(hydra, ["hydra"])
    parsed = parsed_overrides(words)
    [jobs] = [override.value() for override in parsed if override.key_or_group == JOBS]
    with read_write(cfg), open_dict(cfg):
        cfg.hydra.overrides.task = [word for word in words if not word.startswith("hydra.")]
        cfg.hydra.sweeper.jobs = jobs
        cfg.hydra.sweeper.problem = [problem.place, problem.message, problem.advice]
    return cfg


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg, enum_to_str=True)
    return dict(plain)
