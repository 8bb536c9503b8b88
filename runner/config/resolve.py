"""Resolution of a composed configuration to plain data."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from typing import Any

from hydra.core.utils import setup_globals
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

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
    return plain_of(cfg, problems), problems


def named_code(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of plain data that names Python code, as key path and value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            below = below_key(place, key)
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
        elif isinstance(node, DictConfig):
            node = node._get_node(part)  # `in` would resolve it
        else:
            return None
    return None if node is None else node._value()


def below_key(place: str, key: Any) -> str:
    """Return the key path of a key at a place."""
    return f"{place}.{key}" if place else str(key)


def short(overrides: str) -> str:
    """Return a sweep job's overrides in short form, safe for a folder's name."""
    keys = re.sub(r"(?:^|(?<=,))[+~]*[\w/@.]*\.(?=\w+=)", "", overrides)  # keep the last part
    return re.sub(r"[^\w=,.+-]", "_", keys)[:80].rstrip(".")


def plain_of(cfg: DictConfig, problems: list[Problem], *, keep: bool = False) -> dict[str, Any]:
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
            below = below_key(place, key)
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
