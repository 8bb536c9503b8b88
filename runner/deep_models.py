"""Raises Python's recursion limit for deep models."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

# Keras uses one stack frame per layer of a chain when it builds a model, and six per level of a
# nested model when it calls it. An endless recursion still ends in a RecursionError.
_FRAMES = 10_000


@contextlib.contextmanager
def room_for_depth() -> Iterator[None]:
    """Raise the recursion limit inside the scope to twice its value, at least 10,000."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(2 * before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
