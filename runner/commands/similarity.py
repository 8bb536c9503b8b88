"""The command that compares representations."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import Command, add_outputs, count
from runner.command_line.messages import put, write_csv
from runner.command_line.progress import comparison_bar


def _similarity(arguments: Namespace) -> None:
    """Compare how the layers of runs represent the same samples."""
    from runner.runs.locate import open_runs
    from runner.screen.similarity import told
    from runner.similarity.matrices import matrices_of

    asked = arguments.layers
    runs = open_runs(arguments.runs or "last", arguments.outputs)
    layers = asked if asked in ("same", "all") else asked.split(",")
    with comparison_bar() as progress:
        frame = runs.similarity(
            arguments.metric,
            layers,
            step=arguments.step,
            max_bytes=arguments.max_bytes,
            progress=progress,
        )
    if arguments.csv is not None:
        write_csv(arguments.csv, frame)
    labels, about = runs.labels()
    if arguments.figure is not None:
        from runner.plots.files import save_figure
        from runner.plots.similarity_figures import matrices_figure

        figure = matrices_figure(matrices_of(frame), labels, about, arguments.metric)
        save_figure(figure, arguments.figure)
    put(told(frame, labels, about, arguments.step))


def _arguments(parser: ArgumentParser) -> None:
    from runner.plots.files import ENDINGS
    from runner.similarity.measures import MEASURES
    from runner.similarity.pairs import MAX_BYTES

    parser.add_argument("runs", metavar="RUNS", nargs="*", help="runs or sweeps; default: last")
    parser.add_argument("--metric", default="cka", help=f"one of {', '.join(MEASURES.own)}, with "
                        "its options: knn:neighbours=5")  # fmt: skip
    parser.add_argument("--layers", default="same", help="same, all, or comma-separated names")
    parser.add_argument("--step", type=_step, metavar="N",
                        help="a step of the trainings, or last (default)")  # fmt: skip
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table of every pair")
    parser.add_argument("--figure", type=Path, metavar="FILE",
                        help=f"draw the matrices to a file: {', '.join(ENDINGS)}")  # fmt: skip
    parser.add_argument("--max-bytes", type=count, default=MAX_BYTES, metavar="N",
                        help="limit on the memory for pairs, in bytes")  # fmt: skip
    add_outputs(parser)


def _step(text: str) -> int | None:
    if text != "last" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a step's number or last, found '{text}'")
    return None if text == "last" else int(text)


SIMILARITY = Command(
    _similarity,
    _arguments,
    about="compare the representations of layers",
    usage="[RUNS]",
    order=70,
)
