"""Interventions in heads of attention layers of Keras, held to kernels without the heads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.command_line.entry import main
from runner.errors import InputError
from runner.record.layer_record import ChangeRecord
from runner.report.run_page import page_of_run
from runner.screen import effects as effects_screen
from runner.screen import explain

ROWS, POSITIONS, HEADS, WIDTH, UNITS = 6, 5, 4, 3, 8


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((POSITIONS, UNITS))
    x = layers.Dense(UNITS, activation="tanh", name="before")(inputs)
    x = layers.MultiHeadAttention(HEADS, WIDTH, name="mha")(x, x)
    x = layers.GroupQueryAttention(WIDTH, HEADS, 2, name="gqa")(x, x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(x))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, POSITIONS, UNITS)).astype("float32")


def values(model: Any, x: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    found = runner.capture_activations(model, x, **options)
    return {name: one.value for name, one in found.items()}


@pytest.mark.parametrize("layer", ["mha", "gqa"])
def test_a_head_that_is_switched_off_is_one_whose_kernel_is_zero(
    model: keras.Model, x: np.ndarray, layer: str
) -> None:
    plain = values(model, x)
    found = values(model, x, intervene={layer: {"heads": [2], "set": 0}})
    own = model.get_layer(layer)
    weights = own.get_weights()
    place = next(at for at, one in enumerate(own.weights) if "attention_output/kernel" in one.path)
    without = [one.copy() for one in weights]
    without[place][2] = 0  # of shape (head, width, unit)
    own.set_weights(without)
    try:
        expected = values(model, x)
    finally:
        own.set_weights(weights)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    before = [name for name in plain if name == "before" or (layer, name[:3]) == ("gqa", "mha")]
    for name in before:
        np.testing.assert_array_equal(found[name], plain[name], name)
    assert np.abs(found["out"] - plain["out"]).max() > 1e-4
    same = values(model, x, intervene={layer: {"heads": "0-3", "scale": 1}})
    for name, array in plain.items():
        np.testing.assert_array_equal(same[name], array, name)


@pytest.mark.slow
def test_the_values_of_heads_are_changed_as_those_of_layers_are(
    model: keras.Model, x: np.ndarray, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"kinds": ["activation", "input"], "include": ["mha/**", "mha"]}
    plain = runner.save_run(model, x, tmp_path / "plain", **options)
    joined = plain.array("mha/attention_output", "input")
    assert joined.shape == (ROWS, POSITIONS, HEADS, WIDTH)
    assert plain.tensor("mha/attention_output", "input").axes == ("position", "head", "unit")
    mean = joined.mean(axis=(0, 1), dtype="float64").astype("float32")
    patched = {"patch": str(plain.path), "samples": {str(row): "0" for row in range(ROWS)}}
    for number, (what, head) in enumerate(
        [
            ({"heads": 1, "scale": -2}, joined[:, :, 1] * -2),
            ({"heads": 1, "set": "mean"}, np.broadcast_to(mean[1], joined[:, :, 1].shape)),
            ({"heads": [1], "set": [7, 8, 9]}, np.broadcast_to([7, 8, 9], joined[:, :, 1].shape)),
            ({"heads": [1], **patched}, np.broadcast_to(joined[:1, :, 1], joined[:, :, 1].shape)),
        ]
    ):
        path = tmp_path / str(number)
        run = runner.save_run(model, x, path, intervene={"mha": what}, **options)
        expected = joined.copy()
        expected[:, :, 1] = head
        np.testing.assert_allclose(run.array("mha/attention_output", "input"), expected, rtol=1e-6)
    where = {"mha": {"heads": 1, "positions": 0, "set": 5}}
    run = runner.save_run(model, x, tmp_path / "position", intervene=where, **options)
    expected = joined.copy()
    expected[:, 0, 1] = 5
    np.testing.assert_array_equal(run.array("mha/attention_output", "input"), expected)
    [change] = run.tensor("mha", "activation").changed_by
    assert change == ChangeRecord("mha", "set to 5", None, (0,), (1,))
    kinds: list[Any] = ["activation", "input", "weight"]
    held = runner.save_run(model, x, tmp_path / "held", intervene=where, kinds=kinds)
    for place in ("u0_0", "u1_0"):
        said = explain.show(held, "mha", place, "3")
        assert "changed before: head 1 at position 0 set to 5\n" in said
        assert re.search(r"equals the stored value|ULP \(order of round", said)
    less = runner.save_run(model, x, tmp_path / "less", intervene={"mha": {"heads": 1, "set": 5}})
    with pytest.raises(InputError, match=r"heads whose changed values the run does not hold are"):
        explain.show(less, "mha", "u0_0")


@pytest.mark.slow
def test_each_head_by_itself_is_as_in_a_run_of_its_own(
    model: keras.Model, x: np.ndarray, tmp_path: Path
) -> None:
    each = {"?qa": {"heads": "each", "set": 0}, "mha": {"heads": "each", "set": 0}}
    run = runner.save_run(model, x, tmp_path / "each", intervene=each)
    effects = run.record.effects
    expected = [(layer, head) for layer in ("gqa", "mha") for head in range(HEADS)]
    assert [(one.layer, one.head) for one in effects] == expected
    np.testing.assert_array_equal(run.array("mha", "activation"), values(model, x)["mha"])
    for layer, head in (("mha", 2), ("gqa", 3)):
        alone = {layer: {"heads": head, "set": 0}}
        [one] = runner.save_run(model, x, tmp_path / layer, intervene=alone).record.effects
        [found] = [each for each in effects if (each.layer, each.head) == (layer, head)]
        for key in ("mean_abs", "max_abs", "kl", "flipped"):
            np.testing.assert_allclose(getattr(found, key), getattr(one, key), rtol=1e-5, atol=1e-9)
    part = page_of_run(run).parts["effects"]
    assert part.shown["captions"] == ["mean change of the output by layer and head"]
    assert part.data[0]["data"][0]["y"] == ["gqa", "mha"]
    grid = {"mha": {"heads": "each", "positions": "each", "set": 0}}
    run = runner.save_run(model, x, tmp_path / "grid", intervene=grid, format="none")
    assert len(run.effects) == HEADS * POSITIONS
    runs = runner.open_runs(run.path)
    assert "mha head 3 at position 4" in effects_screen.told(runs, runs.effects())


def test_a_layer_without_heads_is_told_which_have_some(
    model: keras.Model, x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, **what: Any) -> None:
        with pytest.raises(InputError, match=message):
            values(model, x, intervene=what)

    refused(
        r"^intervene\.before\.heads: 'before' has no heads that can be changed; layers with heads: "
        "mha, gqa$",
        before={"heads": 0, "set": 0},
    )
    refused("heads: 4 out of range; the heads of 'mha' are 0 to 3", mha={"heads": 4, "set": 0})
    refused(r"^intervene\.mha\.units: are .*; give one", mha={"heads": 0, "units": 1, "set": 0})
    run = runner.save_run(
        model, x, tmp_path / "run", intervene={"mha": {"heads": [0, 2], "set": 0}}
    )
    assert main(["show", str(run.path)]) == 0
    assert "note: mha was changed: heads 0, 2 set to 0" in capsys.readouterr().out
