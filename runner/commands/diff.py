"""The command that compares two runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import RUN, Command, add_tolerances
from runner.command_line.messages import put


def _diff(arguments: Namespace) -> int:
    """Compare two runs value by value."""
    from runner.runs.locate import open_run
    from runner.sameness.difference import diff
    from runner.screen.diff import told

    a, b = (open_run(run, arguments.outputs) for run in (arguments.a, arguments.b))
    is_new = arguments.map is not None and not Path(arguments.map).exists()
    found = diff(a, b, rtol=arguments.rtol, atol=arguments.atol, exact=arguments.exact,
                 align=arguments.align, map=arguments.map)  # fmt: skip
    put(told(found))
    if is_new:
        put(f"map    {arguments.map} was written: check its pairs\n")
    return 0 if found.same else 1


def _arguments(parser: ArgumentParser) -> None:
    from runner.sameness.pairing import PAIRINGS

    parser.add_argument("a", metavar="A", help=RUN)
    parser.add_argument("b", metavar="B", help="the second run, named in the same way")
    parser.add_argument("--align", choices=[*PAIRINGS],
                        help="pair layers by name, order, or what they share")  # fmt: skip
    parser.add_argument("--map", metavar="FILE",
                        help="pair layers as a file says, or write it")  # fmt: skip
    add_tolerances(parser)


DIFF = Command(_diff, _arguments, about="compare two runs", usage="A B", order=40)
