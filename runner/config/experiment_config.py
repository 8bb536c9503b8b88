"""The typed configuration of an experiment, validated before anything is built."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Self, Unpack

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from runner.config.arguments import TYPES, argument_problems, join, shown
from runner.config.capture_config import CaptureConfig, CaptureOptions
from runner.config.cheap_keys import CHEAP, cheap_fields
from runner.config.graph import printable
from runner.config.model_config import (
    MODEL_KEYS,
    ApplicationModel,
    DeclaredModel,
    FunctionModel,
    LayerNode,
    ModelConfig,
    ModelInput,
    NamedObject,
    SavedModel,
)
from runner.config.probe_config import SOURCES, ProbeConfig
from runner.config.references import ModuleName
from runner.config.strict import Seed, Strict, checked, has_custom_modules, not_among, refuse
from runner.config.train_config import TrainConfig
from runner.errors import InputError, Problem, suggest
from runner.table_formats import FORMATS

__all__ = [
    "ApplicationModel",
    "CaptureConfig",
    "DeclaredModel",
    "ExperimentConfig",
    "FunctionModel",
    "LayerNode",
    "ModelConfig",
    "ModelInput",
    "NamedObject",
    "ProbeConfig",
    "SavedModel",
    "TrainConfig",
    "parse",
]


def _run_name_problems(name: str) -> Iterator[Problem]:
    unsafe = any(c in "/\\" or unicodedata.category(c) == "Cc" for c in name)
    if unsafe or name.strip() in ("", ".", ".."):
        yield Problem("", f"{name!r} cannot name a run", "use a plain name, without a path")
    elif re.fullmatch(r"last(~\d+)?", name):
        yield Problem("", f"'{name}' already means the latest run", "use another name")


def _format_problems(name: str) -> Iterator[Problem]:
    if name not in FORMATS:
        yield not_among("", name, FORMATS)


# A function, since listing all formats loads them.
_AMONG_FORMATS = Field(json_schema_extra=lambda schema: schema.update(enum=[*FORMATS]))


def _module_problems(name: str) -> Iterator[Problem]:
    if not all(part.isidentifier() for part in name.split(".")):
        yield Problem("", f"expected a module such as my_package.layers, found '{name}'")


def _of_keras(namespace: str) -> AfterValidator:
    def check(named: NamedObject, info: ValidationInfo) -> NamedObject:
        custom = has_custom_modules(info)
        refuse(argument_problems(namespace, named.class_name, named.arguments, custom=custom))
        return named

    return AfterValidator(check)


class ExperimentConfig(Strict):
    """One experiment: a model, the probe that it is shown, and the tensors to keep."""

    seed: Annotated[Seed, CHEAP] = 0
    """Seed of the initial weights, dropout and shuffling."""
    name: Annotated[Annotated[str, checked(_run_name_problems)] | None, CHEAP] = None
    """Name of the run, accepted wherever a run is named."""
    custom_modules: list[Annotated[ModuleName, checked(_module_problems)]] = Field(default=[])
    """Python modules that register layers of your own. Naming one runs its code."""
    model: ModelConfig
    """The model."""
    probe: ProbeConfig
    """The inputs shown to the model."""
    loss: Annotated[NamedObject, _of_keras("losses")] | None = None
    """A loss of Keras and its arguments, or `null`."""
    optimizer: Annotated[NamedObject, _of_keras("optimizers")] | None = None
    """An optimizer of Keras and its arguments, or `null`."""
    capture: CaptureConfig = CaptureConfig()
    """Which tensors are kept, and how."""
    format: Annotated[str, checked(_format_problems), _AMONG_FORMATS] = "parquet"
    """File format of the tables: `csv_bom` is CSV with the byte-order mark that Excel needs to read
    Korean, `xlsx` is Parquet with an additional workbook for Excel.
    """
    train: TrainConfig | None = None
    """Training of the model; `null`: no training."""
    extra: dict[str, Any] = Field(default={})
    """Keys of your own: values that other keys refer to (`${extra.width}`), or notes for the
    record. Runner itself does not read them.
    """
    dry_run: bool = False
    """Only print the tables that would be written and their sizes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        """Yield a problem for each object that training or gradients need and that is null."""
        why = "training needs one" if self.train is not None else ""
        if "gradient" in self.capture.kinds:
            why = why or "the gradients in capture.kinds need one"
        for name, chosen in (("loss", self.loss), ("optimizer", self.optimizer)):
            if why and chosen is None:
                default = "mse" if name == "loss" else "adam"
                yield Problem(name, f"{why}, and it is null", f"set {name}={default}")


