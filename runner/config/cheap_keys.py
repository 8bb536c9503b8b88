"""Keys that can change from job to job of a sweep without a new model, marked by their field."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter

CHEAP = "cheap"
"""Marks a field whose value does not change how the model is built.

Jobs of a sweep that differ only in such keys form a batch: one process composes their
configuration once and may show the probe to one model. The value is plain: no mapping and no
reference. No validator compares it with other fields.
"""


@functools.cache
def cheap_fields(config: type[BaseModel], above: str = "") -> dict[str, TypeAdapter[Any]]:
    """Return the key paths of all marked fields, each with the type of its values."""
    found: dict[str, TypeAdapter[Any]] = {}
    for name, field in config.model_fields.items():
        kind: Any = field.annotation
        if CHEAP in field.metadata:
            found[above + name] = TypeAdapter(Annotated[kind, *field.metadata])
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= cheap_fields(kind, f"{above}{name}.")
    return found


def changed(config: Any, key: str, value: Any) -> Any:
    """Return a copy of a configuration, typed or plain, with another value of a key."""
    name, _, below = key.partition(".")
    typed = isinstance(config, BaseModel)
    if below:
        value = changed(getattr(config, name) if typed else config.get(name, {}), below, value)
    return config.model_copy(update={name: value}) if typed else {**config, name: value}


def without(config: Any, keys: Iterable[str]) -> Any:
    """Return a copy of a configuration in which keys have no value, to compare the rest."""
    for key in keys:
        config = changed(config, key, None)
    return config
