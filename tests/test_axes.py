"""What the axes of a tensor are said to be, and what is counted by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pydantic
import pytest
from keras import layers, ops

import runner
from runner.record.layer_record import TensorRecord
from runner.runs.published_run import Run
from runner.tensors import unit_axis_of

FIRST = ("channel", "height", "width")
LAST = ("height", "width", "channel")


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class Residual(layers.Layer):
    """Says nothing of its axes: what it computes does."""

    def __init__(self) -> None:
        super().__init__(name="residual")
        self.pool = layers.AveragePooling2D(1, data_format="channels_first", name="pool")

    def call(self, x: Any) -> Any:
        return ops.relu(self.pool(x) + x) * 2.0


def channels_first() -> keras.Model:
    x = keras.Input((8, 7, 6))
    h = layers.ReLU(name="before")(x)
    h = layers.MaxPooling2D(2, 1, data_format="channels_first", name="pool")(h)
    h = Residual()(layers.Dropout(0.1, name="drop")(h))
    h = layers.Permute((2, 3, 1), name="turned")(h * 2.0)
    return keras.Model(x, layers.Dense(2, name="out")(layers.Flatten(name="flat")(h)))


def test_channels_that_come_first_are_units_through_all_that_keeps_them(tmp_path: Path) -> None:
    x = abs(random(10, 8, 7, 6))
    x[:, 3] = 0
    run = runner.save_run(channels_first(), x, tmp_path / "run", kinds=["activation", "input"])
    axes = {
        tensor.name: tensor.axes for tensor in run.record.tensors if tensor.kind == "activation"
    }
    assert axes == {
        **dict.fromkeys(["before", "pool", "drop", "residual/pool", "residual", "multiply"], FIRST),
        "turned": LAST,
        "flat": ("unit",),
        "out": ("unit",),
    }
    assert run.tensor("before", "input").axes == FIRST
    rows = run.summary[run.summary["kind"] == "activation"].set_index("name")
    for name in ("before", "pool", "residual/pool", "residual", "multiply", "turned"):
        assert (rows.loc[name, "units"], rows.loc[name, "dead_units"]) == (8, 1), name
    ranks = run.statistics().set_index(["kind", "name"])["effective_rank"]
    values = run.array("pool")
    turned = np.moveaxis(values, 1, -1).reshape(-1, 8).astype(float)
    singular = np.linalg.svd(turned - turned.mean(axis=0), compute_uv=False)
    shares = singular[singular > 1e-9] / singular.sum()
    expected = float(np.exp(-(shares * np.log(shares)).sum()))
    assert ranks["activation", "pool"] == pytest.approx(expected, rel=1e-6)
    assert Run.read(run.path).tensor("pool").unit_axis == 0


@pytest.mark.parametrize("reduction", ["mean", "max", "std"])
def test_a_reduction_keeps_the_channels(reduction: str) -> None:
    x = random(5, 8, 7, 6)
    found = runner.capture_activations(channels_first(), x, reduce={"pool": reduction})
    whole = runner.capture_activations(channels_first(), x)["pool"].value
    expected = getattr(np, reduction)(whole, axis=(2, 3))
    np.testing.assert_allclose(found["pool"].value, expected, rtol=1e-5, atol=1e-6)
    assert found["pool"].axes == ("channel",)
    flat = runner.capture_activations(channels_first(), x, reduce={"pool": "flatten"})["pool"]
    assert flat.axes == ("unit",)


def test_sequences_attention_and_recurrence() -> None:
    words = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(9, 4, name="embed")(words)
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    attended, _ = attention(embedded, embedded, return_attention_scores=True)
    added = layers.Add(name="add")([attended, embedded])
    h, *_ = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(added)
    h = layers.Conv1D(3, 2, name="conv")(h)
    h = layers.TimeDistributed(layers.Dense(2), name="each")(h)
    h = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(h)
    h = layers.GlobalAveragePooling1D(name="pool")(layers.LayerNormalization(name="norm")(h))
    x = np.arange(40, dtype="int32").reshape(8, 5) % 9
    found = runner.capture_activations(keras.Model(words, h), x)
    axes = {name: activation.axes for name, activation in found.items()}
    positions, times = ("position", "unit"), ("time", "unit")
    expected = {
        "embed": positions,
        "attention/query": ("position", "head", "unit"),
        "attention:0": positions,
        "attention:1": ("head", "query", "key"),
        "add": positions,
        "lstm:0": times,
        "lstm:1": ("unit",),
        "conv": ("time", "channel"),
        "each": times,
        "both": times,
        "norm": times,
        "pool": ("channel",),
    }
    assert {name: axes[name] for name in expected} == expected
    for activation in found.values():
        assert activation.axes is None or len(activation.axes) == len(activation.shape)


class MyAttention(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.reshape(x, (-1, 2, 3, 4))


def test_nothing_is_said_of_what_is_not_known() -> None:
    model = keras.Sequential([layers.Input((24,)), MyAttention(name="own")])
    [own] = runner.capture_activations(model, random(4, 24)).values()
    assert own.axes is None
    assert own.unit_axis == 2
    assert own.axis_names == ("i0", "i1", "i2")
    assert unit_axis_of(None, 0) == 0


def test_a_record_without_axes_counts_the_last_as_before() -> None:
    old = {
        **{
            "name": "map",
            "kind": "activation",
            "layer_path": "map",
            "layer_class": "Conv2D",
            "call": 0,
        },
        **{"output": None, "shape": (8, 7, 6), "dtype": "float32", "order": 0, "reduction": None},
        **{"file": "activations/00_map.parquet", "bytes": 1, "sha256": "0" * 64, "alias_of": None},
    }
    tensor = pydantic.TypeAdapter(TensorRecord).validate_python(old)
    assert (tensor.axes, tensor.unit_axis) == (None, 2)
