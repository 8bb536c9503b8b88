"""The entry point of the command line."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from runner.command_line import commands
from runner.command_line.messages import plain_warnings, tell
from runner.command_line.signals import Stopped, check_stopped, handle_signals
from runner.errors import InputError, RunError, RunnerError

# Errors of a stream that cannot be written to: its reader is gone, its disk is full, it is closed.
_STREAM_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# A legacy console may lack characters.
_ESCAPED = "backslashreplace"


class _Messages(io.TextIOWrapper):
    """A stream of messages: where they cannot be written, on a full disk, they are lost."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def script() -> None:
    """Run the command line and exit with its code."""
    # No process started from here looks for Python's and Runner's modules in the working directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    _open_closed_streams()
    sys.stdout.reconfigure(errors=_ESCAPED)  # type: ignore[union-attr]
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    messages = os.fdopen(2, "wb", closefd=False)
    sys.stderr = _Messages(messages, encoding, _ESCAPED, line_buffering=True)
    handle_signals()
    sys.exit(_flushed(main(sys.argv[1:])))


def _open_closed_streams() -> None:
    """Open closed standard streams on the null device, before other files take their numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)


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
            from runner.record.environment import told_versions

            sys.stdout.write(told_versions())
            return 0
        if list(arguments) in (["--help"], ["-h"]):
            from runner.command_line.help_page import help_text

            sys.stdout.write(help_text())
            return 0
        if arguments and re.fullmatch(r"[^\W\d][\w-]*", arguments[0]):
            return commands.main(arguments)
        from runner.command_line.experiments import run_arguments  # imports Hydra

        with plain_warnings():
            return run_arguments(arguments, check_stopped)
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
        return 128 + (stopped.args[0] if isinstance(stopped, Stopped) else signal.SIGINT)


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError.of("working directory", "was deleted", "change to another one") from error
