"""The command that explains a value."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.command_line.command import RUN, Command, add_outputs
from runner.command_line.messages import put


def _explain(arguments: Namespace) -> None:
    """Show how one value was computed, or the values of a layer for one sample."""
    from runner.runs.locate import open_run
    from runner.screen import explain

    unit, name = arguments.unit, arguments.run
    if unit is not None and name is None and not explain.UNIT.fullmatch(unit):
        unit, name = None, unit  # `explain hidden small`: the layer's values in that run
    run = open_run(name or "last", arguments.outputs)
    if unit is None:
        put(explain.show_row(run, arguments.layer, arguments.sample))
    else:
        put(explain.show(run, arguments.layer, unit, arguments.sample))


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("layer", metavar="LAYER", help="path of the layer, as in `show`")
    parser.add_argument(
        "unit", metavar="UNIT", nargs="?", help="u0, u1, ...; by default all units of the layer"
    )
    parser.add_argument("run", metavar="RUN", nargs="?", help=RUN)
    parser.add_argument("--sample", metavar="ID", help="id of a sample (default: the first)")
    add_outputs(parser)


EXPLAIN = Command(
    _explain,
    _arguments,
    about="show how one value was computed",
    usage="LAYER UNIT [RUN]",
    order=30,
)
