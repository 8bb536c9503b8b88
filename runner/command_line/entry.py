"""The command line: a command of Runner's, or an experiment through Hydra."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from runner.command_line.progress import Sweep, progress_bar
from runner.config.compose import admit, job_composition, parse_arguments, validate
from runner.config.loading import CONFIG_DIRECTORY, CONFIG_NAME
from runner.errors import InputError, RunnerError, suggest
from runner.record.publication import make_folder

# What else is needed is imported where it is used: it brings pandas, for which neither help
# nor a mistake should wait.

# Hydra 1.3 must be told whose defaults to use; 1.4 has one set of them and warns if told.
_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def script() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):  # a legacy console may lack a letter of a name
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run a command line.

    Returns
    -------
    int
        0 done, 1 a run failed or a comparison found a difference, 2 bad input.
    """
    try:
        if arguments and re.fullmatch(r"[^\W\d][\w-]*", arguments[0]):
            return _command(arguments)
        code = _experiment(arguments)
        sys.stdout.flush()
    except RunnerError as error:
        from runner.command_line.commands import tell

        if "hydra.verbose=true" in arguments:
            traceback.print_exception(error)
        return tell(error)
    except SystemExit as stopped:  # how argparse and Hydra end
        return stopped.code if isinstance(stopped.code, int) else 0
    except BrokenPipeError:  # the reader has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the run in hand was not published\n")
        return 130
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
    jobs, folder = 0, Path()
    if parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion:
        admit(parsed, run_id)
    else:
        jobs, folder = validate(parsed, run_id)
    invocation = _Invocation(run_id, jobs, folder)
    if jobs:
        invocation.try_folder()
    hydra_main = hydra.main(config_path=str(CONFIG_DIRECTORY), config_name=CONFIG_NAME, **_BASE)
    try:
        with _command_line(arguments):
            hydra_main(invocation.job)()
    finally:
        invocation.stop()
    return invocation.close()


class _Invocation:
    """What Hydra calls for every job; no error passes through Hydra, which would print it."""

    def __init__(self, run_id: str, jobs: int, folder: Path) -> None:
        self._run_id = run_id
        self._jobs = jobs
        # The folder and its parents are made for the run; those there already are not ours.
        self._folder = folder.absolute()
        own = (self._folder, *self._folder.parents)
        self._existing = next(path for path in own if path.exists())
        self._sweep: Sweep | None = None
        self._error: BaseException | None = None

    def job(self, cfg: DictConfig) -> None:
        """Run one job and keep what became of it."""
        context = HydraConfig.get()
        self._folder = Path(context.runtime.output_dir)
        if context.mode is RunMode.MULTIRUN:
            self._job_of_sweep(cfg, f"{self._run_id}-{context.job.num}")
            return
        try:
            self._single(cfg)
        except BaseException as error:  # raised again when Hydra is through
            self._error = error

    def _single(self, cfg: DictConfig) -> None:
        from runner.experiment.experiment import run_experiment, show_plan
        from runner.preflight import plan
        from runner.runs.locate import open_run
        from runner.screen import screen

        composition = job_composition(cfg)
        if composition.experiment.dry_run:
            showing = show_plan(composition)
            sys.stdout.write(plan(showing.specs, showing.rows, composition.experiment.format))
            return
        with progress_bar() as progress:
            published = run_experiment(
                composition, self._folder, run_id=self._run_id, progress=progress
            )
        sys.stdout.write(screen.show(open_run(published)))

    def _job_of_sweep(self, cfg: DictConfig, run_id: str) -> None:
        from runner.experiment.experiment import run_experiment

        if self._sweep is None:
            self._sweep = Sweep(self._jobs)
            self._sweep.start()
        failure = None
        try:
            run_experiment(job_composition(cfg), self._folder, run_id=run_id, sweep=self._run_id)
        except RunnerError as error:
            failure = error
        self._sweep.finished(self._folder, failure)

    def try_folder(self) -> None:
        """Refuse a folder that cannot be made, which Hydra would end in a traceback.

        It is made for a moment only: its name may hold the time at which Hydra asks for it.
        """
        make_folder(self._folder)
        self._remove_empty()

    def stop(self) -> None:
        """Give the terminal back."""
        if self._sweep is not None:
            self._sweep.stop()

    def close(self) -> int:
        """Say what became of the jobs and return the exit code."""
        if self._sweep is not None:
            sys.stdout.write(self._sweep.closing(self._folder.parent))
            return 1 if self._sweep.failed else 0
        self._remove_empty()
        if self._error is not None:
            raise self._error
        return 0

    def _remove_empty(self) -> None:
        """Remove the folders that Hydra made for a run that was not published."""
        for path in (self._folder, *self._folder.parents):
            if path == self._existing:
                return
            try:
                path.rmdir()
            except OSError:  # not empty, or not there
                return


@contextlib.contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra, which reads ``sys.argv``, see these arguments."""
    before = sys.argv
    sys.argv = ["runner", *arguments]
    try:
        yield
    finally:
        sys.argv = before
