"""Resolution of a composed configuration to plain data."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from typing import Any

from hydra.core.utils import setup_globals
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from omegaconf.resolvers import oc

from runner.config.environment_values import EnvironmentValues
from runner.config.references import look_in_working_directory
from runner.config.unfolding import Unfolding, bounded
from runner.errors import InputError, Problem, first_line, is_text
from runner.model.backend import load_backend

DEEPEST = 100
"""Levels of a configuration that are read."""

_CODE_KEYS = ("function", "custom_modules")  # their values are imported and run
_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


def register_resolvers(run_id: str) -> None:
    """Register the OmegaConf resolvers that ``conf/config.yaml`` uses."""
    setup_globals()
    OmegaConf.register_new_resolver("runner.id", lambda: run_id, replace=True)
    OmegaConf.register_new_resolver("runner.short", short, replace=True)


def register_custom_resolvers(cfg: DictConfig) -> None:
    """Import ``custom_modules`` if a value needs a resolver that is not registered yet.

    Otherwise they are imported later, before the model is built.

    Raises
    ------
    InputError
        If a module cannot be imported.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    text = str(plain)
    names = set(re.findall(r"\$\{\s*([A-Za-z_][\w.]*)\s*:", text))
    modules = plain.get("custom_modules")
    if modules is None or all(map(OmegaConf.has_resolver, names)):
        return
    if "${" in str(modules):  # refused later: only plain names may choose code
        return
    load_backend(None if "keras" in sys.modules else plain.get("backend"))
    look_in_working_directory()
    for module in modules:
        try:
            importlib.import_module(str(module))
        except ImportError as error:
            raise InputError.of("custom_modules", first_line(error)) from error


