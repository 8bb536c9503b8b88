"""The jobs of a sweep: batches that differ only in the seed, and composition of each job."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from runner.config import seed_lists
from runner.config.composition import Composition, composition_of, to_yaml
from runner.config.grammar import parsed_overrides
from runner.config.hydra_keys import subdir_problems
from runner.config.resolve import short, values_from_environment
from runner.config.strict import MAX_SEED
from runner.errors import InputError, Problem

_OWN_WORDS = "hydra.sweeper."
_JOBS = "hydra.sweeper.jobs"
_CHANGING_NODES = ("job", "overrides", "runtime")
_CHANGING = {("seed",), *(("hydra", node) for node in _CHANGING_NODES)}
_REFERENCE = re.compile(r"\$\{(?:[^{}]|\$\{[^{}]*\})*\}")
_SEED = re.compile(r"seed=(\d+)")


@dataclass(frozen=True)
class Batch:
    """Jobs that differ only in the seed, run one after another by one process.

    Attributes
    ----------
    overrides
        Overrides of the first job.
    seeds
        Seeds by job number; ``None`` for a single job whose command line sets no seed.
    """

    overrides: tuple[str, ...]
    seeds: Mapping[int, int | None]

    def words(self) -> list[str]:
        """Return the overrides of the first job, plus one that lists all jobs for a worker."""
        return [*self.overrides, f"{_JOBS}='{seed_lists.written(self.seeds)}'"]

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the jobs in batches of at most `size`."""
        numbers = list(self.seeds)
        for start in range(0, len(numbers), size):
            seeds = {number: self.seeds[number] for number in numbers[start : start + size]}
            yield Batch(_with_seed(self.overrides, next(iter(seeds.values()))), seeds)


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes
    ----------
    number
        Position in the sweep, from 0.
    folder
        Folder that the run is published in.
    overrides
        Overrides of the command line for this run.
    composition
        The composed experiment, or the error in it.
    config
        Configuration of the run; may be empty for an invalid one.
    """

    number: int
    folder: Path
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
    """

    run_id: str
    sweep_id: str
    count: int
    jobs: Iterator[Job]


def batches_of(jobs: Sequence[Sequence[str]]) -> list[Batch]:
    """Return the batches of a sweep's jobs that differ only in the seed.

    Parameters
    ----------
    jobs
        Overrides of every job, in the order of the jobs' numbers.
    """
    found: dict[tuple[str, ...], dict[int, int | None]] = {}
    for number, overrides in enumerate(jobs):
        seeds = [int(match[1]) for word in overrides if (match := _SEED.fullmatch(word))]
        seed = seeds[0] if len(seeds) == 1 else None
        found.setdefault(_with_seed(overrides, None if seed is None else 0), {})[number] = seed
    return [Batch(tuple(jobs[next(iter(seeds))]), seeds) for seeds in found.values()]


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
    words = [word for word in node["overrides"]["hydra"] if not word.startswith(_OWN_WORDS)]
    node["overrides"]["hydra"] = words
    refusal = InputError.of(*given["problem"]) if "problem" in given else None
    run_id, sweep_id = (
        str(OmegaConf.select(hydra, f"hydra.sweeper.{key}_id")) for key in ("run", "sweep")
    )
    seeds = seed_lists.read(given["jobs"])
    return Task(run_id, sweep_id, len(seeds), _jobs(plain, seeds, refusal))


def _jobs(
    plain: dict[str, Any], seeds: Mapping[int, int | None], refusal: InputError | None
) -> Iterator[Job]:
    """Yield the jobs, deriving the third and later ones from the first where possible."""
    template = _Template(plain)
    for number, seed in seeds.items():
        template.place(number, seed)
        composition: Composition | InputError
        try:
            if refusal is not None:
                raise refusal
            composition = template.composed(seed)
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
    [jobs] = [override.value() for override in parsed if override.key_or_group == _JOBS]
    with read_write(cfg), open_dict(cfg):
        cfg.hydra.overrides.task = [word for word in words if not word.startswith("hydra.")]
        cfg.hydra.sweeper.jobs = jobs
        cfg.hydra.sweeper.problem = [problem.place, problem.message, problem.advice]
    return cfg


