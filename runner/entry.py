"""The command line: a command of Runner's, or an experiment through Hydra."""

from __future__ import annotations

import contextlib
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from runner import commands, screen
from runner.compose import job_composition, parse_arguments, validate
from runner.errors import InputError, RunnerError, suggest
from runner.experiment import run_experiment, show_plan
from runner.loading import CONFIG_DIRECTORY, CONFIG_NAME
from runner.locate import open_run
from runner.preflight import plan
from runner.progress import Sweep, progress_bar

# Hydra 1.3 must be told whose defaults to use; 1.4 has one set of them and warns if told.
_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


def script() -> None:
    """Run the command line and exit with its code."""
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
        return _experiment(arguments)
    except RunnerError as error:
        return commands.tell(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the run in hand was not published\n")
        return 130


def _command(arguments: Sequence[str]) -> int:
    if arguments[0] not in commands.NAMES:
        known = ", ".join(commands.NAMES)
        advice = suggest(arguments[0], commands.NAMES) or f"the commands are {known}"
        raise InputError.of(arguments[0], "unknown command", advice)
    return commands.main(arguments)


def _experiment(arguments: Sequence[str]) -> int:
    parsed = parse_arguments(arguments)
    only_asking = parsed.help or parsed.hydra_help or parsed.shell_completion
    run_id = secrets.token_hex(4)
    jobs = 1 if only_asking else validate(parsed, run_id)
    invocation = _Invocation(run_id, jobs)
    with _command_line(arguments):
        hydra.main(config_path=str(CONFIG_DIRECTORY), config_name=CONFIG_NAME, **_BASE)(
            invocation.job
        )()
    return invocation.close()


class _Invocation:
    """What Hydra calls for every job; no error passes through Hydra, which would print it."""

    def __init__(self, run_id: str, jobs: int) -> None:
        self._run_id = run_id
        self._jobs = jobs
        self._sweep: Sweep | None = None
        self._folder = Path()
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
        if self._sweep is None:
            self._sweep = Sweep(self._jobs)
            self._sweep.start()
        failure = None
        try:
            run_experiment(job_composition(cfg), self._folder, run_id=run_id, sweep=self._run_id)
        except RunnerError as error:
            failure = error
        self._sweep.finished(self._folder, failure)

    def close(self) -> int:
        """Say what became of the jobs and return the exit code."""
        if self._sweep is not None:
            self._sweep.stop()
            sys.stdout.write(self._sweep.closing(self._folder.parent))
            return 1 if self._sweep.failed else 0
        _remove_empty(self._folder)
        if self._error is not None:
            raise self._error
        return 0


def _remove_empty(folder: Path) -> None:
    """Remove the folder that Hydra made for a run that was not published."""
    for path in (folder, *folder.parents):
        if path == Path.cwd():
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
