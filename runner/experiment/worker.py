"""A Python process in which Keras runs on another backend or in another environment."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from runner.errors import RunError, RunnerError

Item = TypeVar("Item")

# Its modules are looked for where this process looks for them.
_BEGIN = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from runner.experiment.worker import serve
serve()
"""


class Worker:
    """A process in which Keras runs on another backend or in another environment.

    It ends with this one.

    Parameters
    ----------
    backend
        The backend that Keras is set to there.
    variables
        Further variables of its environment, with their values.
    """

    def __init__(self, backend: str, variables: Iterable[tuple[str, str]] = ()) -> None:
        self._backend = backend
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict(variables), "KERAS_BACKEND": backend},
        )
        self._send(sys.path)

    def run(self, function: Callable[..., Iterable[Item]], *arguments: Any) -> Iterator[Item]:
        """Run a function there, and yield what it yields.

        Parameters
        ----------
        function
            A function of a module; it is looked up by its name.
        *arguments
            Its arguments, which are pickled, as are the items.

        Raises
        ------
        RunnerError
            The error that the function raised; a `RunError` for one of another kind, and if the
            process ended.
        """
        assert self._process.stdout is not None
        try:
            self._send((function, arguments))
            while True:
                kind, content = pickle.load(self._process.stdout)
                if kind == "end":
                    return
                if kind == "error":
                    raise content
                yield content
        except (EOFError, BrokenPipeError) as error:
            raise RunError(f"the process of backend {self._backend} ended") from error
        except KeyboardInterrupt:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process: what it has completed is published first."""
        self._process.terminate()
        self._process.communicate()
        worker_on.cache_clear()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()


@functools.cache
def worker_on(backend: str, variables: tuple[tuple[str, str], ...] = ()) -> Worker:
    """Return this process's worker on a backend, started when it is first needed.

    Arguments as for `Worker`.
    """
    worker = Worker(backend, variables)
    atexit.register(worker.stop)
    return worker


def serve() -> None:
    """Run the functions that another process asks for, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides
    received: list[int] = []

    def check_stopped() -> None:
        if received:
            raise KeyboardInterrupt(received[0])

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        check_stopped()

    signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = lambda _: None  # Python ignores an exception in a callback, and tells it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not be taken for an answer

    def answer(kind: str, content: Any = None) -> None:
        pickle.dump((kind, content), answers)
        answers.flush()

    try:
        while True:
            function, arguments = pickle.load(sys.stdin.buffer)
            try:
                for item in function(*arguments):
                    answer("item", item)
                    check_stopped()
                answer("end")
            except RunnerError as error:
                answer("error", error)
            except Exception as error:
                traceback.print_exc()
                answer("error", RunError(f"{type(error).__name__}: {error}"))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
