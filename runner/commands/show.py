"""The command that shows saved outputs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put


def _show(arguments: Namespace) -> None:
    """Show the outputs of a run, or the runs of a sweep."""
    from runner.runs.locate import open_one_or_more
    from runner.screen.show import show, show_several

    runs = list(open_one_or_more(arguments.run, arguments.outputs))
    put(show(runs[0]) if len(runs) == 1 else show_several(runs))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="last", help=RUN)
    add_outputs(parser)


SHOW = Command(
    _show,
    _arguments,
    about="show the outputs of a run",
    usage="[RUN]",
    order=10,
)
