"""The thread that writes to disk."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from runner.saving.writer_thread import WriterThread, queue_length


@pytest.mark.parametrize(
    ("job_bytes", "length"), [(0, 64), (1, 64), (2**20, 16), (3 * 2**20, 5), (2**40, 1)]
)
def test_large_jobs_wait_in_a_short_queue(job_bytes: int, length: int) -> None:
    assert queue_length(job_bytes) == length


def test_an_interrupted_stop_can_be_called_again_and_waits_for_the_job_at_work() -> None:
    writer = WriterThread(4)
    writer.start()
    done: list[float] = []
    go_on = threading.Event()

    def job() -> None:
        go_on.wait()
        time.sleep(0.2)
        done.append(time.monotonic())

    writer.put(job)
    writer.put(lambda: done.append(-1.0))
    main = threading.main_thread().ident
    assert main is not None
    interrupt = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        writer.stop()
    interrupt.join()
    go_on.set()
    writer.stop(drop=True)
    assert len(done) == 1, "the job at work was not waited for, or the next was not dropped"
    assert done[0] <= time.monotonic()
    writer.stop(drop=True)
    writer.join(5)
    assert not writer.is_alive()


class _Interrupted(BaseException):
    """What a signal raises."""


def _interrupt(call: Callable[[], object], step: int) -> bool:
    """Return whether a call was interrupted before its instruction of this number, or ended."""
    remaining = step

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal remaining
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            remaining -= 1
            if remaining < 0:
                raise _Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except _Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.timeout(60)  # a hang is what fails
@pytest.mark.parametrize("name", ["put", "stop"])
def test_a_signal_at_any_instruction_leaves_a_writer_that_can_be_stopped(name: str) -> None:
    for step in range(1000):
        writer = WriterThread(2)
        writer.start()
        call = partial(writer.put, int) if name == "put" else writer.stop
        interrupted = _interrupt(call, step)
        writer.stop(drop=True)
        writer.join(5)
        assert not writer.is_alive()
        if not interrupted:
            break
    assert 5 < step < 999