def resolved(cfg: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """Resolve each value separately, so that all problems are reported together.

    Returns
    -------
    plain
        Nested dicts and lists, without the values that could not be resolved.
    problems
        One problem for each value that could not be resolved.

    Raises
    ------
    InputError
        If the interpolations unfold to far more than what is written.
    """
    problems: list[Problem] = []
    return _plain_of(cfg, problems), problems


def resolved_value(cfg: DictConfig, place: str) -> Any:
    """Return one value of a composed configuration.

    Raises
    ------
    InputError
        If it cannot be resolved; shows no value of an environment variable.
    """
    try:
        return OmegaConf.select(cfg, place)
    except OmegaConfBaseException as error:
        above, _, key = place.rpartition(".")
        raw = str(OmegaConf.select(cfg, above)._get_node(key)._value())
        problem = unresolved(place, raw, error)
        raise values_from_environment(cfg).told(InputError([problem])) from error


def named_code(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of plain data that names Python code, as key path and value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            below = _below(place, key)
            if key in _CODE_KEYS and item:
                yield below, item
            else:
                yield from named_code(item, below)


def source_of(cfg: DictConfig, place: str) -> str:
    """Return the key that a value came from, through its interpolations."""
    for _ in range(10):  # interpolations may be chained; OmegaConf reports cycles
        raw = _written_at(cfg, place)
        match = _INTERPOLATION.fullmatch(raw) if isinstance(raw, str) else None
        if match is None:
            return place
        place = match[1]
    return place


def _written_at(cfg: Any, place: str) -> Any:
    """Return a value as it is written, without resolving it; ``None`` if there is none."""
    node = cfg
    for part in place.split("."):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and part in node:
            node = node._get_node(part)
        else:
            return None
    return node._value()


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
                key: self.told(real.get(key), item, _child(node, key), _below(place, key))
                for key, item in marked.items()
            }
        if isinstance(real, list) and isinstance(marked, list) and len(real) == len(marked):
            pairs = enumerate(zip(real, marked, strict=True))
            return [
                self.told(one, other, _child(node, key), _below(place, key))
                for key, (one, other) in pairs
            ]
        if type(real) is type(marked) and real == marked:
            return real
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


def _below(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool) and str(value):
        yield value


def _values(cfg: DictConfig) -> dict[str, Any]:
    """Return the resolved values; those that cannot be resolved stay as written."""
    return _plain_of(cfg, [], keep=True)


def short(overrides: str) -> str:
    """Return a sweep job's overrides in short form, safe for a folder's name."""
    keys = re.sub(r"(?:^|(?<=,))[+~]*[\w/@.]*\.(?=\w+=)", "", overrides)  # keep the last part
    return re.sub(r"[^\w=,.+-]", "_", keys)[:80].rstrip(".")


def _plain_of(cfg: DictConfig, problems: list[Problem], *, keep: bool = False) -> dict[str, Any]:
    """Return plain data; unresolvable values are left out or kept as written."""
    with bounded("config") as unfolding:
        plain = _Plain(problems, unfolding, keep=keep).of(cfg, "", is_copy=False)
    assert isinstance(plain, dict)
    return plain


_MIXED = "has keys of several types, or of bytes"
_NO_TEXT = "holds half a character, or no UTF-8"


class _Plain:
    """The conversion of nodes to plain data."""

    def __init__(self, problems: list[Problem], unfolding: Unfolding, *, keep: bool) -> None:
        self._problems = problems
        self._unfolding = unfolding
        self._keep = keep

    def of(self, node: Any, place: str, *, is_copy: bool) -> Any:
        """Return a node as plain data, and count its values if an interpolation leads to it."""
        if is_copy:
            self._unfolding.count("values")
            self._unfolding.count("characters", len(node) if isinstance(node, str) else 0)
        if isinstance(node, DictConfig):
            keys: Any = list(node.keys())
            if len({type(key) for key in keys}) > 1 or any(isinstance(key, bytes) for key in keys):
                self._problems.append(Problem(place, _MIXED, "write all its keys in quotes"))
        elif isinstance(node, ListConfig):
            keys = range(len(node))
        else:
            if isinstance(node, str) and not is_text(node):
                self._problems.append(Problem(place, _NO_TEXT))
            return node
        if place.count(".") > DEEPEST:  # also nodes that contain each other by interpolations
            raise InputError.of("config", "is nested too deeply to be read")
        found = {}
        for key in keys:
            below = f"{place}.{key}" if place else str(key)
            if not is_text(str(key)):
                self._problems.append(Problem(below, _NO_TEXT))
                continue
            if not is_copy:
                self._unfolding.place = below
            child = node._get_node(key)
            try:
                if OmegaConf.is_missing(node, key):
                    advice = f"set {below}=..."
                    self._problems.append(Problem(below, "required, and not given", advice))
                    continue
                value = node[key]
            except OmegaConfBaseException as error:
                self._problems.append(unresolved(below, str(child._value()), error))
                if self._keep:
                    found[key] = child._value()
                continue
            refers = child._is_interpolation()
            found[key] = self.of(value, below, is_copy=is_copy or refers)
            if refers and found[key] and not {*below.split(".")}.isdisjoint(_CODE_KEYS):
                self._problems += [] if _is_reference(child) else [_computed(below)]
            elif refers and not _is_written(value):
                self._problems += [_computed(place) for place, _ in named_code(found[key], below)]
        return found if isinstance(node, DictConfig) else list(found.values())


def _is_written(node: Any) -> bool:
    """Return whether a node is part of a configuration, not the result of a resolver."""
    while isinstance(node, DictConfig | ListConfig):
        above: Any = node._get_parent()
        if above is None or node._key() is None:
            return above is None
        node = above if above._get_node(node._key()) is node else None
    return False


def _is_reference(node: Any) -> bool:
    """Return whether an interpolation only names another key, whose value is written out."""
    matched = _INTERPOLATION.fullmatch(node._value())
    if matched is None:
        return False
    root = node._get_root()
    written = _written_at(root, source_of(root, matched[1]))
    return written is not None and "${" not in str(written)


def _computed(place: str) -> Problem:
    return Problem(place, "names Python code, but is made by an interpolation", "write the key out")


def unresolved(place: str, raw: str, error: OmegaConfBaseException) -> Problem:
    """Return the problem that a value, written as `raw`, cannot be resolved."""
    message = first_line(error)
    if not isinstance(error, InterpolationResolutionError):
        return Problem(place, message)
    variable = re.search(r"Environment variable '([^']+)' not found", message)
    if variable:
        name = variable[1]
        return Problem(
            place,
            f"environment variable {name} is not set",
            f"set it, or give a default: ${{oc.env:{name},value}}",
        )
    missing = re.search(r"Interpolation key '([^']+)' not found", message)
    if missing:
        key = missing[1]
        advice = f"write ${{hydra:{key[6:]}}}" if key.startswith("hydra.") else ""
        return Problem(place, f"refers to '{key}', which is not in the configuration", advice)
    return Problem(place, f"{raw} cannot be resolved: {message}")
