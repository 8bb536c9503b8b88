"""Runs one experiment, from its configuration to its published run."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.config.composition import Composition
from runner.config.declared_config import DeclaredModel
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import FunctionModel
from runner.config.references import check_references
from runner.errors import CallError, InputError, RunError, RunnerError
from runner.experiment.drawing import model_of
from runner.experiment.fingerprint import fingerprint_of, named_packages
from runner.experiment.given_weights import GivenWeights
from runner.file_names import LOG
from runner.model.backend import check_backend, load_backend, wanting
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.store_urls import RunPlace
from runner.stores.places import draft_at
from runner.stores.store import StoredRun
from runner.tables.summary import all_statistics
from runner.tables.workbook import check_installed

if TYPE_CHECKING:
    from runner.saving.saving import Progress
    from runner.showing.settings import Settings
    from runner.showing.showing import Showing

Beside = Callable[[Any, Probe], Mapping[str, bytes]]
"""Takes a model and its probe, and returns further files of the run by their names."""


def run_experiment(
    composition: Composition,
    folder: RunPlace,
    *,
    run_id: str,
    sweep: str | None = None,
    own_build_because: str | None = None,
    weights: GivenWeights | None = None,
    progress: Progress | None = None,
    beside: Beside | None = None,
) -> StoredRun:
    """Build the model, show it the probe and publish the results.

    Parameters
    ----------
    composition
        The experiment.
    folder
        Folder or URL to publish the run to: absent, or empty.
    run_id, sweep, own_build_because
        As in `runner.record.record.RunRecord`.
    weights
        Weights that the model is given, instead of those that its seed gives.
    progress
        Called with the number of samples shown since the last call and their total, if known.
    beside
        Makes further files of the run's folder, before the probe is shown.

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
    draft = draft_at(folder, "folder")
    draft.check()
    header = header_of(composition, run_id, sweep, own_build_because)
    if weights is not None:
        header = replace(header, weights_of=weights.run_id)
    with failure_published(header, folder, composition):
        build = model_of if weights is None else weights.model_of
        model, probe = make_ready(composition, build)
        if beside is not None:
            header = replace(header, files={**header.files, **beside(model, probe)})
        from runner.saving.saving import save

        config = composition.experiment
        settings = settings_of(config, model)
        if config.train is None:
            return save(model, probe, draft, header, settings, progress)
        from runner.training.fitting import fit_and_save

        return fit_and_save(model, probe, draft, header, settings, config, progress)


@contextlib.contextmanager
def failure_published(header: Header, folder: RunPlace, composition: Composition) -> Iterator[None]:
    """Publish a record of an error raised inside the scope, unless the run had not started.

    Raises
    ------
    InputError, RunError
        The error raised inside; another kind of exception as a `RunError`.
    """
    with composition.variables.kept_secret():
        try:
            with _request_blamed(composition.experiment):
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
        config = composition.experiment
        model, probe = make_ready(composition)
        from runner.intervening.intervened import showing_of

        settings = settings_of(config, model)
        if config.train is not None:
            from runner.training.fitting import times_shown

            settings = replace(settings, times=times_shown(model, probe, config.train))
        with _request_blamed(config):
            return showing_of(model, probe, settings)


@contextlib.contextmanager
def _request_blamed(config: ExperimentConfig) -> Iterator[None]:
    """Turn a CallError into an InputError, unless code of the user may have raised it."""
    try:
        yield
    except CallError as error:
        if isinstance(config.model, FunctionModel) or config.custom_modules:
            raise
        raise InputError.of("model", str(error).removeprefix("the model ")) from error


def make_ready(
    composition: Composition, build: Callable[[ExperimentConfig], Any] = model_of
) -> tuple[Any, Probe]:
    """Open the probe and build the model.

    Checks that do not need TensorFlow are done before it is imported.

    Raises
    ------
    InputError
        If the probe cannot be read, or the model cannot be built.
    """
    config = composition.experiment
    check_backend(config.backend)
    check_references(config)
    check_installed(config.format)
    all_statistics()  # of which one may be another package's, and broken
    probe = None
    if isinstance(config.model, DeclaredModel):
        with _pairing_advised(composition.paired), wanting(config.backend):
            specs, limits = config.model.input_specs(), config.model.index_limits()
            probe = open_probe(config.probe, specs, limits)
    load_backend(config.backend)
    from runner.capture.model_libraries import library_of

    model = build(config)
    if probe is None:
        library = library_of(model)
        source = config.probe.laid_out(library.picture_layout(model))
        probe = open_probe(source, library.input_specs(model))
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


def settings_of(config: ExperimentConfig, model: Any) -> Settings:
    """Return the settings for showing and capturing of a configuration and its model."""
    from runner.capture.model_libraries import library_of
    from runner.showing.settings import Settings

    loss = None
    if "gradient" in config.capture.kinds and config.loss is not None:
        loss = library_of(model).named_loss(config.loss.class_name, config.loss.arguments)
    return Settings(
        config.capture,
        config.format,
        loss=loss,
        intervene=config.intervene,
        effects_by=config.effects.by,
        logit_difference=config.effects.logit_difference,
    )


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
        seeding=config.seeding,
        own_build_because=own_build_because,
        fingerprint=fingerprint_of(composition.resolved, config),
        files=composition.files,
        variables=composition.variables,
        packages=named_packages(config),
    )


def publish_failure(
    header: Header, folder: RunPlace, error: Exception, composition: Composition | None = None
) -> None:
    """Publish a record of the error that prevented the tables.

    Parameters
    ----------
    header
        The known fields of the run's record.
    folder
        Folder or URL to publish it to: absent, or empty.
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
    with Publication(draft_at(folder, "folder")) as publication:
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
