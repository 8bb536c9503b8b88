"""Pauses the garbage collector while many objects are made that are kept."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Disable the garbage collector in the context, where all new objects are kept.

    It would visit all of them again and again. At the end they are moved to the oldest
    generation, which is visited least often.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        if was_on:
            gc.enable()
