"""A command of ``runner``: its arguments, what it does, and its line in the help."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

RUN = "a path, the beginning of an id, a name, last (default), last~1"
"""Help of an argument that names a run."""


@dataclass(frozen=True)
class Command:
    """A command.

    Its module is imported to show the help of all commands; the libraries and modules that only
    `run` and `arguments` need are best imported there.

    Attributes
    ----------
    run
        Carries out the command and returns its exit code; ``None`` stands for 0. An error of
        `runner.errors` becomes one line on stderr and its exit code. Its docstring is the
        command's own help.
    arguments
        Adds its arguments to the parser.
    about
        What the command does, for the list of commands in ``runner --help``.
    usage
        Its positional arguments in that list, such as ``A B`` or ``[RUN]``.
    order
        Place among Runner's own commands in lists.
    """

    run: Callable[[Namespace], int | None]
    arguments: Callable[[ArgumentParser], None]
    about: str
    usage: str = ""
    order: int = 100


def add_outputs(parser: ArgumentParser) -> None:
    """Add the argument of a command that reads runs: the folder in which they are found."""
    from runner.local_paths import OUTPUTS

    parser.add_argument(
        "--outputs", default=OUTPUTS, metavar="DIR", help="folder or URL of the runs"
    )


def add_tolerances(parser: ArgumentParser) -> None:
    """Add the arguments of a command that compares two runs value by value."""
    parser.add_argument("--rtol", type=float, metavar="X", help="relative tolerance")
    parser.add_argument("--atol", type=float, metavar="X", help="relative to a layer's scale")
    parser.add_argument("--exact", action="store_true", help="require identical bits")
    add_outputs(parser)


def count(text: str) -> int:
    """Return the number in an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return int(text)
