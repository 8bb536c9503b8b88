"""Quantized weights of Keras, compared as the numbers that they stand for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.config.precision import Quantization
from runner.model.precision import quantize
from runner.runs.real_weights import RealWeights

TOKENS = np.arange(12).reshape(3, 4)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    given = keras.Input((4,), dtype="int32")
    x = layers.Embedding(13, 6, name="rows")(given)
    x = layers.EinsumDense("abc,cde->abed", (4, 5, 3), name="heads")(x)
    x = layers.Dense(3, name="scores")(layers.Flatten(name="flat")(x))
    return keras.Model(given, x)


@pytest.mark.parametrize(("mode", "steps"), [("int8", 127), ("int4", 7)])
def test_the_numbers_are_those_before_they_were_quantized(mode: Quantization, steps: int) -> None:
    before = runner.save_run(model(), TOKENS, "before")
    quantized = model()
    quantize(quantized, mode)
    after = runner.save_run(quantized, TOKENS, "after")
    weight = quantized.get_layer("scores").kernel_scale
    weight.assign(np.asarray(weight) / 1.5)
    changed = runner.save_run(quantized, TOKENS, "changed")
    names = ["rows/embeddings", "heads/kernel", "scores/kernel"]
    numbers = RealWeights(after)
    assert [name for name in names if not numbers.is_quantized(after.tensor(name))] == []
    found = {one.tensor: one for one in runner.diff(before, after).tensors}
    for name in names:
        assert found[name].why is None, found[name].why
        assert 0 < found[name].max_relative <= 0.55 / steps, name
    of_scale = found["scores/kernel_scale"]
    assert of_scale.left_out
    assert of_scale.why == "is in the numbers that the integers of its layer stand for"
    same, other = (runner.diff(after, run) for run in (after, changed))
    assert same.same
    rows = {one.tensor: one for one in other.compared}
    assert [name for name in names if not rows[name].bitwise] == ["scores/kernel"]
    assert not rows["scores/kernel"].within
