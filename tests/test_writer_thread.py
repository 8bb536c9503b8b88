"""The thread that writes to disk."""

from __future__ import annotations

import signal
import threading
import time

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
