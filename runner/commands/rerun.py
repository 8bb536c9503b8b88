"""The command that repeats a run."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.command_line.command import RUN, Command, add_tolerances
from runner.command_line.messages import put
from runner.errors import InputError, Problem, RunError, RunnerError, one_line
from runner.store_urls import RunPlace, runs_place

if TYPE_CHECKING:
    from runner.experiment.given_weights import GivenWeights
    from runner.runs.published_run import Run
    from runner.sameness.difference import Difference
    from runner.sameness.reference import Reference
    from runner.sameness.repetition import Repetition

_OVERRIDE = re.compile(r"[+~]*[A-Za-z_][\w.@/]*=")


def _rerun(arguments: Namespace) -> int:
    """Repeat a run from its record, as it was or made otherwise, and compare the two."""
    from runner.runs.locate import open_run
    from runner.sameness.repetition import weights_for
    from runner.screen.diff import told, told_elsewhere
    from runner.screen.rerun import told_together

    output = arguments.output and runs_place(arguments.output, "--output")
    name, words = _told_apart(arguments.words)
    run = open_run(name, arguments.outputs)
    several = arguments.multirun
    repetitions = _prepared(run, _jobs(words) if several else [tuple(words)], arguments)
    weights = weights_for(run) if any(each.is_given_weights for each in repetitions) else None
    with _reference(run, repetitions, weights) as reference:
        if not several:
            [only] = repetitions
            found = _compared(only, run, output, weights, reference, arguments)
            how = only.told
            put(told_elsewhere(found, how) if how else told(found))
            return 0 if found.same else 1
        results: dict[str, Difference | RunnerError] = {}
        for number, each in enumerate(repetitions):
            folder = output and output / each.folder_name(number)
            try:
                results[each.told] = _compared(each, run, folder, weights, reference, arguments)
            except RunnerError as error:
                results[each.told] = error
    put(told_together(run.id, results))
    return 0 if all(not isinstance(e, RunnerError) and e.same for e in results.values()) else 1


def _reference(
    run: Run, repetitions: Sequence[Repetition], weights: GivenWeights | None
) -> AbstractContextManager[Reference | None]:
    """Return what the layers of all repetitions are held against, if one is made otherwise."""
    from runner.sameness.floors import reference_for

    if not any(each.told for each in repetitions):
        return contextlib.nullcontext()
    return reference_for(run, weights, trust_code=any(each.trusts_code for each in repetitions))


def _told_apart(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the run that is named, and the overrides."""
    first = words[0] if words else "last"
    if _OVERRIDE.match(first) and not Path(first).exists():
        return "last", words
    return first, words[1:]


def _jobs(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each of several runs."""
    from runner.config.combinations import check_sweeps, jobs_of
    from runner.config.grammar import parsed_overrides

    overrides = parsed_overrides(words)
    check_sweeps(overrides)
    return jobs_of(overrides)


def _prepared(run: Run, jobs: Sequence[tuple[str, ...]], arguments: Namespace) -> list[Repetition]:
    """Check all repetitions; raise InputError with the problems of all."""
    from runner.sameness.repetition import code_of, prepared

    problems: list[Problem] = []
    found = []
    trusts = arguments.trust_code
    for overrides in jobs:
        try:
            trusts = trusts or _agreed(code_of(run, overrides))
            found.append(
                prepared(
                    run,
                    overrides,
                    dict(arguments.env),
                    trust_code=trusts,
                    convert=arguments.convert,
                )
            )
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    return found


def _compared(
    repetition: Repetition,
    run: Run,
    folder: RunPlace | None,
    weights: GivenWeights | None,
    reference: Reference | None,
    arguments: Namespace,
) -> Difference:
    """Make a repetition, and compare its layers, and its weights if they are its own."""
    from runner.runs.published_run import Run
    from runner.sameness.difference import diff

    with _kept(folder) as place:
        given = weights if repetition.is_given_weights else None
        held = reference if repetition.told else None
        again = Run.read(repetition.make(place, given, held))
        return diff(
            run,
            again,
            rtol=arguments.rtol,
            atol=arguments.atol,
            exact=arguments.exact,
            weights=not repetition.told and given is None,
        )


@contextlib.contextmanager
def _kept(folder: RunPlace | None) -> Iterator[RunPlace]:
    """Yield a folder for a new run: the given one, or one that is removed unless the run fails."""
    if folder is not None:
        yield folder
        return
    made = Path(tempfile.mkdtemp(prefix="runner-rerun-"))
    try:
        yield made / "run"
    except RunError:
        raise  # keep the log, which the error names
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    shutil.rmtree(made, ignore_errors=True)


def _agreed(code: list[str]) -> bool:
    """Return whether the user agrees to run code, if there is code and a terminal to ask on."""
    if not code or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(one_line(f"the record names Python code: {', '.join(code)}. Run it? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"expected NAME=VALUE, found '{text}'")
    return name, value


def _arguments(parser: ArgumentParser) -> None:
    from runner.model.exporting import convertible

    about = f"{RUN}; then keys of its configuration with other values: backend=jax"
    parser.add_argument("words", metavar="RUN key=value", nargs="*", help=about)
    parser.add_argument("-m", "--multirun", action="store_true",
                        help="make a run for each value: backend=jax,torch")  # fmt: skip
    parser.add_argument("--env", type=_variable, metavar="NAME=VALUE", action="append", default=[],
                        help="set a variable of the environment for the new run")  # fmt: skip
    parser.add_argument("--convert", choices=convertible(),
                        help="convert the model, and run the file")  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="folder to keep the new run")
    parser.add_argument("--trust-code", action="store_true",
                        help="run the Python code that the record names")  # fmt: skip
    add_tolerances(parser)


RERUN = Command(
    _rerun,
    _arguments,
    about="repeat a run, as it was or made otherwise",
    usage="[RUN] [key=value ...]",
    order=50,
)
