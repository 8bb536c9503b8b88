"""From Hydra's arguments to validated experiments, before Hydra does anything."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from runner.config.composition import Composition, composition_of, experiment_of
from runner.config.loading import ForbiddenError, Loader, check_hydra_keys
from runner.config.overrides import added_problems, parameter_problems, path_problems
from runner.config.resolve import (
    register_resolvers,
)
from runner.config.yaml_files import check_yaml_files
from runner.errors import InputError, Problem


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes
    ----------
    jobs
        How many runs; 1 for a single one.
    is_sweep
        Whether they are a sweep, be it of one.
    folder
        Where they are to be published.
    folder_word
        The override that says so outright.
    """

    jobs: int
    is_sweep: bool
    folder: Path
    folder_word: str


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
    overrides = _parsed_overrides(parsed.overrides)
    check_hydra_keys(overrides)
    if parsed.config_dir is not None:
        check_yaml_files(Path(parsed.config_dir))
    loader = Loader(parsed)
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
    if parsed.config_dir is not None or parsed.config_name is not None:
        loader.check_hydra(loader.load([_first(o) for o in overrides if loader.is_group(o)]))
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
    multirun = parsed.multirun or cfg.hydra.mode is RunMode.MULTIRUN
    if not multirun and (problems := problems or dict.fromkeys(map(_no_sweep, sweeps))):
        raise InputError(problems)
    jobs = math.prod(sum(1 for _ in override.sweep_iterator()) for override in sweeps)
    place = "hydra.sweep.dir" if multirun else "hydra.run.dir"
    folder = str(OmegaConf.select(cfg, place))
    return Asked(jobs, multirun, Path(folder), _hydra_word(place, folder))


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
    composition = composition_of(_own_part(cfg), OmegaConf.masked_copy(cfg, ["hydra"]))
    return composition, Path(str(OmegaConf.select(cfg, "hydra.run.dir")))


def _checked(loader: Loader, chosen: Sequence[str], values: Sequence[Override]) -> DictConfig:
    """Compose with these configs of groups, and check it with and without the values."""
    base = loader.load(chosen)
    problems = [*parameter_problems(base, values), *path_problems(base, values)]
    try:
        cfg = loader.load([*chosen, *map(_forced, values)]) if values else base
        loader.check_hydra(cfg)
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
    if re.fullmatch(r"\{.+:.+\}", value):
        advice = r"the keys of a mapping stand without quotes, a colon in one as \:"
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
    return shlex.quote(_hydra_word(key, value))


def _hydra_word(key: str, value: str) -> str:
    """Return the word that Hydra reads as this value, whatever is in it."""
    escaped = re.sub(r'\\+(?="|\Z)', lambda match: match[0] * 2, value).replace('"', '\\"')
    return f'{key}="{escaped}"'


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
