"""What pydantic's validation errors say, in the terms of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.config.arguments import TYPES, join, shown
from runner.config.graph import printable
from runner.config.strict import UnknownKey, not_among
from runner.errors import InputError, Problem, suggest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def explained(
    error: ErrorDetails, location: tuple[Any, ...], keys: Callable[[], Sequence[str]]
) -> Iterator[Problem]:
    """Yield the problems of one error, in the terms of a configuration file.

    Parameters
    ----------
    error
        One of the errors of a ``ValidationError``.
    location
        Its keys, from the outermost one.
    keys
        Returns the valid keys at the location of an unknown key.
    """
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    place = _place(location)
    cause = context.get("error")
    if isinstance(cause, InputError):
        for problem in cause.problems:
            yield replace(problem, place=join(place, problem.place))
    elif kind == "extra_forbidden":
        known = keys()
        advice = suggest(str(location[-1]), known) or f"keys are {', '.join(known)}"
        if len(location) == 1:
            advice += f"; put a key of your own below extra: extra.{place}"
        if location == ("experiment",):
            advice = "begin the experiment's file with the line: # @package _global_"
        yield UnknownKey(place, advice=advice)
    elif kind == "missing":
        yield Problem(place, "required, and not given", f"set {place}=...")
    elif kind == "literal_error":
        choices = re.findall(r"'([^']*)'", context["expected"])
        yield not_among(place, found, choices)
    elif (expected := _EXPECTED.get(kind)) is not None:
        unquoted = expected == TYPES[str] and isinstance(found, (bool, int, float))
        advice = "write it in quotes" if unquoted else ""
        yield Problem(place, f"expected {expected}, found {shown(found)}", advice)
    elif kind == "greater_than_equal":
        yield Problem(place, f"must be >= {context['ge']}, found {found}")
    elif kind == "less_than_equal":
        yield Problem(place, f"must be <= {context['le']}, found {found}")
    else:
        yield Problem(place, f"{error['msg']}, found {shown(found)}")


_EXPECTED = {
    "int_type": TYPES[int],
    "int_from_float": TYPES[int],
    "int_parsing": TYPES[int],
    "float_type": TYPES[float],
    "float_parsing": TYPES[float],
    "bool_type": TYPES[bool],
    "bool_parsing": TYPES[bool],
    "string_type": TYPES[str],
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
    "string_too_short": "one character",
    "string_too_long": "one character",
}


def _place(location: tuple[Any, ...]) -> str:
    """Return the key path of a pydantic location, without the kind of model in it."""
    if location[:1] == ("model",):
        location = ("model", *location[2:])
    return ".".join(printable(str(part)) for part in location if part != "[key]")
