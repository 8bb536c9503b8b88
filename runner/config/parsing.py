"""Conversion of plain data to the typed configuration, with all problems that are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from pydantic import BaseModel, TypeAdapter, ValidationError

from runner.config.arguments import shown
from runner.config.capture_config import CaptureConfig, CaptureOptions
from runner.config.experiment_config import ExperimentConfig, LayerPattern
from runner.config.intervene_config import Intervention, action_in, each_problems
from runner.config.model_config import MODEL_KINDS
from runner.config.plain_problems import explained
from runner.config.probe_config import SOURCES
from runner.config.strict import Strict, classes_in, refuse
from runner.errors import InputError, Problem, suggest
from runner.intervening.action import Action
from runner.probe.source import ProbeSource
from runner.run_names import run_name_problems


def parse(config: Mapping[str, Any]) -> ExperimentConfig:
    """Return the experiment that is described by plain data.

    Parameters
    ----------
    config
        Nested dicts and lists, interpolations resolved.

    Raises
    ------
    InputError
        With all problems found, each with its full key path.
    """
    try:
        return ExperimentConfig.model_validate(config, context=config)
    except ValidationError as error:
        raise InputError(_problems(error, config)) from error


def parse_capture(**options: Unpack[CaptureOptions]) -> CaptureConfig:
    """Return the capture options given as keyword arguments; a text counts as a list of one.

    Raises
    ------
    InputError
        With all problems found.
    """
    given: dict[str, Any] = {**options}
    for name in ("include", "exclude", "kinds"):
        if name in given:
            value = given[name]
            given[name] = [value] if isinstance(value, str) else list(value)
    if "reduce" in given:
        given["reduce"] = dict(given["reduce"] or {})
    config = {"capture": given}
    try:
        return CaptureConfig.model_validate(given)
    except ValidationError as error:
        problems = _problems(error, config, ("capture",))
        raise InputError(
            replace(problem, place=problem.place.removeprefix("capture.")) for problem in problems
        ) from error


def parse_interventions(intervene: Mapping[str, Any] | None) -> dict[str, Intervention]:
    """Return the interventions given in Python as a mapping like that of the configuration.

    Arrays may stand for lists.

    Raises
    ------
    InputError
        With all problems found.
    """
    plain = _without_arrays(dict(intervene or {}))
    config = {"intervene": plain}
    try:
        found = TypeAdapter(dict[LayerPattern, Intervention]).validate_python(plain)
    except ValidationError as error:
        raise InputError(_problems(error, config, ("intervene",))) from error
    refuse(each_problems(found))
    return found


def _without_arrays(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_arrays(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_without_arrays(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


def check_name(name: str | None) -> None:
    """Check that a text can name a run, raise InputError otherwise.

    Raises
    ------
    InputError
        If it cannot.
    """
    if name is not None:
        refuse(replace(problem, place="name") for problem in run_name_problems(name))


def _problems(
    error: ValidationError, config: Mapping[str, Any], above: tuple[str, ...] = ()
) -> dict[Problem, None]:
    """Return the problems of a configuration, or of a part below some keys of it."""
    found: dict[Problem, None] = {}
    for detail in error.errors():
        if detail["type"].startswith("union_tag"):
            found[_no_model(detail["input"])] = None
        else:
            location = (*above, *detail["loc"])
            found |= dict.fromkeys(
                explained(detail, location, partial(_keys_beside, location, config))
            )
    return found


def _keys_beside(location: tuple[Any, ...], config: Mapping[str, Any]) -> list[str]:
    """Return the valid keys at the location of an unknown key."""
    known: type[BaseModel] = ExperimentConfig
    value: Any = config
    above = iter(location[:-1])
    for part in above:
        value, within = value[part], set(classes_in(known.model_fields[part].annotation))
        if within & {dict, list}:
            value = value[next(above)]
        if ProbeSource in within:
            known = SOURCES[value["source"]]
        elif Action in within:
            known = action_in(value)
        elif known is ExperimentConfig and part == "model":
            known = MODEL_KINDS[next(above)]
        else:
            [known] = [each for each in within if issubclass(each, Strict)]
    return list(known.model_fields)


def _no_model(found: Any) -> Problem:
    if not isinstance(found, Mapping):
        return Problem("model", f"expected a mapping, found {shown(found)}")
    advice = next(filter(None, (suggest(str(key), MODEL_KINDS) for key in found)), "")
    return Problem("model", f"expected one of the keys {', '.join(MODEL_KINDS)}", advice)
