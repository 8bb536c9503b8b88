"""The values that a composed configuration takes from environment variables."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from runner.config.environment_values import EnvironmentValues
from runner.config.resolve import below_key, plain_of, unresolved
from runner.config.unfolding import bounded
from runner.errors import InputError


def resolved_value(cfg: DictConfig, place: str) -> Any:
    """Return one value of a composed configuration.

    Raises
    ------
    InputError
        If it cannot be resolved, or unfolds to far more than what is written; shows no value of an
        environment variable.
    """
    try:
        with bounded(place):
            return OmegaConf.select(cfg, place)
    except OmegaConfBaseException as error:
        above, _, key = place.rpartition(".")
        raw = str(OmegaConf.select(cfg, above)._get_node(key)._value())
        problem = unresolved(place, raw, error)
        raise values_from_environment(cfg).told(InputError([problem])) from error


def values_from_environment(cfg: DictConfig) -> EnvironmentValues:
    """Return the values that a composed configuration takes from environment variables."""
    reading = _Reading(cfg)
    config = reading.told(reading.real, reading.marked, cfg, "")
    return EnvironmentValues(config, reading.values, frozenset(reading.places))


class _Reading:
    """A configuration resolved twice: with real values, and with marks for the environment."""

    def __init__(self, cfg: DictConfig) -> None:
        self.values: dict[str, str] = {}
        self.places: set[str] = set()
        self._marks: dict[str, str] = {}
        self.marked = self._resolved(cfg)
        self.real = _values(cfg) if self._marks else self.marked

    def _resolved(self, cfg: DictConfig) -> Any:
        copy: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
        OmegaConf.copy_cache(cfg, copy)  # of the time, which may change in between
        OmegaConf.register_new_resolver("oc.env", self._mark, replace=True)
        try:
            return _values(copy)
        finally:
            OmegaConf.copy_cache(copy, cfg)
            OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)

    def _mark(self, *arguments: Any) -> str:
        mark = f"environment{secrets.token_hex(8)}"  # valid input for any resolver
        self._marks[mark] = "${oc.env:" + ",".join(map(str, arguments)) + "}"
        if value := os.environ.get(str(arguments[0])):
            self.values[value] = "${oc.env:" + str(arguments[0]) + "}"
        return mark

    def told(self, real: Any, marked: Any, node: Any, place: str) -> Any:
        """Return plain data without the values of environment variables.

        Parameters
        ----------
        real, marked
            The data with real values, and with marks.
        node
            Node that it was resolved from, or the text of an interpolation above it.
        place
            Key path of the data.
        """
        if isinstance(real, dict) and isinstance(marked, dict):
            return {
                key: self.told(real.get(key), item, _child(node, key), below_key(place, key))
                for key, item in marked.items()
            }
        if isinstance(real, list) and isinstance(marked, list) and len(real) == len(marked):
            pairs = enumerate(zip(real, marked, strict=True))
            return [
                self.told(one, other, _child(node, key), below_key(place, key))
                for key, (one, other) in pairs
            ]
        if type(real) is type(marked) and (real == marked or (real != real and marked != marked)):
            return real  # NaN differs from itself
        text = self._written(marked, node)
        if not isinstance(real, str) and text.startswith("${oc.env:"):
            text = f"${{oc.decode:{text}}}"
        self.places.add(place)
        for leaf in () if real == _raw(node) else _leaves(real):  # as written: not resolved
            self.values.setdefault(str(leaf), text)
        return text

    def _written(self, marked: Any, node: Any) -> str:
        text = str(marked)
        for mark, written in self._marks.items():
            text = text.replace(mark, written)
        if text == str(marked) or re.search(r"environment[0-9a-f]{16}", text, re.IGNORECASE):
            text = str(_raw(node))
        return text


def _raw(node: Any) -> Any:
    return node._value() if hasattr(node, "_value") else node


def _child(node: Any, key: Any) -> Any:
    if isinstance(node, DictConfig | ListConfig) and not node._is_interpolation():
        return node._get_node(key)
    return node


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool) and str(value):
        yield value


def _values(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved values; those that cannot be resolved stay as written."""
    return plain_of(cfg, [], keep=True)
