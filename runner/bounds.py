"""Types of the values in a run's record, used to validate records when they are read."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import (
    AwareDatetime,
    Field,
    FiniteFloat,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from runner.table_formats import own_stored
from runner.tables.column_types import MOST_AXES

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")

_AT_ONCE = 100  # entries of a mapping whose errors are collected


def _in_parts(found: Any, validated: ValidatorFunctionWrapHandler) -> Any:
    """Validate a long mapping in parts, so that few errors are collected."""
    if not isinstance(found, dict) or len(found) <= _AT_ONCE:
        return validated(found)
    whole: dict[Any, Any] = {}
    entries = iter(found.items())
    while part := dict(islice(entries, _AT_ONCE)):
        whole |= validated(part)
    return whole


Items = Annotated[tuple[_Item, ...], Field(fail_fast=True)]
"""Items of any number; the first wrong one is the only one that is reported."""

Entries = Annotated[dict[_Key, _Item], WrapValidator(_in_parts)]
"""Entries of any number; those after the first wrong ones are not validated."""

MEANINGS: dict[str, str] = {}
"""What each regular expression of a text means, in words."""


def spelled(pattern: str, meaning: str, **bounds: Any) -> Any:
    """Return the annotation of a text that matches a regular expression.

    Parameters
    ----------
    pattern
        The regular expression.
    meaning
        What it means, for messages: ``expected <meaning>``.
    **bounds
        Further arguments of `pydantic.Field`.
    """
    MEANINGS[pattern] = meaning
    return Field(pattern=pattern, **bounds)


Count = Annotated[int, Field(ge=0, lt=2**62)]
"""A count, an index, or a number of bytes."""

Seconds = Annotated[FiniteFloat, Field(ge=0)]
"""A duration in seconds."""

Shape = Annotated[tuple[Count, ...], Field(fail_fast=True, max_length=MOST_AXES)]
"""The shape of a tensor."""

OpenShape = Annotated[tuple[Count | None, ...], Field(fail_fast=True, max_length=MOST_AXES)]
"""The shape of an input, ``None`` for an axis of any length."""

RunId = Annotated[
    str, spelled(r"^[0-9A-Za-z]{1,64}(-[0-9]{1,9})?$", "letters and digits, -<number> in a sweep")
]
"""Id of a run: the id of an invocation, followed by the job's number in a sweep."""

SweepId = Annotated[str, spelled(r"^[0-9A-Za-z]{1,64}$", "at most 64 letters and digits")]

Sha256 = Annotated[str, spelled(r"^[0-9a-f]{64}$", "64 hexadecimal digits")]

# Relative, with slashes, without control characters; no part is empty, `.` or `..`.
_LETTER = r"[^/\x00-\x1f\x7f]"
_FIRST = r"[^./\x00-\x1f\x7f]"
_PART = rf"({_FIRST}{_LETTER}*|\.{_FIRST}{_LETTER}*|\.\.{_LETTER}+)"
FILE_NAME = rf"^{_PART}(/{_PART})*$"

FileName = Annotated[
    str, spelled(FILE_NAME, "a path inside the run's folder, with /", max_length=4096)
]
"""Path of a file inside a run's folder."""

Name = Annotated[str, Field(min_length=1)]

Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC)),
]
"""A time with a time zone, in the range that every system can convert to local time."""

TableFormat = Annotated[
    str,
    Field(json_schema_extra=lambda schema: schema.update(pattern=f"^({'|'.join(own_stored())})$")),
]
"""Name of a format of files; that of another package may not be installed here."""

_NUMBERS = "bool|u?int(8|16|32|64)|b?float16|float32|float64"

STORED_TYPE = f"^({_NUMBERS})$"

StoredType = Annotated[str, spelled(STORED_TYPE, "a dtype of a table, such as float32")]
"""NumPy's names of the dtypes that tables can hold."""

InputType = Annotated[
    str,
    spelled(
        rf"^({_NUMBERS}|string|u?int4|float8_e(4m3fn|5m2)|complex(64|128))$",
        "a dtype of an input, such as float32",
    ),
]
"""NumPy's names of the dtypes of a model's inputs."""

_CELLS = "bool|u?int(8|16|32|64)|float16|float32|float64"

ColumnType = Annotated[
    str, spelled(rf"^({_CELLS}|string)?$", "a data type of a column, such as float32")
]
"""Data types of a table's columns; empty if unknown."""

AxisName = Annotated[
    str,
    spelled(
        "^(height|width|depth|time|position|channel|unit|head|query|key|i[0-9]{1,2})$",
        "the name of an axis, such as channel or i0",
    ),
]
"""Names of the axes of a tensor."""
