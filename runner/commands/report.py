"""The command that writes a page about runs."""

from __future__ import annotations

import gc
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put
from runner.command_line.progress import comparison_bar


def _report(arguments: Namespace) -> None:
    """Write a page of figures about a run or a sweep."""
    from runner.report.writing import write_report
    from runner.runs.locate import open_runs
    from runner.sizes import readable

    runs = open_runs(arguments.run, arguments.outputs)
    gc.freeze()  # the process ends after the page: records are not looked through again and again
    with comparison_bar() as progress:
        path = write_report(runs, arguments.output, progress)
    put(f"written {path}, {readable(path.stat().st_size)}\n")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="last", help=RUN)
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="file to write (default: beside the run)")  # fmt: skip
    add_outputs(parser)


REPORT = Command(
    _report,
    _arguments,
    about="write a page of figures, in one file",
    usage="[RUN|SWEEP]",
    order=80,
)
