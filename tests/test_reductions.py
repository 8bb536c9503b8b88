"""Reductions inside the graph equal NumPy's on the whole activation."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from packages import offered

from runner.capture.capture import Capture
from runner.capture.reductions import described, reduced
from runner.capture.selection import Selection
from runner.config.capture_config import CaptureConfig
from runner.converted_models.converted_tensors import OPERATIONS
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


FURTHER = """
from runner.capture.reduction import OfFlattened, OverPositions


class Min(OverPositions):
    def compute(self, ops, tensor, positions):
        return ops.min(tensor, axis=positions)


class First(OfFlattened):
    note = "for a look"
    count: int = 3

    def compute(self, ops, flat, name):
        return flat[:, : self.count]


class Largest(OfFlattened):
    example = "2"
    count: int

    def compute(self, ops, flat, name):
        return ops.top_k(flat, self.count)[0]
"""


@pytest.fixture
def _further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"min": "Min", "first": "First", "topk": "Largest"}
    offered("reductions", names, FURTHER, tmp_path, monkeypatch)


@pytest.mark.usefixtures("_further")
def test_a_reduction_of_another_package_is_used_like_others() -> None:
    CaptureConfig(reduce={"a": "min", "b": "first:5"})
    whole, small = captured("min")
    np.testing.assert_array_equal(small, whole.min(axis=(1, 2)))
    for text, count in (("first", 3), ("first:5", 5), ("first:count=4", 4)):
        whole, small = captured(text)
        np.testing.assert_array_equal(small, whole.reshape(7, -1)[:, :count])
    with pytest.raises(ValueError, match="unknown reduction 'topp:3'; did you mean 'topk:2'"):
        CaptureConfig(reduce={"a": "topp:3"})


def test_the_documentation_names_all_reductions() -> None:
    assert described() == (
        "`mean`, `max` or `std` over space or time, `flatten`, "
        "`projection:16` (seeded, random), or `none`"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "unknown reduction ''"),
        ("none:1", "unknown reduction 'none:1'; did you mean 'none'?"),
        ("mean:2", "mean has no options; leave out ':2'"),
        ("flatten:", "flatten has no options; leave out ':'"),
        ("projection", "projection: needs the option size; type projection:..."),
        ("projection:", "projection.size: expected an integer, found ''"),
        ("projection:0", "projection.size: must be >= 1, found 0"),
        ("projection:65537", "projection.size: must be <= 65536, found 65537"),
        ("projection:1,2", "projection.2: unknown key; keys are size"),
    ],
)
def test_a_text_that_is_no_reduction_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        CaptureConfig(reduce={"a": text})


@pytest.mark.usefixtures("_further")
def test_an_operation_that_only_keras_has_is_refused_elsewhere() -> None:
    whole, small = captured("topk:4")
    np.testing.assert_array_equal(small, np.sort(whole.reshape(7, -1))[:, :-5:-1])
    message = (
        r"^capture\.reduce: 'topk:4' needs `keras.ops.top_k`, which converted models do not have"
    )
    with pytest.raises(InputError, match=message):
        reduced(whole, "topk:4", "map", 2, OPERATIONS)
