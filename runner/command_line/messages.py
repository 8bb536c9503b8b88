"""What a command writes: results to stdout or a file, warnings and errors to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from runner.errors import InputError, OutOfMemoryError, RunnerError, one_line, short_line
from runner.local_paths import local_path
from runner.regular_files import replaced

if TYPE_CHECKING:
    import pandas as pd

_CSV_ROWS = 100_000  # written at a time


def tell(error: RunnerError | MemoryError) -> int:
    """Write an error to stderr, one line per problem, and return its exit code.

    With ``RUNNER_TRACEBACK=1`` the traceback is written first.
    """
    if os.environ.get("RUNNER_TRACEBACK") == "1":
        traceback.print_exception(error)
    lines = str(error).splitlines()
    for line in lines if isinstance(error, InputError) else [" ".join(lines)]:
        what = line
        if not isinstance(error, RunnerError):
            what = f"memory ran out: {line or type(error).__name__}"
        sys.stderr.write(f"error: {short_line(what)}\n")
    return error.exit_code if isinstance(error, RunnerError) else OutOfMemoryError.exit_code


def put(text: str) -> None:
    """Write a text to stdout, with terminal controls escaped as it may hold foreign names."""
    with contextlib.suppress(BrokenPipeError):  # the reader closed the pipe
        sys.stdout.write("\n".join(map(one_line, text.split("\n"))))


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Write warnings raised inside the context to stderr, one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        yield


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[TextIO]:
    """Open a file named by the user for writing; a link is replaced, not followed.

    Only devices, such as `/dev/stdout`, are written as they are.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    local_path(path, "file")
    try:
        is_device = Path("/dev") in path.absolute().parents or path.is_char_device()
        with (
            path.open("wb") if is_device else replaced(path) as whole,
            io.TextIOWrapper(whole, encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise InputError.of(str(path), f"cannot be written: {error.strerror}") from error


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table to a file named by the user, and warn of texts that are like formulas.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    import pyarrow as pa

    from runner.tables.formulas import Formulas

    with written_to(path) as file:
        frame.to_csv(file, index=False, chunksize=_CSV_ROWS)
    found = Formulas()
    texts = {name: [one for one in frame[name].unique() if isinstance(one, str)] for name in frame}
    found.add({str(name): pa.array(column, pa.string()) for name, column in texts.items()})
    found.warn()


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {short_line(str(message))}\n")