CHEAP_KEYS = cheap_fields(ExperimentConfig)
"""The keys that are marked as cheap, with the types of their values."""


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
        found = (problem for detail in error.errors() for problem in _explained(detail, config))
        raise InputError(dict.fromkeys(found)) from error


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
    try:
        return CaptureConfig.model_validate(given)
    except ValidationError as error:
        problems = (
            replace(problem, place=problem.place.removeprefix("capture."))
            for each in error.errors()
            for problem in _explained({**each, "loc": ("capture", *each["loc"])}, given)
        )
        raise InputError(dict.fromkeys(problems)) from error


def check_name(name: str | None) -> None:
    """Check that a text can name a run, raise InputError otherwise.

    Raises
    ------
    InputError
        If it cannot.
    """
    if name is not None:
        refuse(replace(problem, place="name") for problem in _run_name_problems(name))


def _explained(error: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of one pydantic error, in the terms of a configuration file."""
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    location = tuple(error["loc"])
    place = _place(location)
    cause = context.get("error")
    if isinstance(cause, InputError):
        for problem in cause.problems:
            yield Problem(join(place, problem.place), problem.message, problem.advice)
    elif kind == "extra_forbidden":
        keys = _keys_beside(location, config)
        advice = suggest(str(location[-1]), keys) or f"keys are {', '.join(keys)}"
        if len(location) == 1:
            advice += f"; put a key of your own below extra: extra.{place}"
        if location == ("experiment",):
            advice = "begin the experiment's file with the line: # @package _global_"
        yield Problem(place, "unknown key", advice)
    elif kind == "missing":
        yield Problem(place, "required, and not given", f"set {place}=...")
    elif kind.startswith("union_tag"):
        yield _no_model(found)
    elif kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        yield not_among(place, found, choices)
    elif (expected := _EXPECTED.get(kind)) is not None:
        unquoted = expected == TYPES[str] and isinstance(found, (bool, int, float))
        advice = "write it in quotes" if unquoted else ""
        yield Problem(place, f"expected {expected}, found {shown(found)}", advice)
    elif kind == "greater_than_equal":
        yield Problem(place, f"must be >= {context['ge']}, found {found}")
    else:
        yield Problem(place, f"{error['msg']}, found {shown(found)}")


_EXPECTED = {
    "int_type": TYPES[int],
    "int_from_float": TYPES[int],
    "float_type": TYPES[float],
    "bool_type": TYPES[bool],
    "string_type": TYPES[str],
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
    "string_too_short": "one character",
    "string_too_long": "one character",
}


def _place(location: tuple[Any, ...]) -> str:
    """Return the key path of a pydantic location, without the kind of model in it."""
    if location[:1] == ("model",):
        location = ("model", *location[2:])
    return ".".join(printable(str(part)) for part in location if part != "[key]")


def _keys_beside(location: tuple[Any, ...], config: Mapping[str, Any]) -> list[str]:
    """Return the valid keys at the location of an unknown key."""
    known: type[BaseModel] = ModelInput
    if len(location) == 1:
        known = ExperimentConfig
    elif location[0] == "capture":
        known = CaptureConfig
    elif location[:2] == ("model", "path"):
        known = SavedModel
    elif location[:2] == ("model", "function"):
        known = FunctionModel
    elif location[0] == "probe":
        known = SOURCES[config["probe"]["source"]]
    elif location[:2] == ("train", "data") and len(location) > 2:
        known = SOURCES[config["train"]["data"]["source"]]
    elif location[0] == "train":
        known = TrainConfig
    return list(known.model_fields)


def _no_model(found: Any) -> Problem:
    if not isinstance(found, Mapping):
        return Problem("model", f"expected a mapping, found {shown(found)}")
    advice = next(filter(None, (suggest(str(key), MODEL_KEYS) for key in found)), "")
    return Problem("model", f"expected one of the keys {', '.join(MODEL_KEYS)}", advice)
