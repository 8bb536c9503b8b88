"""A composed experiment, and the conversion of OmegaConf's data to typed objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import OmegaConfDumper

from runner.config.environment_limits import sent_places, written_places
from runner.config.environment_reading import values_from_environment
from runner.config.environment_values import EnvironmentValues
from runner.config.experiment_config import ExperimentConfig
from runner.config.packaged import CONFIG_DIRECTORY
from runner.config.parsing import parse
from runner.config.resolve import register_custom_resolvers, resolved, source_of
from runner.config.strict import UnknownKey
from runner.errors import InputError, Problem
from runner.file_names import CONFIG, HYDRA, OVERRIDES


@dataclass(frozen=True)
class Composition:
    """A composed experiment.

    Attributes
    ----------
    experiment
        The validated, typed configuration.
    resolved
        The configuration as plain data, with every interpolation resolved.
    config
        The same, but with ``${oc.env:NAME}`` left as text.
    overrides
        Overrides of the command line.
    files
        Contents of Hydra's files by path: ``.hydra/config.yaml`` and its siblings.
    paired
        Packaged experiment with this model and a probe that fits it, if there is one.
    variables
        Values from environment variables, which must not appear in the run's files.
    """

    experiment: ExperimentConfig
    resolved: Mapping[str, Any]
    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    files: Mapping[str, bytes]
    paired: str | None = None
    variables: EnvironmentValues = field(default_factory=EnvironmentValues)


def composition_of(own: DictConfig, hydra: Any) -> Composition:
    """Return the composed experiment of a configuration.

    Parameters
    ----------
    own
        Composed configuration without the node ``hydra``.
    hydra
        Composed configuration with only the node ``hydra``.

    Raises
    ------
    InputError
        As in `experiment_of`.
    """
    # Iterating would resolve interpolations in overrides, including environment variables.
    overrides: Any = OmegaConf.to_container(hydra.hydra.overrides.task, resolve=False)
    model = OmegaConf.select(hydra, "hydra.runtime.choices.model")
    paired = (CONFIG_DIRECTORY / "experiment" / f"{model}.yaml").is_file()
    register_custom_resolvers(own)
    variables = values_from_environment(own)
    return Composition(
        experiment=_experiment_of(own, variables),
        resolved=resolved(own)[0],
        config=variables.config,
        overrides=tuple(map(str, overrides)),
        files={
            CONFIG: to_yaml(own),
            HYDRA: to_yaml(hydra),
            OVERRIDES: to_yaml(hydra.hydra.overrides.task),
        },
        paired=model if paired else None,
        variables=variables,
    )


def experiment_of(cfg: DictConfig) -> ExperimentConfig:
    """Return the typed experiment of a composed configuration.

    Raises
    ------
    InputError
        With every problem at the key to change: for an interpolated value, the key that the
        value comes from.
    """
    register_custom_resolvers(cfg)
    return _experiment_of(cfg, values_from_environment(cfg))


def _experiment_of(cfg: DictConfig, variables: EnvironmentValues) -> ExperimentConfig:
    plain, unresolved = resolved(cfg)
    places = {problem.place for problem in unresolved}
    problems = [  # a reference to a missing value is not a problem of its own
        problem
        for problem in unresolved
        if (source := source_of(cfg, problem.place)) == problem.place or source not in places
    ]
    problems += [
        Problem(place, "names code, which is not allowed in a configuration", "remove it")
        for place in _code_places(plain)
    ]
    problems += [
        _unwanted(place, source_of(cfg, place), "sent to the place that a URL names")
        for place in sent_places(plain, variables.config)
    ]
    try:
        experiment = parse(plain)
        problems += [
            _unwanted(place, source_of(cfg, place), "written into the run")
            for place in sorted(written_places(experiment, variables.places))
        ]
    except InputError as error:
        known = [f"{problem.place}." for problem in (*unresolved, *problems)]
        problems += [
            replace(problem, place=_place(cfg, problem))
            for problem in error.problems
            if not any(place.startswith(f"{problem.place}.") for place in known)
        ]
    if problems:
        raise variables.told(InputError(dict.fromkeys(problems)))
    return experiment


def _place(cfg: DictConfig, problem: Problem) -> str:
    """Return the key to change: the source of the value, unless the key itself is unknown."""
    if isinstance(problem, UnknownKey):
        return problem.place
    return source_of(cfg, problem.place)


def _unwanted(place: str, source: str, where: str) -> Problem:
    """Return the problem that a value from the environment would leave this process."""
    role = "" if source == place else f" as {place}"
    return Problem(
        source,
        f"comes from the environment, and would be {where}{role}",
        f"write the value itself, or type it on the command line: {source}=...",
    )


def _code_places(value: Any, place: str = "") -> Iterator[str]:
    """Yield the paths of all keys named ``_target_``, which Hydra would take for code."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            below = f"{place}.{key}" if place else str(key)
            if key == "_target_":
                yield below
            yield from _code_places(item, below)


def to_yaml(value: Any) -> bytes:
    """Return a configuration, or a part of one, as the YAML that Hydra would write.

    Parameters
    ----------
    value
        An OmegaConf object, or plain data.
    """
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False, enum_to_str=True)
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return str(text).encode()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Dumper that, like OmegaConf's, quotes texts that YAML 1.1 would read as another type."""


_Dumper.add_representer(str, OmegaConfDumper.str_representer)
