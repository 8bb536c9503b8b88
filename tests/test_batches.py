"""Batches: a sample's values are its own, and where they are not, that is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import runner


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_a_sample_has_its_values_whatever_it_is_shown_with() -> None:
    given = keras.Input((5, 7))
    hidden = layers.GRU(3, return_sequences=True)(layers.LayerNormalization()(given))
    model = keras.Model(given, layers.GroupNormalization(1)(layers.Activation("sigmoid")(hidden)))
    x = random(23, 5, 7)
    truth = runner.capture_activations(model, x)
    for rows in (1, 2, 9, 23):
        for batch_size in (1, 2, 7, 8, 64):
            shown = runner.capture_activations(model, x[:rows], batch_size=batch_size)
            for name, activation in shown.items():
                np.testing.assert_array_equal(activation.value, truth[name].value[:rows])


class _Meet(layers.Layer):
    """Compares every sample of a batch with every other, as some losses do."""

    def call(self, x: Any) -> Any:
        return keras.ops.softmax(x @ keras.ops.transpose(x) * 0.1)


class _Center(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - keras.ops.mean(x, axis=0, keepdims=True)


@pytest.mark.parametrize("rows", [2, 8, 11])
@pytest.mark.parametrize("meet", [_Meet, _Center])
def test_a_model_whose_samples_meet_is_shown_them_as_they_are(
    meet: type[keras.Layer], rows: int
) -> None:
    given = keras.Input((3,))
    model = keras.Model(given, meet(name="meet")(layers.Dense(4, name="first")(given)))
    run = runner.save_run(model, random(rows, 3), "mine")
    np.testing.assert_allclose(run.array("meet"), model(random(rows, 3)), rtol=1e-5, atol=1e-6)
    assert run.record.probe.mixed_by == (None if rows == 8 else "meet")


def test_complex_values_of_a_sample_are_its_own() -> None:
    class Fourier(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.signal.fft(tf.cast(x, tf.complex64))

    given = keras.Input((4,))
    model = keras.Model(given, Fourier(name="fourier")(given))
    found = runner.capture_activations(model, random(5, 4))["fourier"].value
    np.testing.assert_allclose(found, np.fft.fft(random(5, 4)), rtol=1e-5)


def test_samples_that_meet_in_several_batches_are_warned_of() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, layers.Dense(2, name="last")(_Center(name="meet")(given)))
    x = random(12, 3)
    with pytest.warns(UserWarning, match="what 'meet' puts out for a sample depends on the samp"):
        found = runner.capture_activations(model, x, batch_size=8)["meet"].value
    halves = [half - half.mean(axis=0) for half in (x[:8], x[8:])]
    np.testing.assert_allclose(found, np.concatenate(halves), rtol=1e-5, atol=1e-6)


def test_a_shape_that_differs_from_batch_to_batch_is_told() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, _Meet(name="meet")(given))
    with (
        pytest.warns(UserWarning, match="'meet'"),
        pytest.raises(runner.RunError, match=r"'meet' has the shape \(4,\) for a sample of this"),
    ):
        runner.save_run(model, random(12, 3), "mine", batch_size=8)
    assert not Path("mine").exists()


def test_what_is_drawn_anew_each_time_is_no_meeting() -> None:
    class Draws(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + tf.random.normal(tf.shape(x))

    given = keras.Input((3,))
    run = runner.save_run(keras.Model(given, Draws(name="draws")(given)), random(5, 3), "mine")
    assert run.record.probe.mixed_by is None
