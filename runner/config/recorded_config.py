"""The configuration in the record of a run, as a repetition composes it, with its overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from runner.config.choices import no_sweep
from runner.config.declared_config import DeclaredModel
from runner.config.experiment_config import ExperimentConfig
from runner.config.grammar import parsed_overrides
from runner.config.model_config import RUNTIMES
from runner.config.overrides import path_problems
from runner.config.resolve import DEEPEST
from runner.config.strict import UnknownKey
from runner.errors import InputError, Problem, suggest

# A variable as a record writes it. Its default is plain text: a record may not hold more code.
_VARIABLE = r"\$\{oc\.env:\w+(?:,[^\[\]{}()$\\\"',]*)?\}"
_INTERPOLATION = re.compile(
    rf"(?P<backslashes>(?<!\\)\\*+)"
    rf"(?:(?P<variable>\$\{{oc\.decode:{_VARIABLE}\}}|{_VARIABLE})|\$\{{)"
)
_REQUIRED = re.compile(r"\$\{oc\.env:(\w+)\}")

_FREE = ("backend", "model", "capture", "format", "name")
"""The first parts of the keys that a repetition may override."""
_WEIGHTS = ("seed", "drawn_by", "train", "model.weights", "model.seeding")
"""Keys that would change the weights."""


def recorded(config: Mapping[str, Any]) -> DictConfig:
    """Return a recorded configuration, in which only variables of the environment are resolved.

    Raises
    ------
    InputError
        If it is nested too deeply.
    """
    own = {"name": None}  # names are unique to a run
    whole = {"parts": 1} if "parts" in config else {}  # a run is repeated whole
    return OmegaConf.create({**_escaped(config), **own, **whole})


def variables_required(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the environment variables that a recorded configuration needs."""
    return _REQUIRED.findall(str(config))


def override(config: DictConfig, words: Sequence[str]) -> None:
    """Set keys of a recorded configuration to other values, whose types are checked later.

    Parameters
    ----------
    config
        The result of `recorded`.
    words
        Overrides as typed, with one value each.

    Raises
    ------
    InputError
        With all keys that a repetition cannot change, or that there are not.
    """
    overrides = parsed_overrides(words)
    if any(map(_is_converted_model, overrides)):
        config.model = {"path": "???"}
    overrides = [each for each in overrides if not _is_converted_model(each)]
    if problems := [problem for each in overrides for problem in _problems(config, each)]:
        raise InputError(problems)
    if problems := [*path_problems(config, overrides)]:
        raise InputError(problems)
    for each in overrides:
        OmegaConf.update(config, each.key_or_group, each.value(), merge=False, force_add=True)


def _is_converted_model(given: Override) -> bool:
    """Return whether an override takes a model of another runtime in place of the run's."""
    is_plain = not given.is_sweep_override() and not given.is_delete() and given.package is None
    return given.key_or_group == "model" and is_plain and given.value() in RUNTIMES


def _problems(config: DictConfig, given: Override) -> Iterator[Problem]:
    key = given.key_or_group
    first, _, second = key.partition(".")
    if given.is_sweep_override():
        yield no_sweep(given)
    elif given.is_delete():
        yield Problem(key, "cannot be taken away", f"give it another value: {key}=...")
    elif given.package is not None:
        yield Problem(key, f"found @{given.package}, and only keys are set here", f"type {key}=...")
    elif first == "probe":
        yield Problem(key, "chooses the samples, which are those of the run", "leave it out")
    elif key.startswith(_WEIGHTS):
        yield Problem(key, "changes the weights, which are those of the run", "leave it out")
    elif first not in _FREE and first in ExperimentConfig.model_fields:
        yield Problem(key, "stays as it was", f"keys of {', '.join(_FREE)} can change")
    elif first not in _FREE:
        advice = suggest(first, ExperimentConfig.model_fields)
        yield UnknownKey(key, advice=advice or f"keys of {', '.join(_FREE)} can change")
    elif not second and first in ("model", "capture"):
        others = f", or {' or '.join(RUNTIMES)}" if first == "model" else ""
        yield Problem(key, "stands for many keys", f"set one of them: {key}.KEY=...{others}")
    elif first == "model" and "layers" in config.model:
        yield from _parameter_problems(config, key, second.partition(".")[0])


def _parameter_problems(config: DictConfig, key: str, part: str) -> Iterator[Problem]:
    """Yield a problem for a key of a declared model that is none of its own."""
    own = [name for name in DeclaredModel.model_fields if f"model.{name}" not in _WEIGHTS]
    if part in config.model and part not in own:
        advice = "set the keys that it had a part in, such as model.layers.NAME.units"
        yield Problem(
            key, "has no effect: the record holds the layers that were made with it", advice
        )
    elif part not in own:
        yield UnknownKey(key, advice=suggest(part, own) or f"keys are {', '.join(own)}")


def _escaped(value: Any, depth: int = 0) -> Any:
    """Escape all interpolations but those of the environment: the run resolved all others."""
    if depth > DEEPEST:
        raise InputError.of("config", "is nested too deeply to be read")
    if isinstance(value, Mapping):
        return {key: _escaped(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item, depth + 1) for item in value]
    if isinstance(value, str):
        return _INTERPOLATION.sub(_escaped_match, value)
    return value


def _escaped_match(match: re.Match[str]) -> str:
    """Return an interpolation, and the backslashes before it, as OmegaConf would read them."""
    backslashes = 2 * match["backslashes"]
    return backslashes + (match["variable"] or r"\${")
