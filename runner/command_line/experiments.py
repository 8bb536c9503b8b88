"""Experiments and sweeps as a command line asks for them, run with Hydra."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import secrets
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from hydra._internal import utils as hydra_utils
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from runner.command_line.help_page import filled_in
from runner.command_line.messages import put
from runner.command_line.progress import closing, progress_bar, sweep_bar
from runner.config.compose import Asked, admit, first_job, merging, validate, with_more
from runner.config.composition import Composition
from runner.config.environment_values import with_seed_filled_in
from runner.config.hydra_arguments import parse_arguments
from runner.config.loading import QUIET
from runner.config.packaged import CONFIG_DIRECTORY, CONFIG_NAME
from runner.errors import InputError, Problem, RunError, is_text
from runner.model.backend import check_backend
from runner.patching import patched
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.local import make_folder

# Other modules are imported where they are used: they import pandas, which would slow down help
# and error messages.


def run_arguments(typed: Sequence[str], check_stopped: Callable[[], None]) -> int:
    """Run what a command line asks of Hydra: an experiment, a sweep, or a page of help.

    Parameters
    ----------
    typed
        The arguments, as typed.
    check_stopped
        Called after each job of a sweep; raises KeyboardInterrupt if a signal was received.

    Returns
    -------
    int
        Exit code: 0 for success, 1 if a run failed.
    """
    warnings.filterwarnings("ignore", QUIET)
    if broken := [word for word in typed if not is_text(word)]:
        raise InputError(Problem(word, "is not UTF-8", "rename the file") for word in broken)
    arguments = with_seed_filled_in(typed)
    parsed = parse_arguments(arguments)
    run_id = secrets.token_hex(4)
    if parsed.help or parsed.hydra_help or parsed.cfg or parsed.info or parsed.shell_completion:
        put(_page(parsed, run_id))
        return 0
    asked = validate(parsed, run_id)
    check_backend(asked.cfg.backend)
    if asked.is_sweep and asked.cfg.parts != 1:
        raise InputError.of("parts", "the runs of a sweep are made whole", "leave it out")
    if asked.is_sweep and asked.is_dry:
        put(_plan_of(first_job(parsed, asked)))
        put(f"\nthe first of {len(asked.jobs):,} runs\n")
        return 0
    with _folder_tried(asked.folder):
        if asked.is_sweep:
            return _sweep(arguments, asked, run_id, check_stopped)
        return _single(arguments, asked, run_id, check_stopped)


def _page(parsed: argparse.Namespace, run_id: str) -> str:
    """Return the page of Hydra that a command line asks for.

    Raises
    ------
    InputError
        If it cannot be made from the files of the user.
    """
    loader, _ = admit(parsed, run_id)
    parsed.overrides = merging(parsed.overrides)
    page = io.StringIO()  # Hydra would show a traceback if stdout fails
    with (
        loader.explaining(parsed.overrides),
        patched(hydra_utils, run_and_report=lambda shown: shown()),  # it would show a traceback
        contextlib.redirect_stdout(page),
        contextlib.suppress(SystemExit),  # after a page of help
    ):
        hydra_utils._run_hydra(
            parsed, get_args_parser(), _no_job, str(CONFIG_DIRECTORY), CONFIG_NAME
        )
    return filled_in(page.getvalue()) if parsed.help else page.getvalue()


def _no_job(cfg: DictConfig) -> None:
    raise AssertionError(f"Hydra should only show a page, but started a job: {cfg}")


def _single(
    arguments: Sequence[str], asked: Asked, run_id: str, check_stopped: Callable[[], None]
) -> int:
    """Run one experiment and show its layers."""
    from runner.experiment.experiment import run_experiment
    from runner.parts.parted_run import PartedRun
    from runner.runs.published_run import Run
    from runner.screen.show import show

    composition = asked.composition()
    if composition.experiment.dry_run:
        put(_plan_of(composition))
        return 0
    if composition.experiment.parts > 1:
        making = PartedRun(asked, composition, run_id)
        try:
            published = making.make(progress_bar, partial(_bar_of_parts, check_stopped))
        except (KeyboardInterrupt, RunError):
            if making.folder.plan() is not None:
                _tell_how_to_continue(arguments, asked)
            raise
    else:
        with progress_bar() as progress:
            published = run_experiment(composition, asked.folder, run_id=run_id, progress=progress)
    try:
        shown = show(Run.read(published))
    except InputError as error:  # the request was valid
        raise RunError(f"{error}; the run was published") from error
    except OSError as error:  # an error of reading does not name its file
        where = error.filename or published.place()
        raise RunError(f"{where}: {error.strerror}; the run was published") from error
    put(shown)
    return 0


def _plan_of(composition: Composition) -> str:
    """Return the tables that a run would write and their sizes, as text."""
    from runner.experiment.experiment import show_plan
    from runner.screen.dry_run import plan

    showing = show_plan(composition)
    table_format, times = composition.experiment.format, showing.settings.times
    return plan(showing.specs, showing.rows, table_format, times, showing.id_bytes)


def _sweep(
    arguments: Sequence[str], asked: Asked, run_id: str, check_stopped: Callable[[], None]
) -> int:
    """Run the jobs of a sweep and report their outcomes, which are read from their records."""
    from runner.experiment.earlier import held, outcomes_of, sweep_of
    from runner.experiment.sweep_task import run_sweep
    from runner.stores.places import store_at

    sweep_id = sweep_of(asked.folder) or run_id
    # Set explicitly, so that every process uses the same folder and the same sweep; quoted,
    # because an id may look like a number.
    ids = f"hydra.sweeper.run_id='{run_id}'", f"hydra.sweeper.sweep_id='{sweep_id}'"
    stopped = None
    with held(asked.folder), sweep_bar(len(asked.jobs)) as advance:

        def finished() -> None:
            advance()
            check_stopped()

        try:
            run_sweep(asked.loader, [*asked.overrides, *ids], asked.folder, finished)
        except KeyboardInterrupt as interruption:
            stopped = interruption
    if stopped is None:
        store_at(asked.folder).index()
    jobs = len(asked.jobs)
    outcomes = outcomes_of(asked.folder, asked.jobs, run_id)
    put(closing(asked.folder, outcomes, jobs))
    if stopped is not None:
        _tell_how_to_continue(arguments, asked)
        raise stopped
    return 1 if len(outcomes) < jobs or any(outcomes.values()) else 0


@contextlib.contextmanager
def _bar_of_parts(check_stopped: Callable[[], None], parts: int) -> Iterator[Callable[[], None]]:
    with sweep_bar(parts, "parts") as advance:

        def finished() -> None:
            advance()
            check_stopped()

        yield finished


def _tell_how_to_continue(arguments: Sequence[str], asked: Asked) -> None:
    again = shlex.join(with_more(arguments, asked.overrides, asked.folder_word))
    sys.stdout.write(f"\nto continue: python -m runner {again}\n")


@contextlib.contextmanager
def _folder_tried(folder: RunPlace) -> Iterator[None]:
    """Make a folder before anything is built, so that an error is reported at once.

    Folders that are made here and are empty in the end are removed. A store has no folders.
    """
    if isinstance(folder, StoreUrl):
        yield
        return
    folder = folder.absolute()
    own = (folder, *folder.parents)
    made = list(itertools.takewhile(lambda path: not os.path.exists(path), own))  # noqa: PTH110 (no error if too long)
    try:
        make_folder(folder)
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError, ValueError):  # not empty, or not there
                path.rmdir()
