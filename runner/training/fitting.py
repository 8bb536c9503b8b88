"""Trains a configured model and publishes the captured steps."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras

from runner.config.experiment_config import ExperimentConfig
from runner.config.train_config import TrainConfig
from runner.errors import InputError, RunError, first_line
from runner.file_names import CALLBACKS, HISTORY, plain_table
from runner.model.backend import framework
from runner.model.building import build_callbacks, input_specs
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.record.record import Status
from runner.record.training_record import TrainingRecord
from runner.saving.saving import Progress, Saving
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.stores.store import Draft, StoredRun
from runner.tables.plain_tables import write_table
from runner.training.checkpoints import Checkpoints
from runner.training.history import History
from runner.training.training_data import TrainingData, placed, read_training_data


def fit_and_save(
    model: keras.Model,
    probe: Probe,
    draft: Draft,
    header: Header,
    settings: Settings,
    config: ExperimentConfig,
    progress: Progress | None = None,
) -> StoredRun:
    """Train a model and publish its activations for the probe at the chosen steps.

    The same seed gives bit-for-bit identical weights on the same machine.

    Parameters
    ----------
    model, config
        The model, built and compiled from the configuration, which has a ``train``.
    probe, draft, header, settings
        As in `runner.saving.saving.save`.
    progress
        Called with the number of samples trained on since the last call, and their total.

    Returns
    -------
    StoredRun
        The published run.

    Raises
    ------
    InputError
        If the data, targets, loss or probe do not fit the model.
    RunError
        If the model or the disk fails.
    KeyboardInterrupt
        If interrupted; with ``keep_partial``, after publishing the partial run.
    """
    train = config.train
    assert train is not None
    data = _read(model, probe, train)
    settings = replace(settings, times=_times(data, train))
    with framework().deterministic(), Publication(draft) as publication:
        showing = Showing(model, probe, settings)
        with Saving(publication, showing, header) as saving:
            checkpoints = Checkpoints(train.schedule, saving)
            interrupted = _fitted(model, data, config, checkpoints, publication, progress)
            if interrupted is not None:
                checkpoints.finish()
            status: Status = "COMPLETED" if interrupted is None else "INTERRUPTED"
            published = checkpoints.publish(status, **data.facts)
    if interrupted is not None:
        raise KeyboardInterrupt(f"the partial run is in {published.place()}") from interrupted
    return published


def fit_alone(
    model: keras.Model,
    probe: Probe,
    publication: Publication,
    config: ExperimentConfig,
    progress: Progress | None = None,
) -> TrainingRecord:
    """Train a model without showing it a probe, and write its figures and other files.

    Parameters
    ----------
    model, probe, config, progress
        As in `fit_and_save`.
    publication
        Receives the table of the figures, and the files of `config`.

    Raises
    ------
    InputError, RunError
        As in `fit_and_save`.
    """
    train = config.train
    assert train is not None
    data = _read(model, probe, train)
    history = History(train.unit)
    with framework().deterministic():
        interrupted = _fitted(model, data, config, history, publication, progress)
    if interrupted is not None:
        raise interrupted
    with publication.open(plain_table(HISTORY, config.format)) as sink:
        write_table(sink, history.table(), config.format)
    return history.record(**data.facts)


def _fitted(
    model: keras.Model,
    data: TrainingData,
    config: ExperimentConfig,
    history: History,
    publication: Publication,
    progress: Progress | None,
) -> KeyboardInterrupt | None:
    """Train the model, and write the files of the training; return what `_fit` returns."""
    train = config.train
    assert train is not None
    folder = publication.local_folder(CALLBACKS) if train.callbacks else None
    with _named_inside(folder):
        callbacks = [] if folder is None else build_callbacks(train, folder)
        if progress is not None:
            callbacks.append(_Reporting(progress, data.rows))
        interrupted = _fit(model, data, config, [*callbacks, history])
    if train.callbacks:
        publication.take_in(CALLBACKS)
    if train.save_model:
        publication.write("model.keras", _as_file(model))
    return interrupted


def _fit(
    model: keras.Model,
    data: TrainingData,
    config: ExperimentConfig,
    callbacks: list[keras.callbacks.Callback],
) -> KeyboardInterrupt | None:
    """Train the model; return the interruption that ended the training if that is to be kept."""
    train = config.train
    assert train is not None
    # Not the stream used for building: adding a layer must not change the order of the samples.
    keras.utils.set_random_seed(config.seed)
    try:
        model.fit(
            data.inputs,
            data.targets,
            epochs=train.epochs,
            batch_size=train.batch_size,
            validation_split=train.validation_split,
            shuffle=train.shuffle,
            callbacks=callbacks,
            verbose=0,
        )
    except KeyboardInterrupt as error:
        if not train.keep_partial:
            raise
        return error
    return None


@contextlib.contextmanager
def _named_inside(folder: Path | None) -> Iterator[None]:
    """Name files in a staged folder by their path inside it, in errors raised in the context."""
    try:
        yield
    except Exception as error:
        staged = f"{folder}{os.sep}"
        if folder is None or staged not in str(error):
            raise
        if isinstance(error, InputError):
            raise InputError(
                replace(one, message=one.message.replace(staged, "")) for one in error.problems
            ) from error
        raise RunError(f"a callback failed: {first_line(error).replace(staged, '')}") from error


def times_shown(model: keras.Model, probe: Probe, train: TrainConfig) -> int:
    """Return the number of times that a training shows the probe, without training.

    Raises
    ------
    InputError
        As in `fit_and_save`.
    """
    return _times(_read(model, probe, train), train)


def _read(model: keras.Model, probe: Probe, train: TrainConfig) -> TrainingData:
    if train.data is not None:
        with placed(train.data):
            probe = open_probe(train.data, input_specs(model))
    data = read_training_data(model, probe, train.data)
    if math.floor(data.rows * (1 - train.validation_split)) == 0:
        raise InputError.of(
            "train.validation_split",
            f"{train.validation_split} leaves none of {data.rows} samples to train on",
            "make it smaller",
        )
    return data


def _times(data: TrainingData, train: TrainConfig) -> int:
    """Return the number of showings; raise InputError for steps that are never reached."""
    rows = math.floor(data.rows * (1 - train.validation_split))
    batches = math.ceil(rows / train.batch_size)
    last = train.epochs * (batches if train.unit == "step" else 1)
    for place, moment in enumerate(train.capture_at):
        if isinstance(moment, int) and moment > last:
            raise InputError.of(
                f"train.capture_at.{place}",
                f"{train.epochs} epochs of {batches} batches are {last} steps, found {moment}",
                "raise train.epochs",
            )
    return train.schedule.times(last)


def _as_file(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        return path.read_bytes()


class _Reporting(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports the number of samples trained on after each epoch."""

    def __init__(self, progress: Progress, rows: int) -> None:
        super().__init__()
        self._progress = progress
        self._rows = rows

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self._progress(self._rows, self._rows * self.params["epochs"])
