"""Options behind the name of an object: ``knn:neighbours=5``."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from runner.config.plain_problems import explained
from runner.config.strict import Strict
from runner.errors import InputError, Problem

T = TypeVar("T", bound=Strict)


def options_in(text: str, kind: type[T] | None, place: str = "") -> T:
    """Return the options behind a name, in their class.

    Parameters
    ----------
    text
        The name, perhaps with a colon and options: ``name:one=1,other=2``. The name of the first
        option may be left out: ``name:1``.
    kind
        The class, whose fields are the options; ``None``: there are none.
    place
        The key or argument that the text comes from.

    Raises
    ------
    InputError
        If there is no such option, a value does not fit, or a required one is missing.
    """
    name, colon, options = text.partition(":")
    keys = [] if kind is None else [*kind.model_fields]
    if kind is None or (colon and not keys):
        raise InputError.of(place, f"{name} has no options", f"leave out ':{options}'")
    given: dict[str, str] = {}
    for part in options.split(",") if colon else ():
        key, equals, value = part.partition("=")
        given.update({key: value} if equals or given else {keys[0]: part})
    try:
        return kind.model_validate_strings(given)
    except ValidationError as error:
        above = [*filter(None, (place, name))]
        raise InputError(
            Problem(".".join(above), f"needs the option {detail['loc'][0]}", f"type {name}:...")
            if detail["type"] == "missing"
            else problem
            for detail in error.errors()
            for problem in explained(detail, (*above, *detail["loc"]), lambda: keys)
        ) from error
