"""The callback for anybody's own training: what it publishes, and that it leaves no trace."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import runner
from runner.errors import InputError, RunError

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 0)


def noisy(seed: int = 0) -> keras.Model:
    """Return a model with everything in it that has a state of its own."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(8, name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.GaussianNoise(0.1, name="noise"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Dense(3, activation="softmax", name="out"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)]
    model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics)
    return model


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, **how: Any) -> Any:
    how = {"epochs": 3, "batch_size": 16, "validation_split": 0.2, "verbose": 0} | how
    return model.fit(X, Y, callbacks=list(callbacks), **how).history


def state(model: keras.Model) -> list[np.ndarray]:
    """Everything that the model, its optimizer and its metrics hold."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [np.asarray(variable.numpy()) for variable in variables]


def drawn() -> list[Any]:
    """The next number of every stream that a training may draw from."""
    return [
        random.random(),
        np.random.random(),
        float(tf.random.uniform(())),
        float(keras.random.uniform(())),
        keras.random.SeedGenerator().state.numpy().tolist(),
    ]


@pytest.mark.parametrize(("unit", "training"), [("epoch", False), ("step", True)])
def test_a_training_goes_as_it_would_without(unit: Any, training: bool) -> None:
    without = noisy()
    history = fit(without)
    streams = drawn()
    model = noisy()
    recorder = runner.ActivationRecorder(
        X, "run", every=1, unit=unit, training=training, kinds=["activation", "pre_activation"]
    )
    assert fit(model, recorder) == history
    assert drawn() == streams
    for one, other in zip(state(model), state(without), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(runner.open_run("run").steps) == (4 if unit == "epoch" else 10)


def test_the_run_is_what_saving_the_model_would_publish() -> None:
    model = noisy()
    ids = [f"s{i}" for i in range(10)]
    recorder = runner.ActivationRecorder(
        X[:10], "run", every=2, sample_ids=ids, labels=Y[:10], name="mine", config={"seed": 5},
        include=["hidden", "out"],
    )  # fmt: skip
    before = runner.save_run(model, X[:10], "before", sample_ids=ids, include=["hidden", "out"])
    fit(model, recorder)
    after = runner.save_run(model, X[:10], "after", sample_ids=ids, include=["hidden", "out"])
    run = runner.open_run("run")
    assert run.steps == [0, 2, 3]
    assert list(run) == ["hidden", "out"]
    pd.testing.assert_frame_equal(run["hidden"], after["hidden"])
    pd.testing.assert_frame_equal(run.table("hidden", step=0), before["hidden"])
    pd.testing.assert_frame_equal(
        run.weights("hidden/kernel", step=0), before.weights("hidden/kernel")
    )
    assert run.record.model == after.record.model
    assert (run.record.name, run.seed, run.labels.tolist()) == ("mine", 5, Y[:10].tolist())
    assert len(run.history) == 3
    assert run.record.training is not None
    assert run.record.training.data is None


def test_the_mode_in_which_the_probe_was_shown_is_recorded() -> None:
    for training in (False, True):
        recorder = runner.ActivationRecorder(X, f"{training}", training=training)
        fit(noisy(), recorder, epochs=1)
        run = runner.open_run(f"{training}")
        assert run.record.probe is not None
        assert run.record.probe.training is training
        dropped = (run.table("drop", step=0).to_numpy() == 0).mean()
        assert dropped == pytest.approx(0.5 if training else 0.0, abs=0.1)


def test_every_epoch_is_captured_unless_something_else_is_asked_for() -> None:
    fit(noisy(), runner.ActivationRecorder(X, "every"))
    assert runner.open_run("every").steps == [0, 1, 2, 3]
    fit(noisy(), runner.ActivationRecorder(X, "some", capture_at=[1, "last"]))
    assert runner.open_run("some").steps == [1, 3]
    fit(noisy(), runner.ActivationRecorder(X, "last", capture_at=["last"]))
    assert runner.open_run("last").steps == [3]


class Own(keras.Model):
    """A model that is built when it is trained, by a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = keras.Sequential(
            [keras.layers.Dense(5, name="a"), keras.layers.ReLU(name="b")]
        )
        self.head = keras.layers.Dense(3, name="head")

    def call(self, x: Any) -> Any:
        return self.head(self.inner(x))

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(y, self(x), from_logits=True)
            )
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"own": loss}


