"""The command that repeats a run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from runner.command_line.command import RUN, Command, add_tolerances
from runner.command_line.messages import put
from runner.errors import RunError, one_line
from runner.local_paths import local_path


def _rerun(arguments: Namespace) -> int:
    """Repeat a run from its record and compare the two runs."""
    from runner.runs.locate import open_run
    from runner.sameness.difference import diff
    from runner.sameness.repetition import code_of, repeated
    from runner.screen import differences

    run = open_run(arguments.run, arguments.outputs)
    trusts = arguments.trust_code or _agreed(code_of(run))
    output = arguments.output and local_path(arguments.output, "--output")
    folder = Path(tempfile.mkdtemp(prefix="runner-rerun-"))
    try:
        again = repeated(run, output or folder / "run", trust_code=trusts)
        found = diff(run, again, rtol=arguments.rtol, atol=arguments.atol, exact=arguments.exact)
        put(differences.told(found))
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


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default="last", help=RUN)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to keep the new run")
    parser.add_argument("--trust-code", action="store_true",
                        help="run the Python code that the record names")  # fmt: skip
    add_tolerances(parser)


RERUN = Command(
    _rerun,
    _arguments,
    about="repeat a run and compare the two",
    usage="[RUN]",
    order=50,
)
