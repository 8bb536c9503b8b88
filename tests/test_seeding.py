"""The draws of ``tf_global`` are those of TensorFlow's own global generator."""

from __future__ import annotations

from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from runner.config.seedings import DRAWN, Seeding
from runner.model.seeding import WAYS, seeded, uniform_numbers


@pytest.mark.parametrize("seed", [0, 1, 7, 12345, 2**31 - 1, 2**31, 2**32 - 1])
def test_tf_global_draws_what_the_global_seed_draws(seed: int) -> None:
    with seeded(seed, "tf_global"):
        model = keras.Sequential(
            [
                layers.Input((3,)),
                layers.Dense(4, name="glorot"),
                layers.Dropout(0.5),
                layers.Dense(5, kernel_initializer="he_normal", name="he"),
                layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=3)),
                layers.Dense(6, kernel_initializer="random_uniform", name="uniform"),
            ]
        )
    kernels = [np.asarray(weight) for weight in model.weights if weight.name == "kernel"]
    tf.random.set_seed(seed)
    limit = np.sqrt(6 / (3 + 4))
    spread = np.sqrt(2 / 4) / 0.87962566103423978
    drawn = [
        tf.random.uniform((3, 4), -limit, limit),
        tf.random.truncated_normal((4, 5), 0.0, spread),
        tf.random.normal((5, 2), 0.0, 0.05, seed=3),
        tf.random.uniform((2, 6), -0.05, 0.05),
    ]
    for kernel, expected in zip(kernels, drawn, strict=True):
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("op_seed", "seed", "count"), [(12345, 0, 10), (2**31 - 2, 77, 4097), (5, 2**31 - 2, 3)]
)
def test_uniform_numbers_need_no_tensorflow(op_seed: int, seed: int, count: int) -> None:
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=[count],
        key=tf.constant([seed], tf.uint64),
        counter=tf.constant([0, op_seed], tf.uint64),
        alg=1,
    )
    np.testing.assert_array_equal(uniform_numbers(count, op_seed, seed), np.asarray(drawn))


def test_tf_global_ends_with_its_scope() -> None:
    with seeded(0, "tf_global"):
        initializer = keras.initializers.GlorotUniform()
        inside = np.asarray(initializer((3, 4)))
    np.testing.assert_array_equal(np.asarray(initializer((3, 4))), np.asarray(initializer((3, 4))))
    assert (np.asarray(initializer((3, 4))) != inside).any()


def test_keras_draws_what_a_person_gets_by_hand() -> None:
    with seeded(5, "keras"):
        mine = layers.Dense(4)
        mine.build((None, 3))
    keras.utils.set_random_seed(5)
    by_hand = layers.Dense(4)
    by_hand.build((None, 3))
    np.testing.assert_array_equal(np.asarray(mine.kernel), np.asarray(by_hand.kernel))


def test_every_seeding_is_drawn_and_told() -> None:
    assert list(WAYS) == list(DRAWN) == list(get_args(Seeding))
    for seeding in WAYS:
        kernels = []
        for seed in (3, 3, 4):
            with seeded(seed, seeding):
                model = keras.Sequential([layers.Input((3,)), layers.Dense(4)])
            kernels.append(np.asarray(model.weights[0]).tobytes())
        assert kernels[0] == kernels[1] != kernels[2]
