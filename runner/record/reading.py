"""Reading of records, with checks of types, bounds and consistency."""

from __future__ import annotations

import importlib.metadata
import os
import re
from typing import Any, Final

import pydantic
import pydantic_core

from runner.bounds import MEANINGS
from runner.errors import DamagedError, InputError, some
from runner.file_names import RECORD
from runner.record.consistency import contradictions
from runner.record.record import SCHEMA_VERSION, RunRecord, is_sealed
from runner.stores.store import StoredRun
from runner.table_formats import is_stored

MAX_RECORD_BYTES: Final = 64 * 2**20
"""Maximum size of a ``run.json``; the environment variable RUNNER_MAX_RECORD overrides it.

A record takes about six times its size in memory; for a model of 10,000 layers it has 10 MB.
One of much smaller parts takes more for its size, and is refused if it takes more memory than
that of the maximum size.
"""

_TIMES = 6
_COSTS = {b"{": 500, b"[": 80, b":": 60, b",": 40}
"""Bytes of memory that each part of a record takes at most, by the text with which it begins."""

_LIMIT = "RUNNER_MAX_RECORD"
_LONGEST_SHOWN = 60
_ADAPTER = pydantic.TypeAdapter(RunRecord)


def read_record(run: StoredRun) -> RunRecord:
    """Read the record of a run.

    Raises
    ------
    DamagedError
        If there is no record, it is not a regular file inside the run, or as in
        `parsed_record`.
    """
    return parsed_record(record_text(run), run.place(RECORD))


def record_text(run: StoredRun) -> bytes:
    """Return the content of the record of a run, or of a part of one.

    Raises
    ------
    DamagedError
        If there is no record, it is not a regular file inside the run, or it would take too much
        memory.
    """
    limit, place = _limit(), run.place(RECORD)
    try:
        with run.open(RECORD) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            text = file.read(size) if size <= limit else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError.of(place, "no run is there") from error
    except OSError as error:
        raise DamagedError.of(place, f"cannot be read: {error.strerror or error}") from error
    if size > limit:
        raise DamagedError.of(
            place,
            f"a run record of more than {limit:,} bytes, which takes six times that in memory",
            f"set {_LIMIT} to more bytes if you trust it",
        )
    if (memory := _memory(text)) > _TIMES * limit:
        raise DamagedError.of(
            place,
            f"a run record that takes more than {_TIMES * limit:,} bytes in memory",
            f"set {_LIMIT} to more than {memory // _TIMES:,} if you trust it",
        )
    return text


def _memory(text: bytes) -> int:
    """Return how much memory a record takes at most, without parsing it."""
    return len(text) + sum(cost * text.count(part) for part, cost in _COSTS.items())


def parsed_record(text: bytes, place: str) -> RunRecord:
    """Return the record parsed from a text.

    Parameters
    ----------
    text
        Content of a ``run.json``.
    place
        Path of the file, for messages.

    Raises
    ------
    DamagedError
        If the text is not a record, or the record has another version, was changed after it
        was written, or contradicts itself.
    """
    try:
        # Of plain values, which errors refer to; those of `validate_json` copy them.
        record = _ADAPTER.validate_python(pydantic_core.from_json(text))
    except pydantic.ValidationError as error:
        raise _refused(error, place) from error
    except ValueError as error:
        raise DamagedError.of(place, f"not a run record: Invalid JSON: {error}") from error
    if not is_sealed(text):
        raise DamagedError.of(
            place,
            "the record was changed after it was written: its SHA-256 does not match",
        )
    check_record(record, place)
    return record


def check_record(record: RunRecord, place: str, probe_format: str | None = None) -> None:
    """Check that a record does not contradict itself, and that its tables can be read here.

    Parameters
    ----------
    record
        The record, whose types and bounds were checked.
    place
        Path of its file, for messages.
    probe_format
        Format of the probe's table; by default that of the run.

    Raises
    ------
    DamagedError
        If it does, or they cannot.
    """
    if why := _unreadable(record):
        raise DamagedError.of(place, f"not a run record: 'format': {why}")
    for key, why in contradictions(record, probe_format):
        raise DamagedError.of(place, f"not a run record: '{key}': {why}")


def _unreadable(record: RunRecord) -> str:
    """Return why the tables of a run cannot be read here; empty if they can."""
    try:
        if is_stored(record.format):
            return ""
    except InputError as error:
        return str(error)
    installed = {_normal(there.name) for there in importlib.metadata.distributions()}
    missing = [
        f"{name} {version}"
        for name, version in record.environment.packages.items()
        if _normal(name) not in installed
    ]
    offered = f"; install {some(missing)}, with which the run was made" if missing else ""
    return f"no installed package offers {_cut(repr(record.format))}{offered}"


def _normal(package: str) -> str:
    """Return the name of a package in the one spelling that stands for all."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _refused(error: pydantic.ValidationError, place: str) -> DamagedError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part)[: _LONGEST_SHOWN + 1] for part in first["loc"])
    if key == "schema_version":
        return DamagedError.of(
            place, f"a run record of another version; this Runner reads {SCHEMA_VERSION}"
        )
    found = first["input"]
    if isinstance(found, str):
        found = found[:_LONGEST_SHOWN]
    shown = f", found {_cut(repr(found))}" if isinstance(found, str | int | float) else ""
    why = first["msg"]
    if first["type"] == "string_pattern_mismatch":
        why = f"expected {MEANINGS[first['ctx']['pattern']]}"
    elif first["type"] == "dataclass_type":
        why = "Input should be an object"
    where = f"'{_cut(key)}': " if key else ""
    return DamagedError.of(place, f"not a run record: {where}{why}{shown}")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _limit() -> int:
    asked = os.environ.get(_LIMIT, "")
    return int(asked) if asked.isdecimal() else MAX_RECORD_BYTES


def record_schema() -> dict[str, Any]:
    """Return the JSON schema of ``run.json``."""
    return _ADAPTER.json_schema(mode="serialization")
