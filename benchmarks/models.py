"""The Keras models that are measured, each with its probe."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from benchmarks.case import Case
from runner.config.capture_config import CaptureConfig


def mlp() -> keras.Model:
    """784-512-256-128-10."""
    hidden = [layers.Dense(units, "relu") for units in (512, 256, 128)]
    return keras.Sequential([layers.Input((784,)), *hidden, layers.Dense(10, "softmax")])


def cnn() -> keras.Model:
    """Two convolutions over 28 x 28 pictures."""
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, "relu"),
            layers.Dense(10, "softmax"),
        ]
    )


def resnet() -> keras.Model:
    """ResNet50 with random weights."""
    return keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3))


def transformer() -> keras.Model:
    """Four blocks of width 64 over 32 positions."""
    x = inputs = keras.Input((32, 64))
    for _ in range(4):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(256, "gelu")(x)))
    return keras.Model(inputs, x)


def _seeded(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    def seeded() -> keras.Model:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        return build()

    return seeded


CASES = (
    Case("mlp", _seeded(mlp), (784,), 60_000, 15_000, others=True, csv=True, memory=True),
    Case("cnn", _seeded(cnn), (28, 28, 1), 8_192, 1_024, 64, others=True, memory=True),
    Case(
        "resnet50, means",
        _seeded(resnet),
        (224, 224, 3),
        256,
        16,
        batch_size=16,
        capture=CaptureConfig(reduce={"**": "mean"}),
    ),
    Case(
        "resnet50, 3 maps",
        _seeded(resnet),
        (224, 224, 3),
        256,
        16,
        batch_size=16,
        capture=CaptureConfig(include=["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"]),
    ),
    Case("transformer", _seeded(transformer), (32, 64), 8_192, 2_048),
)
