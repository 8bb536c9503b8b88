"""Units of a layer changed one at a time, in later outputs where no layer has mixed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.capture.capture import Capture
from runner.file_names import LOG

ROWS = 50
UNITS = 40


def of_images(inside: Callable[[Any], Any]) -> keras.Model:
    """Return a model of images with some layers after 'conv'."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(UNITS, 3, name="conv")(layers.Rescaling(2.0)(inputs))
    return keras.Model(inputs, layers.Dense(5, activation="softmax", name="out")(inside(x)))


def chain(x: Any) -> Any:
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(2, name="deep")(layers.ReLU(name="relu")(x))
    return layers.Dense(9, name="mixed")(layers.GlobalAveragePooling2D(name="pool")(x))


def normalized(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(layers.LayerNormalization()(x))


def residual(x: Any) -> Any:
    """The layer that is changed reads what is added to it later."""
    before = layers.Dense(UNITS, name="before")(x)
    mixed = layers.LayerNormalization()(layers.Dense(UNITS, name="change")(before))
    return layers.GlobalAveragePooling2D()(layers.Add()([before, mixed]))


def added(x: Any) -> Any:
    before = layers.Dense(UNITS, name="before")(x)
    after = layers.Add(name="add")([before, layers.Dense(UNITS, name="change")(before)])
    return layers.GlobalAveragePooling2D(name="pool")(after)


class Gate(layers.Layer):
    """Scales all channels by a gate that the samples at hand leave fully open."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.relu6(keras.ops.mean(x, axis=(1, 2, 3), keepdims=True) + 50) / 6


class Bypass(layers.Layer):
    """Reads its input a second time, outside of the layer in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.ReLU(name="inner")
        self.pool = layers.GlobalAveragePooling2D(name="inner_pool")

    def call(self, x: Any) -> Any:
        return self.pool(self.inner(x)) * (1 + keras.ops.mean(x, axis=(1, 2, 3))[:, None])


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 6, 6, 3)).astype("float32")


def by_hand(model: keras.Model, name: str, x: np.ndarray, unit: int) -> float:
    """Return the mean change of the output if a unit of a layer is set to 0.5."""
    layer, before = model.get_layer(name), model(x, training=False)
    call = layer.call

    def changed(*args: Any, **kwargs: Any) -> Any:
        return keras.ops.where(keras.ops.arange(UNITS) == unit, 0.5, call(*args, **kwargs))

    layer.call = changed
    try:
        after = model(x, training=False)
    finally:
        layer.call = call
    change = keras.ops.convert_to_numpy(after).astype("float64") - keras.ops.convert_to_numpy(
        before
    )
    return float(np.abs(change).mean())


CASES = [
    (chain, "conv", "changed in 'pool'"),
    (added, "change", "changed in 'pool'"),
    (residual, "change", "changed in 'change', given what 1 others returned"),
    (normalized, "conv", None),
    (lambda x: layers.GlobalMaxPooling2D()(Gate()(x)), "conv", None),
    (lambda x: Bypass()(x), "conv", None),
]


@pytest.mark.parametrize(("inside", "layer", "note"), CASES)
def test_units_are_changed_where_each_still_stands_alone(
    inside: Callable[[Any], Any], layer: str, note: str | None, x: np.ndarray, tmp_path: Path
) -> None:
    model = of_images(inside)
    each = {layer: {"units": "each", "set": 0.5}}
    run = runner.save_run(model, x, tmp_path / "each", intervene=each, batch_size=24)
    log = (run.path / LOG).read_text()
    if note is None:
        assert "bit for bit" not in log
    else:
        said = f"'{layer}' was {note}, for {ROWS} of {ROWS} samples, with the same outputs"
        assert said in log
    found = run.effects.set_index("unit")["mean_abs"]
    assert sorted(found.index) == [*range(UNITS)]
    for unit in (0, 7, UNITS - 1):
        expected = by_hand(model, layer, x, unit)
        np.testing.assert_allclose(found[unit], expected, rtol=2e-5, atol=1e-9)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch does not tell sizes")
def test_weights_do_not_count_as_results_of_a_pass() -> None:
    model = keras.Sequential([keras.Input((4000,)), layers.Dense(2)])
    assert Capture(model, np.zeros((2, 4000), "float32")).sample_bytes == 8
