"""The thread that writes to disk while the model continues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

# Limits of the queue between the model and the disk: in bytes, and in jobs.
_QUEUE_BYTES = 16 * 2**20
_QUEUE_LENGTH = 64

_LOOK = 1.0  # seconds between two looks for signals


def queue_length(job_bytes: int) -> int:
    """Return the number of jobs of this size that may wait at once."""
    return min(_QUEUE_LENGTH, max(1, _QUEUE_BYTES // max(1, job_bytes)))


class WriterThread(threading.Thread):
    """Runs jobs in order, from a queue of limited length.

    An error in a job is raised by the next `put`, or by `stop`; jobs that are still waiting
    are then dropped. A signal may interrupt both at any point: the queues are implemented
    in C, so that no lock stays locked, as one of `queue.Queue` or `threading.Event` can.

    Parameters
    ----------
    length
        Number of jobs that may wait.
    """

    def __init__(self, length: int) -> None:
        super().__init__(name="runner-writer", daemon=True)
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()  # one item for each job that may be added
        for _ in range(length):
            self._free.put(None)
        self._error: BaseException | None = None
        self._dropping = False
        self._done = False
        self._end: SimpleQueue[None] = SimpleQueue()  # holds one item at the end

    def run(self) -> None:
        """Run jobs until stopped."""
        while (job := self._waiting.get()) is not None:
            self._free.put(None)
            if self._dropping:
                continue
            try:
                job()
            except BaseException as error:  # raised by the next put or stop
                self._error = error
                self._dropping = True
            del job  # its arrays
        self._done = True
        self._end.put(None)

    def put(self, job: Callable[[], None]) -> None:
        """Add a job; block while the queue is full."""
        if self._error is not None:
            raise self._error
        _wait_for(self._free)
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
        if not self._done:
            self._waiting.put(None)
            _wait_for(self._end)
        if self._error is not None and not drop:
            raise self._error


def _wait_for(items: SimpleQueue[None]) -> None:
    """Take an item; a signal that came just before a wait is noticed when the wait ends."""
    while True:
        try:
            return items.get(timeout=_LOOK)
        except Empty:
            continue
