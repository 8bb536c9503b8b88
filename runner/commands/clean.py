"""The command that removes what interrupted runs have left."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from runner.command_line.command import Command
from runner.command_line.messages import put
from runner.errors import RunError, one_line


def _clean(arguments: Namespace) -> None:
    """Show what interrupted runs have left below a folder or a URL, and remove it if agreed.

    Complete parts are removed only if their own folder is named.
    """
    from runner.local_paths import OUTPUTS
    from runner.parts.parts_folder import parts_left_at
    from runner.store_urls import runs_place
    from runner.stores.leftovers import leftovers_at

    place = runs_place(arguments.place or OUTPUTS, "DIR")
    found = list(parts_left_at(place)) or list(leftovers_at(place))
    for each in found:
        put(f"{each.place}: {each.what}\n")
    if not found:
        put(f"{place}: nothing is left of interrupted runs\n")
        return
    if not arguments.yes and not _agreed(len(found)):
        put("nothing was removed; to remove this, add --yes\n")
        return
    for each in found:
        try:
            each.remove()
        except OSError as error:
            raise RunError(f"{each.place}: cannot be removed: {error.strerror}") from error
    put(f"removed {len(found)}\n")


def _agreed(count: int) -> bool:
    """Return whether the user agrees, if there is a terminal to ask on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(one_line(f"Is none of these still being written? Remove {count}? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("place", metavar="DIR", nargs="?", help="folder or URL (default: outputs)")
    parser.add_argument("--yes", action="store_true", help="remove without asking")


CLEAN = Command(
    _clean,
    _arguments,
    about="remove what interrupted runs have left",
    usage="[DIR]",
    order=65,
)
