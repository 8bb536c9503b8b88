"""From Hydra's arguments to validated experiments, before Hydra does anything."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.combinations import check_sweeps, combined, jobs_of, words_of
from runner.config.composition import Composition, composition_of, experiment_of
from runner.config.grammar import hydra_word, parsed_overrides, quoted
from runner.config.hydra_keys import ForbiddenError, check_hydra_keys
from runner.config.loading import Loader, check_names
from runner.config.overrides import added_problems, parameter_problems, path_problems
from runner.config.resolve import (
    register_resolvers,
)
from runner.config.yaml_files import check_yaml_files
from runner.errors import InputError, Problem
from runner.local_paths import local_path


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes
    ----------
    jobs
        The overrides of every run; without those of ``hydra``.
    is_sweep
        Whether they are a sweep, be it of one.
    folder
        Where they are to be published.
    folder_word
        The override that says so outright.
    is_dry
        Whether nothing is to be written.
    """

    jobs: Sequence[tuple[str, ...]]
    is_sweep: bool
    folder: Path
    folder_word: str
    is_dry: bool = False


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line as Hydra does.

    Raises
    ------
    InputError
        For flags of Hydra that would load code or pickled data.
    """
    parser = get_args_parser()
    parser.error = _misused  # type: ignore[method-assign]
    parsed = parser.parse_args(arguments)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    asked = [f"--{mode}".replace("_", "-") for mode in modes if getattr(parsed, mode)]
    problems = []
    if len(asked) > 1:
        advice = "keep one"
        if parsed.multirun and parsed.cfg:
            advice = "leave -m out: --cfg shows what one run is configured with"
        problems.append(Problem(" ".join(asked), "exclude each other", advice))
    if parsed.resolve and not (parsed.cfg or parsed.help):
        problems.append(Problem("--resolve", "goes with --cfg or --help"))
    if parsed.experimental_rerun is not None:
        problems.append(
            Problem("--experimental-rerun", "loads pickled data, which can run code", "use rerun")
        )
    if parsed.config_path is not None:
        problems.append(Problem("--config-path", "replaces Runner's configs", "use --config-dir"))
    if parsed.config_dir is not None and not Path(parsed.config_dir).is_dir():
        problems.append(Problem("--config-dir", f"no folder '{parsed.config_dir}'"))
    if problems:
        raise InputError(problems)
    return parsed


@contextlib.contextmanager
def _depth_bounded() -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise InputError.of("config", "is nested too deeply to be read") from error


@_depth_bounded()
def admit(parsed: argparse.Namespace, run_id: str) -> tuple[Loader, list[Override]]:
    """Refuse what could run code, be it only for Hydra to show a page of help.

    Returns
    -------
    loader
        Composes this command line.
    overrides
        As parsed.

    Raises
    ------
    InputError
        For keys of Hydra's that are not open, and files that are no configurations.
    """
    register_resolvers(run_id)
    check_hydra_keys(parsed_overrides(parsed.overrides))
    if parsed.config_dir is not None:
        check_yaml_files(Path(parsed.config_dir))
        check_names(Path(parsed.config_dir))
    loader = Loader(parsed)
    overrides = parsed_overrides(parsed.overrides, loader.hydra_loader)
    check_sweeps(overrides)
    unnamed = [
        o for o in overrides if loader.is_group(o) and not o.is_delete() and o.value() is None
    ]
    if unnamed:
        raise InputError(
            Problem(
                o.key_or_group,
                "must name a config, found null",
                f"to have none: ~{o.key_or_group}"
                if o.key_or_group in ("loss", "optimizer")
                else "leave it out",
            )
            for o in unnamed
        )
    loader.check_hydra([_first(o) for o in overrides if loader.is_group(o)])
    return loader, overrides


@_depth_bounded()
def validate(parsed: argparse.Namespace, run_id: str) -> Asked:
    """Compose and check what a command line asks for, before Hydra does anything.

    Parameters
    ----------
    parsed
        Hydra's arguments. Of a sweep, every config that it chooses is checked here, and
        of its values the first; every job checks itself, and one that is wrong stops no
        other.
    run_id
        Id of this invocation, for the names of folders.

    Returns
    -------
    Asked
        What it asks for.

    Raises
    ------
    InputError
        With everything found wrong; of a sweep, only if no choice is right.
    """
    loader, overrides = admit(parsed, run_id)
    try:  # as Hydra composes what a whole sweep is made of
        whole = loader.load(merging(parsed.overrides), RunMode.MULTIRUN)
    except InputError:
        whole = None  # what is wrong is found again below, beside all else that is
    multirun = parsed.multirun or (whole is not None and whole.hydra.mode is RunMode.MULTIRUN)
    if multirun and whole is not None:
        overrides = combined([*_params(loader, whole), *overrides])
    groups = [override for override in overrides if loader.is_group(override)]
    values = [override for override in overrides if not loader.is_group(override)]
    problems: dict[Problem, None] = {}
    cfg = None
    for chosen in _choices(groups):
        try:
            cfg = _checked(loader, chosen, values)
        except ForbiddenError:
            raise
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    if cfg is None:
        raise InputError(problems)
    sweeps = [override for override in overrides if override.is_sweep_override()]
    if not multirun and (problems := problems or dict.fromkeys(map(_no_sweep, sweeps))):
        raise InputError(problems)
    place = "hydra.sweep.dir" if multirun else "hydra.run.dir"
    folder = str(OmegaConf.select(cfg, place))
    check_sweeps(overrides)
    subdir = str(cfg.hydra.sweep._get_node("subdir")._value())
    if multirun and sweeps and "${" not in subdir:
        raise InputError.of(
            "hydra.sweep.subdir",
            f"'{subdir}' would be the folder of every run",
            "put the job's number in it: hydra.sweep.subdir='${hydra.job.num}'",
        )
    words = [str(each.input_line) for each in overrides if not each.is_hydra_override()]
    jobs = jobs_of(parsed_overrides(merging(words), loader.hydra_loader))
    return Asked(
        jobs, multirun, local_path(folder, place), hydra_word(place, folder), bool(cfg.dry_run)
    )


def merging(words: Sequence[str]) -> list[str]:
    """Return overrides so that a mapping may bring keys to one that is there.

    Hydra asks for ``++`` then, of ``capture.reduce={conv_1: mean}`` as of a key that is not
    there. `validate` has told the two apart.
    """
    return [re.sub(r"^(?=[\w./@-]+=\{)", "++", word) for word in words]


def compose_one(arguments: Sequence[str], run_id: str) -> tuple[Composition, Path]:
    """Compose one experiment without Hydra's command line, as the Python API does.

    Returns
    -------
    composition
        The experiment.
    folder
        Where its run is to be published.

    Raises
    ------
    InputError
        As `validate`.
    """
    parsed = parse_arguments(list(arguments))
    validate(parsed, run_id)
    cfg = Loader(parsed).load(merging(parsed.overrides))
    HydraConfig.instance().set_config(cfg)
    composition = composition_of(_own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))
    return composition, Path(str(OmegaConf.select(cfg, "hydra.run.dir")))


def _params(loader: Loader, cfg: DictConfig) -> list[Override]:
    """Return what ``hydra.sweeper.params`` sweeps over, held to what a command line may say."""
    params: Any = OmegaConf.to_container(cfg.hydra.sweeper, resolve=False)
    overrides = parsed_overrides(words_of(params.get("params")), loader.hydra_loader)
    if problems := [
        Problem(f"hydra.sweeper.params.{each.key_or_group}", "is Hydra's own key, not a run's")
        for each in overrides
        if re.match(r"hydra\b", each.key_or_group) or each.package
    ]:
        raise ForbiddenError(problems)
    check_hydra_keys(overrides)
    return overrides


def first_job(parsed: argparse.Namespace, asked: Asked) -> Composition:
    """Compose the first run of a sweep.

    Parameters
    ----------
    parsed
        The sweep's arguments.
    asked
        What `validate` made of them.

    Raises
    ------
    InputError
        If it cannot be composed.
    """
    words = [word for word in parsed.overrides if word.lstrip("+~").startswith("hydra")]
    cfg = Loader(parsed).load([*asked.jobs[0], *words])
    HydraConfig.instance().set_config(cfg)
    return composition_of(_own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))


def _checked(loader: Loader, chosen: Sequence[str], values: Sequence[Override]) -> DictConfig:
    """Compose with these configs of groups, and check it with and without the values."""
    loader.check_hydra(chosen)
    base = loader.load(chosen)
    problems = [*parameter_problems(base, values), *path_problems(base, values)]
    try:
        cfg = loader.load([*chosen, *map(_forced, values)]) if values else base
        problems += loader.launcher_problems(cfg)
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}, as in a job
        experiment_of(_own_part(cfg))
    except ForbiddenError:
        raise
    except InputError as error:
        known = tuple(f"{problem.place}." for problem in problems)
        problems += [p for p in error.problems if not f"{p.place}.".startswith(known)]
    if problems := problems or added_problems(base, values):
        raise InputError(problems)
    return cfg


def _choices(groups: Sequence[Override]) -> Iterator[list[str]]:
    """Yield the first config of every group, then every other one beside those."""
    first = [_first(override) for override in groups]
    yield first
    for position, override in enumerate(groups):
        if override.is_sweep_override():
            for choice in list(override.sweep_string_iterator())[1:]:
                other = f"{override.get_key_element()}={choice}"
                yield [*first[:position], other, *first[position + 1 :]]


def _misused(message: str) -> NoReturn:
    raise InputError.of("runner", message, "runner --help lists the arguments")


def _own_part(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _no_sweep(override: Override) -> Problem:
    value = str(override.input_line).partition("=")[2]
    single = quoted(override.get_key_element(), value)
    return Problem(
        override.key_or_group,
        f"{value} stands for several values",
        f"add -m to run them all, or make it one: {single}",
    )


def _first(override: Override) -> str:
    """Return an override as typed; of a sweep, with the first of its values."""
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return str(override.input_line)


def _forced(override: Override) -> str:
    """Return an override so that it is composed even where it adds a key."""
    line = _first(override)
    if override.type is OverrideType.DEL or line.startswith("++"):
        return line
    return "++" + line.lstrip("+")
