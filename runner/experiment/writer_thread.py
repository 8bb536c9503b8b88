"""The one thread that writes, so that the model need not wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class WriterThread(threading.Thread):
    """Does jobs in their order, behind a queue that holds back whoever brings them.

    What goes wrong in it is raised by the next `put`, or by `stop`; what still waits
    is then dropped.

    Parameters
    ----------
    length
        How many jobs may wait.
    """

    def __init__(self, length: int) -> None:
        super().__init__(name="runner-writer", daemon=True)
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(length)
        self._error: BaseException | None = None
        self._dropping = False

    def run(self) -> None:
        """Do what comes until told to stop."""
        while (job := self._waiting.get()) is not None:
            if self._dropping:
                continue
            try:
                job()
            except BaseException as error:  # raised where somebody waits for it
                self._error = error
                self._dropping = True

    def put(self, job: Callable[[], None]) -> None:
        """Hand over a job; wait while too many are waiting."""
        if self._error is not None:
            raise self._error
        self._waiting.put(job)

    def stop(self, *, drop: bool = False) -> None:
        """Wait until all is done, or dropped; the thread then ends.

        Raises
        ------
        BaseException
            Whatever a job raised, unless the jobs are dropped.
        """
        self._dropping = self._dropping or drop
        if self.is_alive():
            self._waiting.put(None)
            self.join()
        if self._error is not None and not drop:
            raise self._error
