"""The command that shows the effects of interventions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put, write_csv


def _effects(arguments: Namespace) -> None:
    """Show what interventions did to the outputs of the model, the largest effects first."""
    from runner.runs.locate import open_one_or_more
    from runner.screen.effects import told

    runs = open_one_or_more(arguments.run, arguments.outputs)
    frame = runs.effects(arguments.by)
    if arguments.csv is not None:
        write_csv(arguments.csv, frame)
    put(told(runs, frame))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="last", help=RUN)
    parser.add_argument(
        "--by", choices=("class", "sample"), help="for each class or sample (effects.by=[class])"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table of all effects")
    add_outputs(parser)


EFFECTS = Command(
    _effects,
    _arguments,
    about="show what interventions did to the output",
    usage="[RUN]",
    order=45,
)
