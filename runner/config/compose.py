"""From Hydra's arguments to a validated experiment; the only module that knows OmegaConf."""

from __future__ import annotations

import argparse
import functools
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.experiment_config import ExperimentConfig, parse
from runner.config.loading import CONFIG_DIRECTORY, Loader, check_hydra_keys
from runner.config.overrides import added_problems, parameter_problems, path_problems
from runner.config.resolve import (
    environment_as_text,
    register_resolvers,
    resolved,
    source_of,
    without_environment,
)
from runner.config.yaml_files import check_yaml_files
from runner.errors import InputError, Problem


@dataclass(frozen=True)
class Composition:
    """One experiment as composed.

    Attributes
    ----------
    experiment
        Validated and typed.
    config
        The same as plain data, interpolations resolved, ``${oc.env:NAME}`` left as text.
    overrides
        What the command line changed.
    files
        Hydra's account of it: ``.hydra/config.yaml`` and its siblings.
    paired
        A packaged experiment that shows this model a probe that fits it, if there is one.
    scrubbed
        Takes the values of environment variables out of a message.
    """

    experiment: ExperimentConfig
    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    files: Mapping[str, bytes]
    paired: str | None = None
    scrubbed: Callable[[str], str] = str


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line as Hydra does.

    Raises
    ------
    InputError
        For flags of Hydra that would load code or pickled data.
    """
    parser = get_args_parser()
    parser.prog = "runner"
    parsed = parser.parse_args(arguments)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    asked = [f"--{mode}".replace("_", "-") for mode in modes if getattr(parsed, mode)]
    problems = []
    if len(asked) > 1:
        problems.append(Problem(" ".join(asked), "exclude each other", "keep one"))
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
    overrides = _parsed_overrides(parsed.overrides)
    check_hydra_keys(overrides)
    if parsed.config_dir is not None:
        check_yaml_files(Path(parsed.config_dir))
    loader = Loader(parsed)
    if parsed.config_dir is not None or parsed.config_name is not None:
        loader.check_hydra(loader.load([_first(o) for o in overrides if loader.is_group(o)]))
    return loader, overrides


def validate(parsed: argparse.Namespace, run_id: str) -> tuple[int, Path]:
    """Compose and check what a command line asks for, before Hydra does anything.

    Parameters
    ----------
    parsed
        Hydra's arguments. Of a sweep, every config that it chooses is checked here, and
        of its values the first; every job checks itself.
    run_id
        Id of this invocation, for the names of folders.

    Returns
    -------
    jobs
        How many it asks for; 1 for a single run.
    folder
        Where they are to be published.

    Raises
    ------
    InputError
        With everything found wrong.
    """
    loader, overrides = admit(parsed, run_id)
    groups = [override for override in overrides if loader.is_group(override)]
    values = [override for override in overrides if not loader.is_group(override)]
    problems: dict[Problem, None] = {}
    for chosen in _choices(groups):
        try:
            cfg = _checked(loader, chosen, values)
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    sweeps = [override for override in overrides if override.is_sweep_override()]
    if not problems and not (multirun := parsed.multirun or cfg.hydra.mode is RunMode.MULTIRUN):
        problems |= dict.fromkeys(map(_no_sweep, sweeps))
    if problems:
        raise InputError(problems)
    jobs = math.prod(sum(1 for _ in override.sweep_iterator()) for override in sweeps)
    return jobs, Path(str(OmegaConf.select(cfg, f"hydra.{'sweep' if multirun else 'run'}.dir")))


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
    cfg = Loader(parsed).load(parsed.overrides)
    composition = _composition(_own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))
    return composition, Path(str(OmegaConf.select(cfg, "hydra.run.dir")))


def job_composition(cfg: DictConfig) -> Composition:
    """Return the composition of the job that Hydra is running.

    Parameters
    ----------
    cfg
        What Hydra gives to a job.
    """
    return _composition(cfg, HydraConfig.instance().cfg)


def _composition(own: DictConfig, hydra: Any) -> Composition:
    # Iterating would resolve what an override holds, the environment included.
    overrides: Any = OmegaConf.to_container(hydra.hydra.overrides.task, resolve=False)
    model = OmegaConf.select(hydra, "hydra.runtime.choices.model")
    paired = (CONFIG_DIRECTORY / "experiment" / f"{model}.yaml").is_file()
    return Composition(
        experiment=experiment_of(own),
        config=environment_as_text(own),
        overrides=tuple(map(str, overrides)),
        files={
            ".hydra/config.yaml": OmegaConf.to_yaml(own).encode(),
            ".hydra/hydra.yaml": OmegaConf.to_yaml(hydra).encode(),
            ".hydra/overrides.yaml": OmegaConf.to_yaml(hydra.hydra.overrides.task).encode(),
        },
        paired=model if paired else None,
        scrubbed=functools.partial(without_environment, cfg=own),
    )


def experiment_of(cfg: DictConfig) -> ExperimentConfig:
    """Cross the boundary: from what Hydra composed to a typed experiment.

    Raises
    ------
    InputError
        With every problem under the key that a person can change: where a value came
        by an interpolation, the key that it came from.
    """
    plain, unresolved = resolved(cfg)
    places = {problem.place for problem in unresolved}
    problems = [  # what refers to a value that is not there is not wrong itself
        problem
        for problem in unresolved
        if (source := source_of(cfg, problem.place)) == problem.place or source not in places
    ]
    problems += [
        Problem(place, "names code, which a config may not", "remove it")
        for place in _code_places(plain)
    ]
    try:
        experiment = parse(plain)
    except InputError as error:
        known = [f"{problem.place}." for problem in (*unresolved, *problems)]
        problems += [
            Problem(source_of(cfg, problem.place), problem.message, problem.advice)
            for problem in error.problems
            if not any(place.startswith(f"{problem.place}.") for place in known)
        ]
    if problems:
        raise InputError(dict.fromkeys(problems))
    return experiment


def _code_places(value: Any, place: str = "") -> Iterator[str]:
    """Yield the paths of all keys ``_target_``, which Hydra would take for code."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            below = f"{place}.{key}" if place else str(key)
            if key == "_target_":
                yield below
            yield from _code_places(item, below)


