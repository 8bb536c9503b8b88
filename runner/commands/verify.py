"""The command that checks the files of runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put, tell
from runner.errors import DamagedError, short_line


def _verify(arguments: Namespace) -> int:
    """Check every file of a run, or of all runs below a folder, against its record."""
    from runner.runs.locate import open_one_or_more, run_folders
    from runner.runs.unreadable import Unreadable
    from runner.sameness.verification import verified

    folder = Path(arguments.run)
    meant = list(run_folders(folder)) if arguments.run else []
    if meant in ([], [folder]):
        meant = [run.path for run in open_one_or_more(arguments.run, arguments.outputs)]
    wrong = 0
    for path in meant:
        if isinstance(path, Unreadable):
            tell(DamagedError.of("", path.why))
            wrong += 1
    folders = [path for path in meant if not isinstance(path, Unreadable)]
    for path, found in verified(folders):
        if isinstance(found, DamagedError):  # the record itself is damaged
            if len(meant) == 1:
                raise found
            tell(found)
            wrong += 1
            continue
        start = f"{path}/" if len(meant) > 1 else ""
        for line in found.wrong:
            sys.stderr.write(f"error: {short_line(start + line)}\n")
        put(f"{found.run}: {found.files} files, {len(found.wrong) or 'none'} wrong\n")
        wrong += len(found.wrong)
    return 1 if wrong else 0


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP|DIR", nargs="?", default="last", help=RUN)
    add_outputs(parser)


VERIFY = Command(
    _verify,
    _arguments,
    about="check a run's files against its record",
    usage="[RUN]",
    order=60,
)
