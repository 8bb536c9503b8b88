"""The configs and values that a command line chooses, checked one choice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from runner.config.composition import experiment_of
from runner.config.grammar import quoted
from runner.config.hydra_keys import ForbiddenError
from runner.config.loading import Loader
from runner.config.overrides import added_problems, parameter_problems, path_problems
from runner.config.strict import UnknownKey
from runner.errors import InputError, Problem


def checked_choice(
    loader: Loader, chosen: Sequence[str], values: Sequence[Override], whole: DictConfig | None
) -> DictConfig:
    """Return the configuration of these choices and values, checked with and without values.

    It is `whole`, if that is given: the configuration as Hydra composes the command line.
    """
    base = loader.chosen(chosen)
    problems = [*parameter_problems(base, values), *path_problems(base, values)]
    try:
        cfg = whole or loader.load([*chosen, *map(_forced, values)])
        problems += loader.launcher_problems(cfg)
        HydraConfig.instance().set_config(cfg)  # for ${hydra:...}, as in a job
        experiment_of(own_part(cfg))
    except ForbiddenError:
        raise
    except InputError as error:
        places = tuple(f"{problem.place}." for problem in problems)
        problems += [p for p in error.problems if not f"{p.place}.".startswith(places)]
    if problems := problems or added_problems(base, values):
        raise InputError(_with_experiment(loader, base, chosen, each) for each in problems)
    return cfg


def _with_experiment(
    loader: Loader, base: DictConfig, chosen: Sequence[str], problem: Problem
) -> Problem:
    """Return a problem; if the experiment set the key for another choice, one that says so."""
    place, name = problem.place, OmegaConf.select(base, "hydra.runtime.choices.experiment")
    words = [word.lstrip("+") for word in chosen]
    refused_by = [
        word for word in words if place.startswith(f"{word.partition('=')[0].replace('/', '.')}.")
    ]
    if not refused_by or not isinstance(problem, UnknownKey):
        return problem
    written = loader.written(f"experiment/{name}")
    for part in place.split("."):
        if not isinstance(written, dict) or part not in written:
            return problem
        written = written[part]
    message = f"is set by experiment={name}, and {max(refused_by, key=len)} has no such key"
    return Problem(place, message, f"leave it out: ~{place}")


def each_choice(groups: Sequence[Override]) -> Iterator[list[str]]:
    """Yield the first choice of every group, then each other choice with the first ones."""
    first = [first_value(override) for override in groups]
    yield first
    for position, override in enumerate(groups):
        if override.is_sweep_override():
            for choice in list(override.sweep_string_iterator())[1:]:
                other = f"{override.get_key_element()}={choice}"
                yield [*first[:position], other, *first[position + 1 :]]


def own_part(cfg: DictConfig) -> DictConfig:
    """Return a configuration without Hydra's node."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def no_sweep(override: Override) -> Problem:
    """Return what is wrong with several values where one run is asked for."""
    value = str(override.input_line).partition("=")[2]
    single = quoted(override.get_key_element(), value)
    return Problem(
        override.key_or_group,
        f"{value} means several values",
        f"add -m to run them all, or quote it as one value: {single}",
    )


def first_value(override: Override) -> str:
    """Return an override as typed, for a sweep with its first value only."""
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return str(override.input_line)


def _forced(override: Override) -> str:
    """Return an override with ``++``, so that it can also add a key."""
    line = first_value(override)
    if override.type is OverrideType.DEL or line.startswith("++"):
        return line
    return "++" + line.lstrip("+")