def _checked(loader: Loader, chosen: Sequence[str], values: Sequence[Override]) -> DictConfig:
    """Compose with these configs of groups, and check it with and without the values."""
    base = loader.load(chosen)
    problems = [*parameter_problems(base, values), *path_problems(base, values)]
    try:
        cfg = loader.load([*chosen, *map(_forced, values)]) if values else base
        loader.check_hydra(cfg)
        experiment_of(_own_part(cfg))
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


def _own_part(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _parsed_overrides(words: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    overrides, problems = [], []
    for word in words:
        try:
            overrides.append(parser.parse_override(word))
        except HydraException:
            problems.append(_unreadable(word))
    if problems:
        raise InputError(problems)
    return overrides


def _unreadable(word: str) -> Problem:
    """Say how to type a value that Hydra's grammar does not take as it stands."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[~+]{0,2}[\w./@-]+", key):
        return Problem(word, "is not key=value", "see --help for examples")
    advice = f"quote it twice: {_quoted(key, value)}"
    return Problem(key.lstrip("~+"), f"Hydra cannot read the value {value}", advice)


def _no_sweep(override: Override) -> Problem:
    value = str(override.input_line).partition("=")[2]
    quoted = _quoted(override.get_key_element(), value)
    return Problem(
        override.key_or_group,
        f"{value} stands for several values",
        f"add -m to run them all, or make it one: {quoted}",
    )


def _quoted(key: str, value: str) -> str:
    """Return the word to type so that shell and Hydra leave a value as it is."""
    escaped = re.sub(r'\\+(?="|\Z)', lambda match: match[0] * 2, value).replace('"', '\\"')
    return shlex.quote(f'{key}="{escaped}"')


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
