"""The command that lists saved runs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import Command, add_outputs, count
from runner.command_line.messages import put
from runner.errors import InputError


def _list(arguments: Namespace) -> None:
    """List the saved runs, newest first."""
    from runner.local_paths import OUTPUTS
    from runner.record.listing import list_records, warn_of
    from runner.screen.list import listed
    from runner.store_urls import store_url

    outputs = store_url(arguments.outputs, "--outputs") or Path(arguments.outputs)
    if isinstance(outputs, Path) and outputs != OUTPUTS and not outputs.is_dir():
        raise InputError.of("--outputs", f"there is no folder '{arguments.outputs}'")
    listing = list_records(outputs)
    warn_of(listing.unreadable)
    # In a pipe, one line per run however long.
    put(listed(listing, arguments.limit, None if sys.stdout.isatty() else 10_000))
    count = len(listing.runs)
    if arguments.limit < count or not (count or listing.unreadable):
        put(f"{min(arguments.limit, count)} of {count} runs in {arguments.outputs}\n")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=count, default=20, metavar="N", help="largest number of runs"
    )
    add_outputs(parser)


LIST = Command(_list, _arguments, about="list the runs", order=20)
