"""The command that checks the files of runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put, tell
from runner.errors import DamagedError, short_line


def _verify(arguments: Namespace) -> int:
    """Check every file of a run, or of all runs below a folder, against its record."""
    from runner.runs.locate import open_one_or_more
    from runner.sameness.verification import verified
    from runner.stores.places import run_at, store_at
    from runner.stores.store import Unreadable

    meant = list(store_at(arguments.run).runs()) if arguments.run else []
    wrong = 0
    if meant in ([], [run_at(arguments.run)]):
        runs = open_one_or_more(arguments.run, arguments.outputs)
        meant = [run.stored for run in runs]
        wrong = len(runs.unreadable)  # of which it warned
    for one in meant:
        if isinstance(one, Unreadable):
            tell(DamagedError.of("", one.why))
            wrong += 1
    for run, found in verified([one for one in meant if not isinstance(one, Unreadable)]):
        if isinstance(found, DamagedError):  # the record itself is damaged
            if len(meant) == 1:
                raise found
            tell(found)
            wrong += 1
            continue
        start = f"{run.place()}/" if len(meant) > 1 else ""
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
