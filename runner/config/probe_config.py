"""Configuration of a probe: its key ``source`` chooses the module of ``sources/``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from runner.config.arguments import shown
from runner.config.strict import not_among
from runner.errors import InputError
from runner.probe.source import ProbeSource
from runner.registry import Registry


def _is_source(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, ProbeSource)
    return is_class and "source" in value.model_fields  # the bases of several sources have none


SOURCES: Registry[type[ProbeSource]] = Registry("runner.sources", "source", _is_source)
"""Classes of probes by the value of ``source``."""


class _BySource:
    """Marks a type whose values are validated by the class that their ``source`` names."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_validated)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        union: Any = Annotated[reduce(or_, SOURCES.values()), Field(discriminator="source")]
        return handler(TypeAdapter(union).core_schema)


ProbeConfig = Annotated[ProbeSource, _BySource]


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
    # Its errors get the place of the probe from pydantic.
    return SOURCES[given["source"]].model_validate(given)
