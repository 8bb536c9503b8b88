"""A command line run in the test's own process, where TensorFlow is loaded already."""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

from runner.command_line.entry import main


def in_process(
    *words: str, folder: Path | None = None, code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a folder and check its exit code, unless it may be any."""
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        found = main(words)
    assert code in (found, None), out.getvalue() + error.getvalue()
    return subprocess.CompletedProcess(words, found, out.getvalue(), error.getvalue())
