"""The thread that writes to disk while the model continues."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

# Limits of the queue between the model and the disk: in bytes, and in jobs.
_QUEUE_BYTES = 16 * 2**20
_QUEUE_LENGTH = 64


def queue_length(job_bytes: int) -> int:
    """Return the number of jobs of this size that may wait at once."""
    return min(_QUEUE_LENGTH, max(1, _QUEUE_BYTES // max(1, job_bytes)))


class WriterThread(threading.Thread):
    """Runs jobs in order, from a queue of limited length.

    An error in a job is raised by the next `put`, or by `stop`; jobs that are still waiting
    are then dropped.

    Parameters
    ----------
    length
        Number of jobs that may wait.
    """

    def __init__(self, length: int) -> None:
        super().__init__(name="runner-writer", daemon=True)
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(length)
        self._error: BaseException | None = None
        self._dropping = False
        self._ended = threading.Event()

    def run(self) -> None:
        """Run jobs until stopped."""
        while (job := self._waiting.get()) is not None:
            if self._dropping:
                continue
            try:
                job()
            except BaseException as error:  # raised by the next put or stop
                self._error = error
                self._dropping = True
        self._ended.set()

    def put(self, job: Callable[[], None]) -> None:
        """Add a job; block while the queue is full."""
        if self._error is not None:
            raise self._error
        self._waiting.put(job)

    def stop(self, *, drop: bool = False) -> None:
        """Wait until all jobs are done, or dropped, and end the thread.

        It can be called again, also after a call that a signal interrupted.

        Raises
        ------
        BaseException
            Whatever a job raised, unless the jobs are dropped.
        """
        self._dropping = self._dropping or drop
        # Not `join`: before Python 3.13 a thread whose `join` is interrupted seems to have ended.
        if not self._ended.is_set():
            self._waiting.put(None)
            self._ended.wait()
        if self._error is not None and not drop:
            raise self._error
