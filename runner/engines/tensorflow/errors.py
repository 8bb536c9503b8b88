"""What TensorFlow's errors say, without the text that it adds to them."""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OUTSIDE = re.compile(r"indices\[.*?\] = (-?\d+) is not in \[(\d+), (\d+)\)")


def message_of(error: Exception) -> str:
    """Return the message of an error that a pass raised."""
    text = _COLOUR.sub("", str(error)).strip()
    if "\n\t [[" in text:  # an error in a graph begins with the position in its code
        text = text.partition("\n\t [[")[0].rpartition("\n")[2]
    text = re.sub(r"\{\{function_node .*?\}\} ", "", text)
    text = text.partition("\n\t; NodeDef: ")[0]
    return re.sub(r" \[Op:\w+\]( name:[^\n]*)?(?=\n|$)", "", text)


def index_outside(error: Exception) -> tuple[int, int, int] | None:
    """Return the index that an error is about, and the first and last that there are."""
    match = _OUTSIDE.search(_COLOUR.sub("", str(error)))
    if match is None:
        return None
    index, first, end = map(int, match.groups())
    return index, first, end - 1
