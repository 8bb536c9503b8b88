"""Runs one experiment, from its configuration to its published run."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config.composition import Composition
from runner.config.experiment_config import DeclaredModel, ExperimentConfig
from runner.config.references import check_references
from runner.errors import InputError, RunError, RunnerError
from runner.experiment.fingerprint import fingerprint_of, source_packages
from runner.file_names import LOG
from runner.model.backend import check_backend, load_backend
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.stores.local_draft import LocalDraft
from runner.stores.store import StoredRun
from runner.tables.summary import all_statistics
from runner.tables.workbook import check_installed

if TYPE_CHECKING:
    import keras

    from runner.saving.saving import Progress
    from runner.showing.settings import Settings
    from runner.showing.showing import Showing


def run_experiment(
    composition: Composition,
    folder: Path,
    *,
    run_id: str,
    sweep: str | None = None,
    own_build_because: str | None = None,
    progress: Progress | None = None,
) -> StoredRun:
    """Build the model, show it the probe and publish the results.

    Parameters
    ----------
    composition
        The experiment.
    folder
        Where to publish the run: absent, or empty.
    run_id, sweep, own_build_because
        As in `runner.record.record.RunRecord`.
    progress
        Called with the number of samples shown since the last call and their total, if known.

    Returns
    -------
    StoredRun
        The published run.

    Raises
    ------
    InputError
        If the request is invalid. Nothing is published then, except for a job of a sweep: a
        record of the error.
    RunError
        If the run started and failed. A record of the error is published.
    """
    draft = LocalDraft(folder)
    draft.check()
    header = header_of(composition, run_id, sweep, own_build_because)
    with failure_published(header, folder, composition):
        model, probe = make_ready(composition)
        from runner.saving.saving import save

        config = composition.experiment
        settings = settings_of(config)
        if config.train is None:
            return save(model, probe, draft, header, settings, progress)
        from runner.training.fitting import fit_and_save

        return fit_and_save(model, probe, draft, header, settings, config, progress)


@contextlib.contextmanager
def failure_published(header: Header, folder: Path, composition: Composition) -> Iterator[None]:
    """Publish a record of an error raised inside the scope, unless the run had not started.

    Raises
    ------
    InputError, RunError
        The error raised inside; another kind of exception as a `RunError`.
    """
    with composition.variables.kept_secret():
        try:
            yield
        except RunnerError as error:
            if header.sweep is not None or not isinstance(error, InputError):
                publish_failure(header, folder, error, composition)
            raise
        except Exception as error:
            publish_failure(header, folder, error, composition)
            raise RunError(f"{type(error).__name__}: {error}; see {folder / LOG}") from error


def show_plan(composition: Composition) -> Showing:
    """Show the first batch to the model, so that the tables to be written are known."""
    with composition.variables.kept_secret():
        model, probe = make_ready(composition)
        from runner.showing.showing import Showing

        config = composition.experiment
        settings = settings_of(config)
        if config.train is not None:
            from runner.training.fitting import times_shown

            settings = replace(settings, times=times_shown(model, probe, config.train))
        return Showing(model, probe, settings)


def make_ready(
    composition: Composition, build: Callable[[ExperimentConfig], keras.Model] | None = None
) -> tuple[keras.Model, Probe]:
    """Open the probe and build the model, by `build` if given.

    Checks that do not need TensorFlow are done before it is imported.

    Raises
    ------
    InputError
        If the probe cannot be read, or the model cannot be built.
    """
    check_backend()
    config = composition.experiment
    check_references(config)
    check_installed(config.format)
    all_statistics()  # of which one may be another package's, and broken
    probe = None
    if isinstance(config.model, DeclaredModel):
        with _pairing_advised(composition.paired):
            specs, limits = config.model.input_specs(), config.model.index_limits()
            probe = open_probe(config.probe, specs, limits)
    load_backend()
    from runner.model.building import build_model, input_specs

    model = (build or build_model)(config)
    probe = probe or open_probe(config.probe, input_specs(model))
    return model, replace(probe, source=composition.variables.scrubbed(probe.source))


@contextlib.contextmanager
def _pairing_advised(experiment: str | None) -> Iterator[None]:
    """Name the matching experiment in errors about a probe that does not fit a packaged model."""
    try:
        yield
    except InputError as error:
        if experiment is None:
            raise
        advice = f"experiment={experiment} shows this model a probe that fits"
        raise InputError(
            problem
            if problem.place != "probe" or problem.advice
            else replace(problem, advice=advice)
            for problem in error.problems
        ) from error


def settings_of(config: ExperimentConfig) -> Settings:
    """Return the settings for showing and capturing of a configuration."""
    from runner.showing.settings import Settings

    return Settings(config.capture, config.format)


def header_of(
    composition: Composition,
    run_id: str,
    sweep: str | None = None,
    own_build_because: str | None = None,
) -> Header:
    """Return the fields of the record that are known before the probe is shown."""
    config = composition.experiment
    return Header(
        run_id=run_id,
        name=composition.config["name"],
        sweep=sweep,
        config=composition.config,
        overrides=composition.overrides,
        seed=config.seed,
        seeding=getattr(config.model, "seeding", "keras"),
        own_build_because=own_build_because,
        fingerprint=fingerprint_of(composition.resolved, config),
        files=composition.files,
        variables=composition.variables,
        packages=source_packages(config),
    )


def publish_failure(
    header: Header, folder: Path, error: Exception, composition: Composition | None = None
) -> None:
    """Publish a record of the error that prevented the tables.

    Parameters
    ----------
    header
        The known fields of the run's record.
    folder
        Where to publish it: absent, or empty.
    error
        The error.
    composition
        The experiment, if it was composed: used to keep the values of environment variables
        out of the record.

    Raises
    ------
    RunnerError
        If the record cannot be written either.
    """
    scrubbed = str if composition is None else composition.variables.scrubbed
    table_format = "parquet" if composition is None else composition.experiment.format
    with Publication(LocalDraft(folder)) as publication:
        for name, data in header.files.items():
            publication.write(name, data)
        publication.write(LOG, scrubbed("".join(traceback.format_exception(error))).encode())
        record = header.record(
            table_format,
            status="FAILED",
            error=scrubbed(str(error)),
            files=dict(publication.files),
        )
        publication.publish(record.to_json())
