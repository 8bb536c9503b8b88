"""What a composed configuration says, as plain data."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from typing import Any

from hydra.core.utils import setup_globals
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from omegaconf.resolvers import oc

from runner.errors import Problem, first_line

_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


def register_resolvers(run_id: str) -> None:
    """Tell OmegaConf the functions that ``conf/config.yaml`` uses."""
    setup_globals()
    OmegaConf.register_new_resolver("runner.id", lambda: run_id, replace=True)
    OmegaConf.register_new_resolver("runner.short", _short, replace=True)


def resolved(cfg: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """Resolve every value by itself, so that all that cannot be resolved is said at once.

    Returns
    -------
    plain
        Nested dicts and lists, without what could not be resolved.
    problems
        One for each value that could not be.
    """
    problems: list[Problem] = []
    plain = _plain(cfg, "", problems)
    assert isinstance(plain, dict)
    return plain, problems


def source_of(cfg: DictConfig, place: str) -> str:
    """Return the key that a value came from, through its interpolations."""
    for _ in range(10):  # an interpolation may lead to another; a circle is OmegaConf's to say
        node: Any = cfg
        for part in place.split("."):
            if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
                node = node._get_node(int(part))
            elif isinstance(node, DictConfig) and part in node:
                node = node._get_node(part)
            else:
                return place
        raw = node._value()
        match = _INTERPOLATION.fullmatch(raw) if isinstance(raw, str) else None
        if match is None:
            return place
        place = match[1]
    return place


def environment_as_text(cfg: DictConfig) -> dict[str, Any]:
    """Resolve a configuration but for the environment, which may hold secrets.

    ``${oc.env:NAME}`` stays as text, also in values that refer to one. A value that only the
    environment's can make stays as it was written.
    """
    text: dict[str, str] = {}

    def remember(*arguments: str) -> str:
        key = f"environment{secrets.token_hex(8)}"  # what no resolver takes amiss
        text[key] = "${oc.env:" + ",".join(map(str, arguments)) + "}"
        return key

    plain = _resolved_with(remember, cfg)
    return {key: _put_back(value, text) for key, value in plain.items()}


def without_environment(text: str, cfg: DictConfig) -> str:
    """Put ``${oc.env:NAME}`` back where a text holds the value of a variable that was used."""
    used = set()

    def read(name: str, *default: str) -> Any:
        used.add(name)
        return oc.env(name, *default)

    _resolved_with(read, cfg)
    for name in used:
        if value := os.environ.get(name):
            text = text.replace(value, "${oc.env:" + name + "}")
    return text


def _resolved_with(env: Callable[..., Any], cfg: DictConfig) -> dict[str, Any]:
    """Resolve a copy, in which ``oc.env`` is another function however it is spelled."""
    copy = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False))
    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    try:
        plain = _plain(copy, "", [], keep=True)
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
    assert isinstance(plain, dict)
    return plain


def _short(overrides: str) -> str:
    """Return a sweep job's overrides short and safe enough for a folder's name."""
    keys = re.sub(r"(?:^|(?<=,))[+~]*[\w/@.]*\.(?=\w+=)", "", overrides)  # their last part
    return re.sub(r"[^\w=,.+-]", "_", keys)[:80].rstrip(".")


def _plain(node: Any, place: str, problems: list[Problem], *, keep: bool = False) -> Any:
    """Return a node as plain data, what cannot be resolved left out or kept as written."""
    if isinstance(node, DictConfig):
        keys: Any = list(node.keys())
    elif isinstance(node, ListConfig):
        keys = range(len(node))
    else:
        return node
    found = {}
    for key in keys:
        below = f"{place}.{key}" if place else str(key)
        child = node._get_node(key)
        try:
            if OmegaConf.is_missing(node, key):
                problems.append(Problem(below, "required, and not given", f"set {below}=..."))
                continue
            value = node[key]
        except OmegaConfBaseException as error:
            problems.append(_unresolved(below, str(child._value()), error))
            if keep:
                found[key] = child._value()
            continue
        found[key] = _plain(value, below, problems, keep=keep)
    return found if isinstance(node, DictConfig) else list(found.values())


def _unresolved(place: str, raw: str, error: OmegaConfBaseException) -> Problem:
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
        return Problem(place, f"refers to '{missing[1]}', which is not in the configuration")
    return Problem(place, f"{raw} cannot be resolved: {message}")


def _put_back(value: Any, text: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _put_back(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_back(item, text) for item in value]
    if isinstance(value, str):
        for key, written in text.items():
            value = value.replace(key, written)
    return value
