"""Base classes and validators of the configuration: no unknown keys, no type conversions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import CoreSchema, core_schema

from runner.config.arguments import dtype_problems, shown
from runner.config.references import ModuleName
from runner.errors import InputError, Problem, suggest

_MOST = 100
MAX_SEED = 2**32 - 1
"""Largest seed of NumPy, and so of Keras."""
RECORDED = "recorded"
"""Marks a field whose value, or that below it, a run writes down whatever its configuration hides:
in its record, or as the shape of a table. It therefore takes no value from the environment.
"""


class Strict(BaseModel):
    """Base class: unknown keys are refused, types are not converted, instances are frozen.

    Attributes
    ----------
    section_title
        Title of its section on the page of all keys.
    examples
        For each key an example as typed on a command line, for that page. The first also
        makes the choice (``train=fit``) without which the others are refused.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
    section_title: ClassVar[str] = ""
    examples: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def section_name(cls) -> str:
        """Return the title of its section."""
        return cls.section_title


class Open(Strict):
    """Base class of mappings that allow further keys beside the declared ones."""

    model_config = ConfigDict(extra="allow")

    @property
    def others(self) -> dict[str, Any]:
        """The undeclared keys and their values."""
        return dict(self.__pydantic_extra__ or {})


def classes_in(kind: Any) -> Iterator[type]:
    """Yield the classes of a field's type: of ``dict[str, Noise] | None``, dict, str and Noise."""
    origin = get_origin(kind) or kind
    if isinstance(origin, type):
        yield origin
    for inner in get_args(kind):
        yield from classes_in(inner)


def refuse(problems: Iterable[Problem]) -> None:
    """Raise InputError if there are problems; `parse` completes their key paths."""
    if found := list(itertools.islice(problems, _MOST)):  # each takes a search for what was meant
        raise InputError(found)


@dataclass(frozen=True)
class UnknownKey(Problem):
    """The problem that there is no such key. Its place is the key, wherever the value is from."""

    message: str = "unknown key"


def not_among(place: str, found: Any, choices: Collection[str]) -> Problem:
    """Return the problem that a value is none of several choices."""
    message = f"expected one of {', '.join(choices)}, found {shown(found)}"
    return Problem(place, message, suggest(str(found), choices))


def checked(problems: Callable[[Any], Iterator[Problem]]) -> AfterValidator:
    """Return a validator from a function that yields the problems of a value."""

    def check(value: Any) -> Any:
        refuse(problems(value))
        return value

    return AfterValidator(check)


def expecting(what: str) -> WrapValidator:
    """Return a validator with one message for a value that fits none of several types."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise InputError.of("", f"expected {what}, found {shown(value)}") from error

    return WrapValidator(check)


@dataclass(frozen=True)
class Chosen:
    """Marks a type whose values are validated by one of several classes, imported when chosen.

    Attributes
    ----------
    validated
        Maps a value to an instance of its class. Its errors get their place from pydantic.
    union
        Returns the union of all classes, for the JSON schema.
    """

    validated: Callable[[Any], Any]
    union: Callable[[], Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validated)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(TypeAdapter(self.union()).core_schema)


def has_custom_modules(info: ValidationInfo) -> bool:
    """Return whether the user's modules may register names that Keras does not have."""
    return bool((info.context or {}).get("custom_modules"))


def _seed_problems(seed: int) -> Iterator[Problem]:
    if not 0 <= seed <= MAX_SEED:
        yield Problem("", f"must be 0 to 4294967295, found {seed}")


def _function_problems(name: str) -> Iterator[Problem]:
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        yield Problem("", f"expected package.module:function, found '{name}'")


Length = Annotated[int, Field(ge=1)]
Seed = Annotated[int, checked(_seed_problems)]
Function = Annotated[ModuleName, checked(_function_problems)]
Dtype = Annotated[str, checked(lambda dtype: dtype_problems(dtype, ""))]
