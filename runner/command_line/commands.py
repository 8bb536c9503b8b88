"""The commands of ``runner`` other than running experiments."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from runner.command_line.progress import comparison_bar
from runner.errors import (
    DamagedError,
    InputError,
    RunError,
    RunnerError,
    one_line,
    short_line,
    suggest,
)
from runner.local_paths import local_path
from runner.preflight import readable
from runner.runs.locate import (
    OUTPUTS,
    look_below,
    open_one_or_more,
    open_run,
    open_runs,
    run_folders,
    warn_of,
)
from runner.runs.unreadable import Unreadable
from runner.similarity.matrices import matrices_of
from runner.similarity.measures import MEASURES
from runner.similarity.pairs import MAX_BYTES

NAMES = ("show", "list", "explain", "report", "diff", "rerun", "verify", "similarity", "schema")

Command = Callable[[argparse.Namespace], int | None]

_CSV_ROWS = 100_000  # written at a time

_RUN = "a path, the beginning of an id, a name, last (default), last~1"


def tell(error: RunnerError | MemoryError) -> int:
    """Write an error to stderr, one line per problem, and return its exit code.

    The exit code is 2 for invalid input, 3 if memory ran out, 1 otherwise. With
    ``RUNNER_TRACEBACK=1`` the traceback is written first.
    """
    if os.environ.get("RUNNER_TRACEBACK") == "1":
        traceback.print_exception(error)
    lines = str(error).splitlines()
    for line in lines if isinstance(error, InputError) else [" ".join(lines)]:
        what = line
        if not isinstance(error, RunnerError):
            what = f"memory ran out: {line or type(error).__name__}"
        sys.stderr.write(f"error: {short_line(what)}\n")
    if isinstance(error, MemoryError):
        return 3
    return 2 if isinstance(error, InputError) else 1


def put(text: str) -> None:
    """Write a text to stdout, with terminal controls escaped as it may hold foreign names."""
    with contextlib.suppress(BrokenPipeError):  # the reader closed the pipe
        sys.stdout.write("\n".join(map(one_line, text.split("\n"))))


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Write warnings raised inside the context to stderr, one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        yield


def main(arguments: Sequence[str]) -> int:
    """Run one command, whose name is the first argument, and return its exit code."""
    try:
        with plain_warnings():
            warnings.simplefilter("always", UserWarning)
            parsed = _parser().parse_args(arguments)
            code = parsed.command(parsed)
            return 0 if code is None else int(code)
    except (RunnerError, MemoryError) as error:
        return tell(error)


def _show(arguments: argparse.Namespace) -> None:
    """Show the outputs of a run, or the runs of a sweep."""
    from runner.screen import screen

    runs = list(open_one_or_more(arguments.run, arguments.outputs))
    put(screen.show(runs[0]) if len(runs) == 1 else screen.show_several(runs))


def _list(arguments: argparse.Namespace) -> None:
    """List the saved runs, newest first."""
    from runner.screen import run_list

    if arguments.outputs != OUTPUTS and not arguments.outputs.is_dir():
        raise InputError.of("--outputs", f"there is no folder '{arguments.outputs}'")
    runs = look_below(arguments.outputs)
    warn_of(runs.unreadable)
    # In a pipe, one line per run however long.
    put(run_list.listed(runs, arguments.limit, None if sys.stdout.isatty() else 10_000))
    if arguments.limit < len(runs) or not (len(runs) or runs.unreadable):
        put(f"{min(arguments.limit, len(runs))} of {len(runs)} runs in {arguments.outputs}\n")


def _explain(arguments: argparse.Namespace) -> None:
    """Show how one value was computed, or the values of a layer for one sample."""
    from runner.screen import explain

    unit, name = arguments.unit, arguments.run
    if unit is not None and name is None and not explain.UNIT.fullmatch(unit):
        unit, name = None, unit  # `explain hidden small`: the layer's values in that run
    run = open_run(name or "last", arguments.outputs)
    if unit is None:
        put(explain.show_row(run, arguments.layer, arguments.sample))
    else:
        put(explain.show(run, arguments.layer, unit, arguments.sample))


def _diff(arguments: argparse.Namespace) -> int:
    """Compare two runs value by value."""
    from runner.sameness.difference import diff
    from runner.screen import comparison

    a, b = (open_run(run, arguments.outputs) for run in (arguments.a, arguments.b))
    found = diff(a, b, rtol=arguments.rtol, atol=arguments.atol, exact=arguments.exact,
                 align=arguments.align)  # fmt: skip
    put(comparison.told(found))
    return 0 if found.same else 1


def _rerun(arguments: argparse.Namespace) -> int:
    """Repeat a run from its record and compare the two runs."""
    from runner.sameness.difference import diff
    from runner.sameness.repetition import code_of, repeated
    from runner.screen import comparison

    run = open_run(arguments.run, arguments.outputs)
    trusts = arguments.trust_code or _agreed(code_of(run))
    output = arguments.output and local_path(arguments.output, "--output")
    folder = Path(tempfile.mkdtemp(prefix="runner-rerun-"))
    try:
        again = repeated(run, output or folder / "run", trust_code=trusts)
        found = diff(run, again, rtol=arguments.rtol, atol=arguments.atol, exact=arguments.exact)
        put(comparison.told(found))
    except RunError:
        raise  # keep the log, which the error names
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return 0 if found.same else 1


def _agreed(code: list[str]) -> bool:
    """Return whether the user agrees to run code, if there is code and a terminal to ask on."""
    if not code or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(one_line(f"the record names Python code: {', '.join(code)}. Run it? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _verify(arguments: argparse.Namespace) -> int:
    """Check every file of a run, or of all runs below a folder, against its record."""
    from runner.sameness.verification import verified

    folder = Path(arguments.run)
    meant = list(run_folders(folder)) if arguments.run else []
    if meant in ([], [folder]):
        meant = [run.path for run in open_one_or_more(arguments.run, arguments.outputs)]
    wrong = 0
    for path in meant:
        if isinstance(path, Unreadable):
            tell(DamagedError.of("", path.why))
            wrong += 1
    folders = [path for path in meant if not isinstance(path, Unreadable)]
    for path, found in verified(folders):
        if isinstance(found, DamagedError):  # the record itself is damaged
            if len(meant) == 1:
                raise found
            tell(found)
            wrong += 1
            continue
        start = f"{path}/" if len(meant) > 1 else ""
        for line in found.wrong:
            sys.stderr.write(f"error: {short_line(start + line)}\n")
        put(f"{found.run}: {found.files} files, {len(found.wrong) or 'none'} wrong\n")
        wrong += len(found.wrong)
    return 1 if wrong else 0


def _similarity(arguments: argparse.Namespace) -> None:
    """Compare how the layers of runs represent the same samples."""
    from runner.screen import likeness

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
        with written_to(arguments.csv) as file:
            frame.to_csv(file, index=False, chunksize=_CSV_ROWS)
    labels, about = runs.labels()
    if arguments.figure is not None:
        from runner.plots.files import save_figure
        from runner.plots.sweep_figures import matrices_figure

        figure = matrices_figure(matrices_of(frame), labels, about, arguments.metric)
        save_figure(figure, arguments.figure)
    put(likeness.told(frame, labels, about, arguments.step))


def _report(arguments: argparse.Namespace) -> None:
    """Write a page of figures about a run or a sweep."""
    from runner.report.writing import write_report

    runs = open_runs(arguments.run, arguments.outputs)
    with comparison_bar() as progress:
        path = write_report(runs, arguments.output, progress)
    put(f"written {path}, {readable(path.stat().st_size)}\n")


def _schema(arguments: argparse.Namespace) -> None:
    """Write the JSON schema with which editors complete and check configurations."""
    from runner.config import schema

    text = json.dumps(schema.json_schema(), indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return
    write_file(arguments.output, text)


def write_file(path: Path, text: str) -> None:
    """Write a text to a file named by the user."""
    with written_to(path) as file:
        file.write(text)


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[TextIO]:
    """Open a file named by the user for writing.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    local_path(path, "file")
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise InputError.of(str(path), f"cannot be written: {error.strerror}") from error


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError for invalid arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError.of(self.prog, message, f"{self.prog} --help lists the arguments")

    def parse_known_args(self, *arguments: Any, **more: Any) -> tuple[Any, list[str]]:
        """Raise InputError for an unknown argument, with a suggestion."""
        known, unknown = super().parse_known_args(*arguments, **more)
        if unknown:
            word = unknown[0].partition("=")[0]
            advice = suggest(word, self._option_string_actions)
            raise InputError.of(
                self.prog,
                f"unknown argument '{word}'",
                advice or f"{self.prog} --help lists the arguments",
            )
        return known, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="runner", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Command) -> argparse.ArgumentParser:
        about = (does.__doc__ or "").strip().rstrip(".")
        added = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.set_defaults(command=does)
        return added

    def reads_runs(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--outputs", type=Path, default=OUTPUTS, metavar="DIR", help="folder of the runs"
        )

    show = command("show", _show)
    show.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="last", help=_RUN)
    reads_runs(show)

    listing = command("list", _list)
    listing.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="largest number of runs"
    )
    reads_runs(listing)

    explaining = command("explain", _explain)
    explaining.add_argument("layer", metavar="LAYER", help="path of the layer, as in `show`")
    explaining.add_argument(
        "unit", metavar="UNIT", nargs="?", help="u0, u1, ...; by default all units of the layer"
    )
    explaining.add_argument("run", metavar="RUN", nargs="?", help=_RUN)
    explaining.add_argument("--sample", metavar="ID", help="id of a sample (default: the first)")
    reads_runs(explaining)

    def compares(added: argparse.ArgumentParser) -> None:
        added.add_argument("--rtol", type=float, metavar="X", help="relative tolerance")
        added.add_argument("--atol", type=float, metavar="X", help="relative to a layer's scale")
        added.add_argument("--exact", action="store_true", help="require identical bits")
        reads_runs(added)

    differing = command("diff", _diff)
    differing.add_argument("a", metavar="A", help=_RUN)
    differing.add_argument("b", metavar="B", help="the second run, named in the same way")
    differing.add_argument("--align", choices=("name", "order"), default="name",
                           help="pair layers by name, or by order if renamed")  # fmt: skip
    compares(differing)

    rerunning = command("rerun", _rerun)
    rerunning.add_argument("run", metavar="RUN", nargs="?", default="last", help=_RUN)
    rerunning.add_argument("--output", type=Path, metavar="DIR", help="folder to keep the new run")
    rerunning.add_argument("--trust-code", action="store_true",
                           help="run the Python code that the record names")  # fmt: skip
    compares(rerunning)

    verifying = command("verify", _verify)
    verifying.add_argument("run", metavar="RUN|SWEEP|DIR", nargs="?", default="last", help=_RUN)
    reads_runs(verifying)

    comparing = command("similarity", _similarity)
    comparing.add_argument("runs", metavar="RUNS", nargs="*", help="runs or sweeps; default: last")
    comparing.add_argument("--metric", default="cka", help=f"one of {', '.join(MEASURES.own)}")
    comparing.add_argument("--layers", default="same", help="same, all, or comma-separated names")
    comparing.add_argument("--step", type=_step, metavar="N",
                           help="a step of the trainings, or last (default)")  # fmt: skip
    comparing.add_argument("--csv", type=Path, metavar="FILE", help="write a table of every pair")
    comparing.add_argument("--figure", type=Path, metavar="FILE",
                           help="draw the matrices to a .svg, .pdf or .png")  # fmt: skip
    comparing.add_argument("--max-bytes", type=_count, default=MAX_BYTES, metavar="N",
                           help="limit on the memory for pairs, in bytes")  # fmt: skip
    reads_runs(comparing)

    report = command("report", _report)
    report.add_argument("run", metavar="RUN|SWEEP", nargs="?", default="last", help=_RUN)
    report.add_argument("--output", type=Path, metavar="FILE",
                        help="file to write (default: beside the run)")  # fmt: skip
    reads_runs(report)

    schema = command("schema", _schema)
    schema.add_argument("--output", type=Path, metavar="FILE",
                        help="file to write (default: standard output)")  # fmt: skip
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number, found '{text}'")
    return int(text)


def _step(text: str) -> int | None:
    if text != "last" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a step's number or last, found '{text}'")
    return None if text == "last" else int(text)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {short_line(str(message))}\n")
