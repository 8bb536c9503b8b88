"""The models that are measured, each with its probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers

from runner.config.capture_config import CaptureConfig


@dataclass(frozen=True)
class Case:
    """A model to be measured.

    Attributes
    ----------
    name
        What it is called in the table.
    build
        Makes the model.
    shape
        Axes of one sample.
    rows, quick_rows
        Samples to show it, in full and in a quick run.
    batch_size
        Samples shown at once.
    capture
        What is captured.
    others
        Whether the bare writer and the ways of a sub-model are measured too.
    csv
        Whether CSV is measured too, which has no room for the maps of a picture.
    memory
        Whether peak memory is measured.
    """

    name: str
    build: Callable[[], keras.Model]
    shape: tuple[int, ...]
    rows: int
    quick_rows: int
    batch_size: int = 256
    capture: CaptureConfig = field(default_factory=CaptureConfig)
    others: bool = False
    csv: bool = False
    memory: bool = False

    @property
    def options(self) -> CaptureConfig:
        """The capture options, with the case's batch size and without a limit of size."""
        return self.capture.model_copy(update={"batch_size": self.batch_size, "max_bytes": 2**40})

    def probe(self, rows: int) -> np.ndarray:
        """Return samples of shape (rows, *shape), float32."""
        return np.random.default_rng(0).normal(size=(rows, *self.shape)).astype("float32")


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


CASES = (
    Case("mlp", mlp, (784,), 60_000, 15_000, others=True, csv=True, memory=True),
    Case("cnn", cnn, (28, 28, 1), 8_192, 1_024, 64, others=True, memory=True),
    Case(
        "resnet50, means",
        resnet,
        (224, 224, 3),
        256,
        16,
        batch_size=16,
        capture=CaptureConfig(reduce={"**": "mean"}),
    ),
    Case(
        "resnet50, 3 maps",
        resnet,
        (224, 224, 3),
        256,
        16,
        batch_size=16,
        capture=CaptureConfig(include=["conv2_block3_out", "conv3_block4_out", "conv4_block6_out"]),
    ),
    Case("transformer", transformer, (32, 64), 8_192, 2_048),
)
