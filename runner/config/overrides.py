"""Checks of the keys that a command line sets, against those of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from runner.config.declared_config import DeclaredModel
from runner.config.precision import PRECISION_KEYS
from runner.config.strict import UnknownKey
from runner.errors import Problem, suggest

_INTERPOLATION = re.compile(r"\$\{([^$}]*(?:\$(?!\{)[^$}]*)*)")
"""An interpolation, up to its end or to one inside of it."""
_REFERRED = re.compile(r"(?:^\.+|\bmodel\.)([^\s{}\[\].:,'\"]+)")
"""A key of the model, in an interpolation of it or of a value beside it."""


def parameter_problems(base: DictConfig, values: Sequence[Override]) -> list[Problem]:
    """Return a problem for each unknown key of a declared model that is not a parameter of it."""
    model = base._get_node("model") if "model" in base else None
    if not isinstance(model, DictConfig) or model._is_interpolation() or "layers" not in model:
        return []
    removed = [each.key_or_group for each in values if each.is_delete()]
    others = [str(key) for key in model if key not in DeclaredModel.model_fields]
    others = [key for key in others if f"model.{key}" not in removed]
    text = str(OmegaConf.to_container(base, resolve=False))
    references = _INTERPOLATION.findall(text)
    referred = {name for each in references for name in _REFERRED.findall(each)}
    parameters = [key for key in others if key in referred]
    known = [*parameters, *DeclaredModel.model_fields]
    problems: list[Problem] = [
        UnknownKey(f"model.{key}", "unknown key: nothing refers to it", suggest(key, known))
        for key in others
        if key not in referred
    ]
    for override in values:
        parts = override.key_or_group.split(".")
        is_parameter = parts[0] == "model" and len(parts) == 2
        if is_parameter and parts[1] not in (model.keys() if override.is_delete() else known):
            advice = suggest(parts[1], known) or f"the model's keys are {', '.join(known)}"
            problems.append(UnknownKey(override.key_or_group, advice=advice))
    return problems


def path_problems(base: DictConfig, values: Iterable[Override]) -> Iterator[Problem]:
    """Yield a problem for each key below one that does not exist, such as a mistyped layer."""
    for override in values:
        place, known = _first_new(base, override)
        if place in ("", override.key_or_group):
            continue
        if known:
            advice = suggest(place.rpartition(".")[2], known) or f"keys are {', '.join(known)}"
            yield UnknownKey(place, advice=advice)
        elif place == "train":
            yield Problem(override.key_or_group, "nothing is trained", "add train=fit")
        else:
            yield Problem(place, "is null, and has no keys", f"give it a value: {place}=...")


def added_problems(base: DictConfig, values: Iterable[Override]) -> list[Problem]:
    """Return a problem for each new key that lacks the plus with which Hydra adds keys."""
    problems = []
    for override in values:
        place, known = _first_new(base, override)
        if place == override.key_or_group and place not in PRECISION_KEYS:
            meant = suggest(place.rpartition(".")[2], known)
            plus = f"add it with a plus: +{override.input_line}"
            advice = f"{meant} If not, {plus}" if meant else plus
            problems.append(Problem(place, "is not in the configuration yet", advice))
    return problems


def _first_new(base: DictConfig, override: Override) -> tuple[str, list[str]]:
    """Return the first missing or null key of an override's path, and the keys beside it."""
    parts = override.key_or_group.split(".")
    if parts[0] == "intervene":  # its keys are patterns
        return "", []
    node: Any = base if override.type is OverrideType.CHANGE else None
    for depth, part in enumerate(parts, 1):
        if node is not None and node._is_none():
            return ".".join(parts[: depth - 1]), []  # null has no keys
        if not isinstance(node, DictConfig) or node._is_interpolation():
            break
        if part not in node.keys():  # noqa: SIM118 - `in` leaves out what is ???
            return ".".join(parts[:depth]), [str(key) for key in node if key != "hydra"]
        node = node._get_node(part)
    return "", []
