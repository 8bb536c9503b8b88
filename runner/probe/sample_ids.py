"""Sample ids and labels: what each sample is called, and which class it is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from runner.errors import InputError


def identifiers(
    ids: Iterable[Any], place: str, locate: Callable[[int], str] | None = None
) -> np.ndarray:
    """Return sample ids as int64 if all are whole numbers, else as text.

    Raises
    ------
    InputError
        If one is there twice, or is empty.
    """
    array = categories(ids, place)
    seen: dict[Any, int] = {}
    for row, sample in enumerate(array.tolist()):
        if sample == "":
            if locate is not None:
                raise InputError.of(locate(row), "the sample id is empty")
            raise InputError.of(place, f"row {row}: the sample id is empty")
        if sample in seen:
            if locate is not None:
                other = locate(seen[sample])
                raise InputError.of(locate(row), f"the sample id {sample!r} is that of {other}")
            raise InputError.of(
                place, f"rows {seen[sample]} and {row} have the same sample id {sample!r}"
            )
        seen[sample] = row
    return array


def categories(values: Iterable[Any], place: str) -> np.ndarray:
    """Return labels as int64 if all are whole numbers, else as text.

    Raises
    ------
    InputError
        If one of them is not a single value.
    """
    found = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in found) and all(
        -(2**63) <= value < 2**63 for value in found
    ):
        return np.asarray(found, dtype="int64")
    array = np.empty(len(found), dtype=object)
    for row, value in enumerate(found):
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            raise InputError.of(
                place, f"row {row}: expected one id or label, found {len(value)} values"
            )
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise InputError.of(place, f"row {row}: {text!r} is no valid text")
        array[row] = text
    return array


def numbers_or_text(values: list[Any]) -> list[Any]:
    """Return texts as whole numbers if all are written as one would write these."""
    if all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) for value in values):
        return [int(value) for value in values]
    return values