def test_any_model_and_any_data_will_do() -> None:
    model = Own()
    model.compile("sgd")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    model.fit(
        data, epochs=2, shuffle=False, verbose=0, callbacks=[runner.ActivationRecorder(X, "run")]
    )
    run = runner.open_run("run")
    assert run.steps == [0, 1, 2]
    assert next(iter(run)).endswith("/a")
    assert run.history.columns.tolist() == ["own"]
    np.testing.assert_array_equal(run["head"], np.asarray(model(X)))


def test_a_metric_named_epoch_has_a_column_beside_the_epochs() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    recorder = runner.ActivationRecorder(X[:4], "run")
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanAbsoluteError(name="epoch")])
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[recorder])
    history = runner.open_run("run").history
    assert history.columns.tolist() == ["epoch_", "loss"]
    assert history.index.tolist() == [1, 2]


def test_a_training_that_goes_on_counts_on() -> None:
    model = noisy()
    fit(model)
    fit(model, runner.ActivationRecorder(X, "run"), epochs=5, initial_epoch=3)
    assert runner.open_run("run").steps == [3, 4, 5]


def test_a_callback_behind_the_recorder_may_end_the_training() -> None:
    class Ends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            self.model.stop_training = epoch == 1

    fit(noisy(), runner.ActivationRecorder(X, "run"), Ends(), epochs=9)
    assert runner.open_run("run").steps == [0, 1, 2]


def test_a_training_that_is_given_up_leaves_nothing() -> None:
    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            if epoch == 1:
                raise KeyboardInterrupt

    recorder = runner.ActivationRecorder(X, "run")
    with pytest.raises(KeyboardInterrupt):
        fit(noisy(), recorder, Fails())
    del recorder
    gc.collect()
    assert [*Path().iterdir()] == []


def test_a_recorder_records_one_training() -> None:
    recorder = runner.ActivationRecorder(X, "run")
    model = noisy()
    fit(model, recorder)
    with pytest.raises(InputError, match="has recorded a training already; make another one"):
        fit(model, recorder)
    assert runner.open_run("run").steps == [0, 1, 2, 3]


def test_a_folder_that_is_taken_is_refused_before_the_training() -> None:
    runner.save_run(noisy(), X, "run")
    with pytest.raises(InputError, match="exists and is not empty"):
        runner.ActivationRecorder(X, "run")


def test_a_generator_is_refused_before_the_training() -> None:
    with pytest.raises(InputError, match="can be read only once, and is needed at every step"):
        runner.ActivationRecorder((X for _ in range(3)), "run")
    with pytest.raises(InputError, match="can be read only once, and is needed at every step"):
        runner.ActivationRecorder(lambda: [X], "run", sample_ids=iter(range(len(X))))


def test_a_pattern_without_a_layer_is_said_before_the_first_step() -> None:
    model = noisy()
    before = state(model)
    with pytest.raises(InputError, match="'hiden' matches no layer"):
        fit(model, runner.ActivationRecorder(X, "run", include=["hiden"]))
    for one, other in zip(state(model)[: len(before)], before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [*Path().iterdir()] == []


def test_a_probe_that_changes_is_refused() -> None:
    generator = np.random.default_rng(0)

    def batches() -> Iterator[np.ndarray]:
        yield generator.normal(size=(5, 4)).astype("float32")

    with pytest.raises(RunError, match="did not give the same samples again"):
        fit(noisy(), runner.ActivationRecorder(batches, "run"))
    gc.collect()
    assert not Path("run").exists()