class _Template:
    """The configuration of a batch, with number and seed changed for each job.

    Attributes
    ----------
    folder, overrides
        As in `Job`, for the job placed last.
    """

    def __init__(self, plain: dict[str, Any]) -> None:
        self._plain = plain
        cfg = OmegaConf.create(plain)  # resolves interpolations
        self._subdir = _Subdir(cfg)
        self._sweep_folder = Path(str(cfg.hydra.sweep.dir)).absolute()
        self._first: Composition | None = None
        self._only_seed = False
        self._pieces: dict[tuple[str, ...], bytes] = {}

    def place(self, number: int, seed: int | None) -> None:
        """Set the job's number and seed, as if the job had been composed alone."""
        if seed is not None:
            self._plain["seed"] = seed
        node = self._plain["hydra"]
        self.overrides = _with_seed(node["overrides"]["task"], seed)
        naming = node["job"]["config"]["override_dirname"]
        dirname = get_overrides_dirname([_parsed(word) for word in self.overrides], **naming)
        node["job"].update(num=number, id=str(number), override_dirname=dirname)
        subdir = self._subdir.of(self._plain, dirname)
        self._misplaced = list(subdir_problems(subdir))
        # Its failure is still published, in a folder named after the job's number.
        self.folder = self._sweep_folder / (str(number) if self._misplaced else subdir)
        node["overrides"]["task"] = list(self.overrides)
        node["runtime"]["output_dir"] = str(self.folder)

    def composed(self, seed: int | None) -> Composition:
        """Return the experiment of the job placed last.

        Raises
        ------
        InputError
            As in `composition_of`, or if the job's folder is outside the sweep's.
        """
        if self._misplaced:
            raise InputError(self._misplaced)
        if self._first is not None and self._only_seed and seed is not None and seed <= MAX_SEED:
            return self._derived(self._first, seed)
        cfg = OmegaConf.create(self._plain)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        composition = composition_of(own, OmegaConf.masked_copy(cfg, ["hydra"]))
        first = self._first or composition
        self._only_seed = first is not composition and all(
            {**one, "seed": None} == {**other, "seed": None}
            for one, other in (
                (first.resolved, composition.resolved),
                (first.config, composition.config),
            )
        )
        self._first = first
        return composition

    def config(self) -> Mapping[str, Any]:
        """Return the configuration of the job placed last; empty if it cannot be resolved."""
        own = {key: value for key, value in self._plain.items() if key != "hydra"}
        try:
            return values_from_environment(OmegaConf.create(own)).config
        except (InputError, OmegaConfBaseException):
            return {}

    def _derived(self, first: Composition, seed: int) -> Composition:
        # Copy what the next job changes: the files may be read after that job is placed.
        node = self._plain["hydra"]
        changing = {key: {**node[key]} for key in _CHANGING_NODES}
        own = {key: value for key, value in self._plain.items() if key != "hydra"}
        overrides = self.overrides

        def files() -> dict[str, bytes]:
            return {
                ".hydra/config.yaml": self._yaml(own),
                ".hydra/hydra.yaml": b"hydra:\n" + self._yaml({**node, **changing}, ("hydra",)),
                ".hydra/overrides.yaml": to_yaml(list(overrides)),
            }

        return dataclasses.replace(
            first,
            experiment=first.experiment.model_copy(update={"seed": seed}),
            resolved={**first.resolved, "seed": seed},
            config={**first.config, "seed": seed},
            overrides=overrides,
            files=_Files(files),
        )

    def _yaml(self, mapping: dict[str, Any], above: tuple[str, ...] = ()) -> bytes:
        """Return the YAML of a mapping; keys with the same value in all jobs are dumped once."""
        lines = []
        for key, value in mapping.items():
            path = (*above, key)
            if path not in self._pieces or path in _CHANGING:
                nested: Any = {key: value}
                for name in reversed(above):
                    nested = {name: nested}
                text = to_yaml(nested)
                self._pieces[path] = b"".join(text.splitlines(keepends=True)[len(above) :])
            lines.append(self._pieces[path])
        return b"".join(lines)


class _Subdir:
    """The name of a job's folder, which may contain interpolations.

    Resolving them with OmegaConf takes longer than checking that a run is complete. A name that
    refers only to the job's number and overrides, as by default, is therefore built here.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self._cfg = cfg
        self._text = str(OmegaConf.to_container(cfg.hydra.sweep)["subdir"])  # type: ignore[index, call-overload]

    def of(self, plain: Mapping[str, Any], dirname: str) -> str:
        """Return the name for the job of a plain configuration."""
        node = plain["hydra"]["job"]
        if "$" not in dirname:
            known = {
                "${hydra.job.num}": str(node["num"]),
                "${hydra.job.override_dirname}": dirname,
                "${runner.short:${hydra.job.override_dirname}}": short(dirname),
            }
            text = _REFERENCE.sub(lambda found: known.get(found[0], found[0]), self._text)
            if "$" not in text and "\\" not in self._text:
                return text
        self._cfg.seed = plain["seed"]
        self._cfg.hydra.job.num = node["num"]
        # Escaped, so that the folder's name shows no resolved value.
        self._cfg.hydra.job.override_dirname = dirname.replace("${", r"\${")
        return str(self._cfg.hydra.sweep.subdir)


class _Files(Mapping[str, bytes]):
    """Hydra's files of a job, made on first access, so not for a job that is already complete."""

    def __init__(self, make: Callable[[], dict[str, bytes]]) -> None:
        self._make = make

    @functools.cached_property
    def _made(self) -> dict[str, bytes]:
        return self._make()

    def __getitem__(self, name: str) -> bytes:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(cfg, enum_to_str=True)
    return dict(plain)


def _with_seed(overrides: Sequence[str], seed: int | None) -> tuple[str, ...]:
    """Return overrides with another seed, or unchanged if `seed` is ``None``."""
    if seed is None:
        return tuple(overrides)
    return tuple(f"seed={seed}" if _SEED.fullmatch(word) else word for word in overrides)


def _parsed(word: str) -> Override:
    if _SEED.fullmatch(word):  # parsing a thousand of them would take as long as running them
        return dataclasses.replace(_parse("seed=0"), input_line=word)
    return _parse(word)


@functools.cache
def _parse(word: str) -> Override:
    [override] = parsed_overrides([word])
    return override
