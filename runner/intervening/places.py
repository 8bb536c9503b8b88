"""Numbers of units, heads and positions, as a configuration names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from runner.config.strict import checked, expecting
from runner.errors import Problem

EACH = "each"
"""Stands for all units, heads or positions, of which each is changed by itself."""

_RANGE = re.compile(r"(\d+)-(\d+)")


def _problems(places: int | str | list[int | str]) -> Iterator[Problem]:
    """Yield a problem for each number and range that names no places."""
    for place in places if isinstance(places, list) else [places]:
        if isinstance(place, int):
            if place < 0:
                yield Problem("", f"must be 0 or more, found {place}", "the first one is 0")
            continue
        found = _RANGE.fullmatch(place)
        if found is None:
            yield Problem("", f"expected numbers, or a range such as 0-3, found '{place}'")
        elif int(found[1]) > int(found[2]):
            yield Problem("", f"the range {place} has no numbers", "put the smaller number first")
    if places == []:
        yield Problem("", "is empty", "leave it out to change all")


EachOf = Annotated[
    int | str | list[int | str],
    expecting("a number, a list of numbers, a range such as 0-3, or each"),
    checked(lambda places: () if places == EACH else _problems(places)),
]
"""Some units, heads or positions, or each by itself."""


def numbers_in(places: int | str | list[int | str], size: int) -> list[int]:
    """Return the numbers that valid places mean, in order and each once.

    Parameters
    ----------
    places
        The places.
    size
        How many there are. Of a range, only the first number beyond is returned: a configuration
        may name one of any length.
    """
    found: dict[int, None] = {}
    for place in places if isinstance(places, list) else [places]:
        if isinstance(place, int):
            found[place] = None
        elif (parts := _RANGE.fullmatch(place)) is not None:
            first, last = int(parts[1]), int(parts[2])
            found |= dict.fromkeys(range(first, min(last, max(first, size)) + 1))
    return list(found)
