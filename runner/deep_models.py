"""Room on Python's stack for models that are deeper than its usual limit."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

# Keras takes a frame for each layer of a chain when it makes a model, and six for each level of
# a nested one when it calls it. An endless recursion still ends in a RecursionError.
_FRAMES = 10_000


@contextlib.contextmanager
def room_for_depth() -> Iterator[None]:
    """Raise the limit of recursion inside the scope: to twice what it is, 10,000 at least."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(2 * before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
