"""Configuration of a probe: its key ``source`` chooses the module of ``sources/``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field

from runner.config.arguments import shown
from runner.config.strict import Chosen, not_among
from runner.errors import InputError
from runner.probe.source import ProbeSource
from runner.registry import Registry


def _is_source(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, ProbeSource)
    return is_class and "source" in value.model_fields  # the bases of several sources have none


SOURCES: Registry[type[ProbeSource]] = Registry("runner.sources", "source", _is_source)
"""Classes of probes by the value of ``source``."""


def _validated(given: Any) -> ProbeSource:
    if isinstance(given, ProbeSource):
        return given
    if not isinstance(given, Mapping):
        raise InputError.of("", f"expected a mapping, found {shown(given)}")
    if "source" not in given:
        advice = f"one of {', '.join(SOURCES)}"
        raise InputError.of("source", "required, and not given", advice)
    if given["source"] not in SOURCES:
        raise InputError([not_among("source", given["source"], SOURCES)])
    return SOURCES[given["source"]].model_validate(given)


def _union() -> Any:
    return Annotated[reduce(or_, SOURCES.values()), Field(discriminator="source")]


ProbeConfig = Annotated[ProbeSource, Chosen(_validated, _union)]
