"""The thread that hashes while another thread writes the same data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_LEAST_BYTES = 1 << 18
"""Size of what takes far longer to hash than to hand to another thread."""


class HashingThread:
    """A thread for hashes of much data, which let other threads of Python run.

    It starts when it is first needed.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "runner-hashing")

    @contextlib.contextmanager
    def beside(self, update: Callable[[Any], object], data: Any, size: int) -> Iterator[None]:
        """Hash data while the context runs; afterwards the data may change.

        Parameters
        ----------
        update
            Function that hashes the data.
        data
            What it is given.
        size
            Number of bytes; a few are hashed before the context runs, in the same thread.
        """
        if size < _LEAST_BYTES:
            update(data)
            yield
            return
        hashed = self._executor.submit(update, data)
        try:
            yield
        finally:
            hashed.result()

    def stop(self) -> None:
        """End the thread."""
        self._executor.shutdown()
