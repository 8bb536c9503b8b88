"""Types of the values in a run's record, used to validate records when they are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, FiniteFloat

from runner.table_formats import own_stored

Count = Annotated[int, Field(ge=0, lt=2**62)]
"""A count, an index, or a number of bytes."""

Seconds = Annotated[FiniteFloat, Field(ge=0)]
"""A duration in seconds."""

Shape = Annotated[tuple[Count, ...], Field(max_length=32)]
"""The shape of a tensor; NumPy before 2 allows at most 32 axes."""

OpenShape = Annotated[tuple[Count | None, ...], Field(max_length=32)]
"""The shape of an input, ``None`` for an axis of any length."""

RunId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}(-[0-9]{1,9})?$")]
"""Id of a run: the id of an invocation, followed by the job's number in a sweep."""

SweepId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

# Relative, with slashes, without control characters; no part is empty, `.` or `..`.
_LETTER = r"[^/\x00-\x1f\x7f]"
_FIRST = r"[^./\x00-\x1f\x7f]"
_PART = rf"({_FIRST}{_LETTER}*|\.{_FIRST}{_LETTER}*|\.\.{_LETTER}+)"
FILE_NAME = rf"^{_PART}(/{_PART})*$"

FileName = Annotated[str, Field(pattern=FILE_NAME, max_length=4096)]
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

StoredType = Annotated[str, Field(pattern=STORED_TYPE)]
"""NumPy's names of the dtypes that tables can hold."""

InputType = Annotated[
    str, Field(pattern=rf"^({_NUMBERS}|string|u?int4|float8_e(4m3fn|5m2)|complex(64|128))$")
]
"""NumPy's names of the dtypes of a model's inputs."""

_CELLS = "bool|u?int(8|16|32|64)|float16|float32|float64"

ColumnType = Annotated[str, Field(pattern=rf"^({_CELLS}|string)?$")]
"""Data types of a table's columns; empty if unknown."""

AxisName = Annotated[
    str,
    Field(pattern="^(height|width|depth|time|position|channel|unit|head|query|key|i[0-9]{1,2})$"),
]
"""Names of the axes of a tensor."""
