"""The thread that hashes while another thread writes the same data."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

LEAST_BYTES = 1 << 18
"""Size of what takes far longer to hash than to hand to another thread."""

_MOST_BEHIND = 16 << 20
"""Bytes that may wait to be hashed, besides the last ones."""


class HashingThread:
    """A thread for hashes of much data, which let other threads of Python run.

    It starts when it is first needed, and hashes everything in the order in which it was given.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "runner-hashing")
        self._waiting: deque[tuple[Future[object], int]] = deque()
        self._behind = 0
        self._lock = threading.Lock()  # of the two attributes before

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
        if size < LEAST_BYTES:
            update(data)
            yield
            return
        hashed = self._executor.submit(update, data)
        try:
            yield
        finally:
            hashed.result()

    def later(self, update: Callable[[Any], object], data: Any, size: int) -> Future[object]:
        """Hash data that does not change any more; block while too much waits to be hashed.

        Parameters
        ----------
        update, data, size
            As in `beside`.

        Returns
        -------
        Future
            Done when the data is hashed.
        """
        hashed = self._executor.submit(update, data)
        with self._lock:
            self._waiting.append((hashed, size))
            self._behind += size
        while (first := self._first_of_too_many()) is not None:
            first.result()
        return hashed

    def _first_of_too_many(self) -> Future[object] | None:
        """Forget the first piece that waits, and return it, if too many bytes wait."""
        with self._lock:
            if self._behind <= _MOST_BEHIND:
                return None
            first, size = self._waiting.popleft()
            self._behind -= size
            return first

    def stop(self) -> None:
        """End the thread."""
        self._executor.shutdown()
