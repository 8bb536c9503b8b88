"""Signals that stop the process."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from types import FrameType

# Signals by which a cluster ends a job; they are handled so that a run can clean up.
_ENDING = ("SIGTERM", "SIGUSR1", "SIGUSR2")

# Functions that lock and unlock a condition. An exception in one of them would leave it locked
# forever, as Python only calls `__exit__` once `__enter__` has returned.
_LOCKING = (threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__)
_PAUSE_SECONDS = 0.001

_received: list[int] = []


class Stopped(KeyboardInterrupt):
    """A signal that stops the process, with its number."""


def handle_signals() -> None:
    """Raise `Stopped` in the main thread on each signal that stops the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signal.signal(signal.SIGINT, _stop)
    for name in _ENDING:
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), _stop)


def check_stopped() -> None:
    """Stop if a signal was received whose exception Python ignored, as it does in ``__del__``."""
    if _received:
        raise Stopped(_received[0])


def _stop(number: int, interrupted: FrameType | None) -> None:
    if interrupted is not None and interrupted.f_code in _LOCKING:
        _thread.start_new_thread(_send_again, (number,))
        return
    _received.append(number)
    raise Stopped(number)


def _send_again(number: int) -> None:
    """Have the signal handled once more, when the main thread has gone on."""
    time.sleep(_PAUSE_SECONDS)
    _thread.interrupt_main(signal.Signals(number))
