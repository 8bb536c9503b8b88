"""What `runner` does besides running: show, list, explain and schema."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.errors import InputError, RunnerError
from runner.runs.locate import OUTPUTS, find_runs, open_run
from runner.runs.published_run import Run

NAMES = ("show", "list", "explain", "schema")

_COLUMNS = ("id", "name", "ended", "status", "model", "seed", "overrides")

_RUN = "a path, the beginning of an id, a name, last (default), last~1"


def tell(error: RunnerError) -> int:
    """Write an error to stderr, one line a problem, and return the exit code it stands for.

    With ``RUNNER_TRACEBACK=1`` its traceback comes first.
    """
    if os.environ.get("RUNNER_TRACEBACK") == "1":
        traceback.print_exception(error)
    for line in error.problems if isinstance(error, InputError) else [error]:
        sys.stderr.write(f"error: {line}\n")
    return 2 if isinstance(error, InputError) else 1


def main(arguments: Sequence[str]) -> int:
    """Run one command, whose name is the first argument, and return its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _warn
            parsed = _parser().parse_args(arguments)
            parsed.command(parsed)
            sys.stdout.flush()
    except RunnerError as error:
        return tell(error)
    except BrokenPipeError:  # the reader has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _show(arguments: argparse.Namespace) -> None:
    """Show what a run put out."""
    from runner.screen import screen

    sys.stdout.write(screen.show(open_run(arguments.run, arguments.outputs)))


def _list(arguments: argparse.Namespace) -> None:
    """List the runs there are, the newest first."""
    runs = find_runs(arguments.outputs)
    shown = runs[::-1][: arguments.limit]
    if shown:
        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for column in table.columns:
            column.overflow = "fold"
        for run in shown:
            table.add_row(*map(Text, _cells(run)))
        # In a pipe, a line a run however long.
        console = Console(width=None if sys.stdout.isatty() else 10_000)
        with console.capture() as capture:
            console.print(table)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    if len(shown) < len(runs) or not runs:
        sys.stdout.write(f"{len(shown)} of {len(runs)} runs in {arguments.outputs}\n")


def _cells(run: Run) -> list[str]:
    record = run.record
    return [
        record.run_id,
        record.name or "",
        f"{record.ended.astimezone():%Y-%m-%d %H:%M:%S}",
        record.status,
        record.model.model_class if record.model is not None else "",
        "" if record.seed is None else str(record.seed),
        " ".join(record.overrides),
    ]


def _explain(arguments: argparse.Namespace) -> None:
    """Spell out the arithmetic of one value."""
    from runner.screen import explain

    run = open_run(arguments.run, arguments.outputs)
    sys.stdout.write(explain.show(run, arguments.layer, arguments.unit, arguments.sample))


def _schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema that completes a config in an editor."""
    from runner.config import schema

    text = json.dumps(schema.json_schema(), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError.of(
            str(arguments.output), f"cannot be written: {error.strerror}"
        ) from error


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints look like all others."""

    def error(self, message: str) -> NoReturn:
        raise InputError.of(self.prog, message, f"{self.prog} --help lists the arguments")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="runner", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        about = (does.__doc__ or "").strip().rstrip(".")
        added = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.set_defaults(command=does)
        return added

    def reads_runs(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--outputs", type=Path, default=OUTPUTS, metavar="DIR", help="where runs are"
        )

    show = command("show", _show)
    show.add_argument("run", metavar="RUN", nargs="?", default="last", help=_RUN)
    reads_runs(show)

    listing = command("list", _list)
    listing.add_argument("--limit", type=_count, default=20, metavar="N", help="at most so many")
    reads_runs(listing)

    explaining = command("explain", _explain)
    explaining.add_argument("layer", metavar="LAYER", help="its path, as `show` has it")
    explaining.add_argument("unit", metavar="UNIT", help="u0, u1, ...")
    explaining.add_argument("run", metavar="RUN", nargs="?", default="last", help=_RUN)
    explaining.add_argument("--sample", required=True, metavar="ID", help="a sample of the probe")
    reads_runs(explaining)

    schema = command("schema", _schema)
    schema.add_argument("--output", type=Path, metavar="FILE", help="a file instead of the screen")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return int(text)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {message}\n")
