"""Trains a configured model and publishes the captured steps."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import keras

from runner.config.experiment_config import ExperimentConfig, TrainConfig
from runner.errors import InputError
from runner.file_names import CALLBACKS
from runner.model.backend import framework
from runner.model.building import build_callbacks, input_specs
from runner.probe.probe import Probe
from runner.probe.source import open_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.record.record import Status
from runner.saving.saving import Progress, Saving
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.stores.store import Draft, StoredRun
from runner.training.checkpoints import Checkpoints
from runner.training.schedule import Schedule
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
    schedule = Schedule(train.capture_at, train.every, train.unit)
    settings = replace(settings, times=_times(schedule, data, train))
    with framework().deterministic(), Publication(draft) as publication:
        showing = Showing(model, probe, settings)
        with Saving(publication, showing, header) as saving:
            checkpoints = Checkpoints(schedule, saving)
            callbacks = []
            if train.callbacks:
                folder = publication.local_folder(CALLBACKS)
                callbacks = build_callbacks(train, folder)
            if progress is not None:
                callbacks.append(_Reporting(progress, data.rows))
            interrupted = _fit(model, data, config, [*callbacks, checkpoints])
            if interrupted is not None:
                checkpoints.finish()
            if train.callbacks:
                publication.take_in(CALLBACKS)
            if train.save_model:
                publication.write("model.keras", _as_file(model))
            status: Status = "COMPLETED" if interrupted is None else "INTERRUPTED"
            published = checkpoints.publish(status, **data.facts)
    if interrupted is not None:
        raise KeyboardInterrupt(f"the partial run is in {published.place()}") from interrupted
    return published


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


def times_shown(model: keras.Model, probe: Probe, train: TrainConfig) -> int:
    """Return the number of times that a training shows the probe, without training.

    Raises
    ------
    InputError
        As in `fit_and_save`.
    """
    schedule = Schedule(train.capture_at, train.every, train.unit)
    return _times(schedule, _read(model, probe, train), train)


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


def _times(schedule: Schedule, data: TrainingData, train: TrainConfig) -> int:
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
    return schedule.times(last)


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
