"""Runs published on a disk that fails at each of its operations in turn.

To be run with ``faults.c`` preloaded: ``python faulty_disk.py publication|command FOLDER EVERY``
lets every `EVERY`-th operation fail, says what was wrong in a line each, and then how many
faults there were.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from making import make_run

from runner.command_line.entry import main
from runner.errors import RunnerError
from runner.runs.published_run import Run
from runner.sameness.verification import damage

_disk = ctypes.CDLL(None)
_SHORT = 0
FAULTS = [(number, False) for number in (errno.ENOSPC, errno.EIO, errno.EINTR, _SHORT)]
FAULTS += [(errno.ENOSPC, True), (errno.EXDEV, False)]


def by_publication(target: Path) -> str:
    """Publish a run; return what is said if it fails."""
    try:
        make_run(target, format="arrow")
    except RunnerError as error:
        return str(error)
    return ""


def by_command(target: Path) -> str:
    """Run the tutorial; return what is said if it fails."""
    said, shown = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
        code = main([f"hydra.run.dir={target}"])
    assert bool(code) == bool(said.getvalue()), (code, said.getvalue())
    return said.getvalue().removeprefix("error: ").removesuffix("\n")


def wrong(target: Path, said: str) -> Iterator[str]:
    """Yield what does not hold after a publication that said this."""
    named = (str(target), "the run was not published", "nothing can be written here")
    if "\n" in said or (said and not any(part in said for part in named)):
        yield f"not one clear line: {said}"
    if target.exists():
        run = Run.read(target)
        yield from damage(run)
        if run.record.status == "COMPLETED" and said and "the run was published" not in said:
            yield f"there although it was said: {said}"
    elif not said:
        yield "lost in silence"
    yield from (f"left behind: {path.name}" for path in target.parent.iterdir() if path != target)


def try_all(publish: Callable[[Path], str], folder: Path, every: int) -> Iterator[str]:
    """Let every operation fail in every way; yield what does not hold, then a summary."""
    tried = told = 0
    for offset, (number, stays) in enumerate(FAULTS):
        for at in itertools.count(offset % every, every):  # among them all, at each operation
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _disk.arm(bytes(folder), at, number, stays)
            said = publish(folder / "run")
            reached = _disk.disarm() > at
            what = f"{errno.errorcode.get(number, 'short')}{' for good' * stays} at {at}"
            yield from (f"{what}: {problem}" for problem in wrong(folder / "run", said))
            if not reached:  # the run came to its end before
                break
            tried += 1
            told += bool(said)
    yield f"{tried} faults, {told} told"


if __name__ == "__main__":
    way, where, step = sys.argv[1:]
    publish = {"publication": by_publication, "command": by_command}[way]
    publish(Path(where, "run"))  # what is imported on the way is no operation of the run
    for line in try_all(publish, Path(where), int(step)):
        print(line)
