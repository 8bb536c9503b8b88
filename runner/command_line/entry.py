"""The entry point of the command line: commands, signals and exit codes."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from runner.command_line import commands
from runner.command_line.messages import tell
from runner.errors import InputError, RunError, RunnerError

_VERSIONS = {
    "Runner": "activation-runner",
    "Hydra": "hydra-core",
    "Keras": "keras",
    "TensorFlow": "tensorflow",
}

# Errors of a stream that cannot be written to: its reader is gone, its disk is full, it is closed.
_STREAM_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# Signals by which a cluster ends a job; they are handled so that a run can clean up.
_ENDING = ("SIGTERM", "SIGUSR1", "SIGUSR2")


def script() -> None:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a legacy console may lack characters
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signal.signal(signal.SIGINT, _stop)
    for name in _ENDING:
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), _stop)
    sys.exit(_flushed(main(sys.argv[1:])))


def _open_closed_streams() -> None:
    """Open closed standard streams on the null device, before other files take their numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _flushed(code: int) -> int:
    """Flush stdout and return the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _not_taken(error, code)
    return code


def _not_taken(error: OSError, code: int = 0) -> int:
    """Report an error in writing to stdout and return the exit code.

    A closed pipe is not a failure; a full disk is.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing to flush at exit
    if isinstance(error, BrokenPipeError):
        return code
    sys.stderr.write(f"error: standard output: {error.strerror}\n")
    return code or 1


class _Stopped(KeyboardInterrupt):
    """A signal that stops the process, with its number."""


_received: list[int] = []


def _stop(number: int, _: FrameType | None) -> None:
    _received.append(number)
    raise _Stopped(number)


def _check_stopped() -> None:
    """Stop if a signal was received whose exception Python ignored, as it does in ``__del__``."""
    if _received:
        raise _Stopped(_received[0])


def main(arguments: Sequence[str]) -> int:
    """Run a command line.

    Returns
    -------
    int
        Exit code: 0 for success, 1 if a run failed or a comparison found a difference, 2 for
        invalid input, 3 if memory ran out, 128 plus the number of a signal that stopped it.
    """
    try:
        _check_working_directory()
        if "--version" in arguments:
            sys.stdout.write(_versions())
            return 0
        if list(arguments) in (["--help"], ["-h"]):
            from runner.command_line.help_page import help_text

            sys.stdout.write(help_text())
            return 0
        if arguments and re.fullmatch(r"[^\W\d][\w-]*", arguments[0]):
            return commands.main(arguments)
        from runner.command_line.experiments import run_arguments  # imports Hydra

        return run_arguments(arguments, _check_stopped)
    except (RunnerError, MemoryError) as error:
        if "hydra.verbose=true" in arguments:
            traceback.print_exception(error)
        return tell(error)
    except SystemExit as stopped:  # how argparse and Hydra exit
        return stopped.code if isinstance(stopped.code, int) else 0
    except OSError as error:
        if error.filename is not None:
            return tell(RunError(f"{error.filename}: {error.strerror}"))
        if error.errno not in _STREAM_ERRORS:
            raise
        return _not_taken(error)
    except KeyboardInterrupt as stopped:
        what = "the current run was not published"
        if stopped.args and isinstance(stopped.args[0], str):
            what = stopped.args[0]
        sys.stderr.write(f"interrupted; {what}\n")
        return 128 + (stopped.args[0] if isinstance(stopped, _Stopped) else signal.SIGINT)


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError.of("working directory", "was deleted", "change to another one") from error


def _versions() -> str:
    """Return the versions of Runner and of the packages that its results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    lines = []
    for name, package in _VERSIONS.items():
        try:
            lines.append(f"{name} {version(package)}\n")
        except PackageNotFoundError:
            lines.append(f"{name} (not installed)\n")
    return "".join(lines)
