"""Reductions inside the graph equal NumPy's on the whole activation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from runner.capture.capture import Capture
from runner.capture.reductions import REDUCTIONS, OfFlattened, OverPositions, described, reduced
from runner.capture.selection import Selection
from runner.config.capture_config import CaptureConfig
from runner.converted_models.converted_tensors import _OPERATIONS
from runner.errors import InputError


def captured(reduction: str) -> tuple[np.ndarray, np.ndarray]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((6, 5, 2)), layers.Conv2D(3, 3, name="map")])
    x = np.random.default_rng(0).normal(size=(7, 6, 5, 2)).astype("float32")
    whole = Capture(model, x).first[0]
    capture = Capture(model, x, Selection(reduce={"map": reduction}))
    assert capture.tensors[0].reduction == reduction
    assert capture.tensors[0].shape == capture.first[0].shape[1:]
    return whole, capture.first[0]


@pytest.mark.parametrize(
    ("reduction", "numpy"), [("mean", np.mean), ("max", np.max), ("std", np.std)]
)
def test_over_positions(reduction: str, numpy: np.ufunc) -> None:
    whole, small = captured(reduction)
    np.testing.assert_allclose(small, numpy(whole, axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_flatten() -> None:
    whole, small = captured("flatten")
    np.testing.assert_array_equal(small, whole.reshape(7, -1))


def test_a_projection_is_the_same_every_time_and_keeps_distances() -> None:
    whole, small = captured("projection:400")
    np.testing.assert_array_equal(small, captured("projection:400")[1])
    flat = whole.reshape(7, -1)
    before = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    after = np.linalg.norm(small[:, None] - small[None], axis=-1)
    off = ~np.eye(7, dtype=bool)
    np.testing.assert_allclose(after[off] / before[off], 1, atol=0.2)


def test_a_new_reduction_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REDUCTIONS, "min", OverPositions(
        lambda ops, tensor, positions: ops.min(tensor, axis=positions)
    ))  # fmt: skip
    monkeypatch.setitem(REDUCTIONS, "first", OfFlattened(
        lambda _ops, flat, size, _name: flat[:, :size], size=3, note="for a look"
    ))  # fmt: skip
    assert described() == (
        "`mean`, `max`, `std` or `min` over space or time, `flatten`, "
        "`projection:16` (seeded, random), `first:3` (for a look), or `none`"
    )
    CaptureConfig(reduce={"a": "min", "b": "first:5"})
    with pytest.raises(ValueError, match="unknown reduction 'first'; did you mean 'first:3'"):
        CaptureConfig(reduce={"a": "first"})
    whole, small = captured("min")
    np.testing.assert_array_equal(small, whole.min(axis=(1, 2)))
    whole, small = captured("first:5")
    np.testing.assert_array_equal(small, whole.reshape(7, -1)[:, :5])


@pytest.mark.parametrize(
    "name", ["", "mean:2", "none:1", "projection", "projection:", "projection:0", "flatten:"]
)
def test_a_name_that_is_no_reduction_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown reduction '{name}'"):
        CaptureConfig(reduce={"a": name})


def test_an_operation_that_only_keras_has_is_refused_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(REDUCTIONS, "topk", OfFlattened(
        lambda ops, flat, size, _name: ops.top_k(flat, size)[0], size=2
    ))  # fmt: skip
    whole, small = captured("topk:4")
    np.testing.assert_array_equal(small, np.sort(whole.reshape(7, -1))[:, :-5:-1])
    message = r"^capture\.reduce: a reduction needs `keras.ops.top_k`, which converted models do no"
    with pytest.raises(InputError, match=message):
        reduced(whole, "topk:4", "map", 2, _OPERATIONS)
