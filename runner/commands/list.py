"""The command that lists saved runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from runner.command_line.command import Command, add_outputs, count
from runner.command_line.messages import put
from runner.errors import InputError


def _list(arguments: Namespace) -> None:
    """List the saved runs, newest first."""
    from runner.runs.locate import OUTPUTS, look_below, warn_of
    from runner.screen import run_list

    if arguments.outputs != OUTPUTS and not arguments.outputs.is_dir():
        raise InputError.of("--outputs", f"there is no folder '{arguments.outputs}'")
    runs = look_below(arguments.outputs)
    warn_of(runs.unreadable)
    # In a pipe, one line per run however long.
    put(run_list.listed(runs, arguments.limit, None if sys.stdout.isatty() else 10_000))
    if arguments.limit < len(runs) or not (len(runs) or runs.unreadable):
        put(f"{min(arguments.limit, len(runs))} of {len(runs)} runs in {arguments.outputs}\n")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="largest number of runs"
    )
    add_outputs(parser)


LIST = Command(_list, _arguments, about="list the runs", order=20)
