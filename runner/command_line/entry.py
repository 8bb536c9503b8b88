"""The command line: a command of Runner's, or an experiment through Hydra."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner.command_line.progress import closing, progress_bar, sweep_bar
from runner.config.compose import Asked, admit, merging, parse_arguments, validate
from runner.config.composition import composition_of
from runner.config.loading import CONFIG_DIRECTORY, CONFIG_NAME
from runner.errors import InputError, RunError, RunnerError, suggest
from runner.record.publication import make_folder

# What else is needed is imported where it is used: it brings pandas, for which neither help
# nor a mistake should wait.

# Hydra 1.3 must be told whose defaults to use; 1.4 has one set of them and warns if told.
_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


# By these a cluster announces the end; unheeded, nothing would be tidied up.
_ENDING = ("SIGTERM", "SIGUSR1", "SIGUSR2")


def script() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):  # a legacy console may lack a letter of a name
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.filterwarnings("ignore", "Support for .yml files")  # said where one is asked for
    for name in _ENDING:
        if hasattr(signal, name):  # Windows lacks some
            signal.signal(getattr(signal, name), _stop)
    sys.exit(main(sys.argv[1:]))


class _Stopped(KeyboardInterrupt):
    """What a signal is taken for, with its number."""


def _stop(number: int, _: FrameType | None) -> None:
    raise _Stopped(number)


def main(arguments: Sequence[str]) -> int:
    """Run a command line.

    Returns
    -------
    int
        0 done, 1 a run failed or a comparison found a difference, 2 bad input, 3 out of
        memory, 128 and the number of the signal that stopped it.
    """
    try:
        if arguments and re.fullmatch(r"[^\W\d][\w-]*", arguments[0]):
            return _command(arguments)
        code = _experiment(arguments)
        sys.stdout.flush()
    except (RunnerError, MemoryError) as error:
        from runner.command_line.commands import tell

        if "hydra.verbose=true" in arguments:
            traceback.print_exception(error)
        return tell(error)
    except SystemExit as stopped:  # how argparse and Hydra end
        return stopped.code if isinstance(stopped.code, int) else 0
    except BrokenPipeError:  # the reader has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stopped:
        what = "the run in hand was not published"
        if stopped.args and isinstance(stopped.args[0], str):
            what = stopped.args[0]
        sys.stderr.write(f"interrupted; {what}\n")
        return 128 + (stopped.args[0] if isinstance(stopped, _Stopped) else signal.SIGINT)
    return code


def _command(arguments: Sequence[str]) -> int:
    from runner.command_line import commands

    if arguments[0] not in commands.NAMES:
        known = ", ".join(commands.NAMES)
        advice = suggest(arguments[0], commands.NAMES) or f"the commands are {known}"
        raise InputError.of(arguments[0], "unknown command", advice)
    return commands.main(arguments)


def _experiment(arguments: Sequence[str]) -> int:
    parsed = parse_arguments(arguments)
    run_id = secrets.token_hex(4)
    if parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion:
        admit(parsed, run_id)
        _call_hydra(_no_job, arguments)
        return 0
    asked = validate(parsed, run_id)
    with _folder_tried(asked.folder):
        run = _sweep if asked.is_sweep else _single
        return run(merging(arguments), merging(parsed.overrides), asked, run_id)


def _no_job(cfg: DictConfig) -> None:
    raise AssertionError(f"Hydra was only to show something, and began {cfg}")


def _single(arguments: Sequence[str], overrides: Sequence[str], asked: Asked, run_id: str) -> int:
    """Run one experiment; no error passes through Hydra, which would print it."""
    errors: list[BaseException] = []

    def job(cfg: DictConfig) -> None:
        try:
            _run(cfg, asked.folder, run_id)
        except BaseException as error:  # raised again when Hydra is through
            errors.append(error)

    _call_hydra(job, _with(arguments, overrides, asked.folder_word))
    for error in errors:
        raise error
    return 0


def _run(cfg: DictConfig, folder: Path, run_id: str) -> None:
    from runner.command_line.commands import plain_warnings, put
    from runner.experiment.experiment import run_experiment, show_plan
    from runner.preflight import plan
    from runner.runs.locate import open_run
    from runner.screen import screen

    composition = composition_of(cfg, HydraConfig.instance().cfg)
    if composition.experiment.dry_run:
        showing = show_plan(composition)
        table_format, times = composition.experiment.format, showing.settings.times
        put(plan(showing.specs, showing.rows, table_format, times))
        return
    with progress_bar() as progress, plain_warnings():
        published = run_experiment(composition, folder, run_id=run_id, progress=progress)
    try:
        shown = screen.show(open_run(published))
    except InputError as error:  # nothing that was asked for is wrong
        raise RunError(f"{error}; the run was published") from error
    put(shown)


def _sweep(arguments: Sequence[str], overrides: Sequence[str], asked: Asked, run_id: str) -> int:
    """Run the jobs of a sweep; what became of them, their records say."""
    from runner.command_line.commands import plain_warnings, put
    from runner.command_line.sweep_task import SweepTask
    from runner.experiment.earlier import held, outcomes_of, sweep_of

    sweep_id = sweep_of(asked.folder) or run_id
    # Said outright, so that every process means the same folder and the same sweep; quoted,
    # because an id may look like a number.
    ids = f"hydra.sweeper.run_id='{run_id}'", f"hydra.sweeper.sweep_id='{sweep_id}'"
    stopped = None
    with held(asked.folder), sweep_bar(len(asked.jobs)) as advance, plain_warnings():
        try:
            words = _with(arguments, overrides, asked.folder_word, *ids)
            _call_hydra(SweepTask(advance), words)
        except KeyboardInterrupt as interruption:
            stopped = interruption
    jobs = len(asked.jobs)
    outcomes = outcomes_of(asked.folder, asked.jobs)
    put(closing(asked.folder, outcomes, jobs))
    if stopped is not None:
        again = shlex.join(_with(arguments, overrides, asked.folder_word))
        sys.stdout.write(f"\nto go on: python -m runner {again}\n")
        raise stopped
    return 1 if len(outcomes) < jobs or any(outcomes.values()) else 0


def _with(arguments: Sequence[str], overrides: Sequence[str], *more: str) -> list[str]:
    """Return a command line with more overrides, which must stand beside those it has."""
    words = list(arguments)
    place = words.index(overrides[-1]) + 1 if overrides else len(words)
    said = {word.partition("=")[0] for word in words if "${" not in word}
    new = [word for word in more if word.partition("=")[0] not in said]
    return [*words[:place], *new, *words[place:]]


def _call_hydra(task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    hydra_main = hydra.main(config_path=str(CONFIG_DIRECTORY), config_name=CONFIG_NAME, **_BASE)
    with _command_line(arguments):
        hydra_main(task)()


@contextlib.contextmanager
def _folder_tried(folder: Path) -> Iterator[None]:
    """Refuse a folder that cannot be made, which Hydra would end in a traceback.

    Of the folders made for it, those that are empty in the end are removed.
    """
    folder = folder.absolute()
    own = (folder, *folder.parents)
    made = list(itertools.takewhile(lambda path: not path.exists(), own))
    make_folder(folder)
    try:
        yield
    finally:
        for path in made:
            try:
                path.rmdir()
            except OSError:  # not empty, or not there
                break


@contextlib.contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra, which reads ``sys.argv``, see these arguments."""
    before = sys.argv
    sys.argv = ["runner", *arguments]
    try:
        yield
    finally:
        sys.argv = before
