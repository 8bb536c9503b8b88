"""The command that compares two runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.command_line.command import RUN, Command, add_tolerances
from runner.command_line.messages import put


def _diff(arguments: Namespace) -> int:
    """Compare two runs value by value."""
    from runner.runs.locate import open_run
    from runner.sameness.difference import diff
    from runner.screen import differences

    a, b = (open_run(run, arguments.outputs) for run in (arguments.a, arguments.b))
    found = diff(a, b, rtol=arguments.rtol, atol=arguments.atol, exact=arguments.exact,
                 align=arguments.align)  # fmt: skip
    put(differences.told(found))
    return 0 if found.same else 1


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help=RUN)
    parser.add_argument("b", metavar="B", help="the second run, named in the same way")
    parser.add_argument("--align", choices=("name", "order"), default="name",
                        help="pair layers by name, or by order if renamed")  # fmt: skip
    add_tolerances(parser)


DIFF = Command(_diff, _arguments, about="compare two runs", usage="A B", order=40)
