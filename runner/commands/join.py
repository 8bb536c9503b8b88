"""The command that joins the parts of a run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.command_line.command import Command
from runner.command_line.messages import put


def _join(arguments: Namespace) -> None:
    """Join the parts of a run whose command was stopped after it had made all of them."""
    from runner.parts.joining import join
    from runner.runs.published_run import Run
    from runner.screen.show import show
    from runner.store_urls import runs_place

    put(show(Run.read(join(runs_place(arguments.run, "DIR")))))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="DIR", help="folder or URL of the run")


JOIN = Command(
    _join,
    _arguments,
    about="join the parts of a run",
    usage="DIR",
    order=75,
)
