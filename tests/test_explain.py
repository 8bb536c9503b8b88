from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import make_run
from tutorial import FIGURES, tutorial_config, tutorial_run

from runner.arithmetic import functions
from runner.errors import InputError
from runner.runs.published_run import Run
from runner.screen import explain


def test_a_value_of_the_tutorial_is_spelled_out() -> None:
    assert explain.show(tutorial_run(), "hidden", "u1", "1") == (
        "hidden u1, sample 1, run 0a1b2c3d\n"
        "\n"
        "       input       weight    product\n"
        "input0     0  -0.54333335  0\n"
        "input1     1   0.5699866   0.5699866\n"
        "input2     0  -0.6936733   0\n"
        "\n"
        "bias    0\n"
        "sum     0.5699866\n"
        "relu(0.5699866) = 0.5699866\n"
        "equals the stored value 0.5699866\n"
    )


def test_a_softmax_is_computed_over_all_units() -> None:
    said = explain.show(tutorial_run(), "output", "u1", "2")
    assert "hidden u2  0.38850498" in said
    assert " among 2 units = 0.545897" in said
    assert re.search(r"equals the stored value|by 1 ULP \(order of rounding\)", said)


def test_a_run_without_weights_says_how_to_keep_them() -> None:
    hidden = np.array(FIGURES["hidden"], np.float32)
    run = Run.read(make_run(Path("run"), {"hidden": hidden}, config=tutorial_config()))
    said = (
        "run 0a1b2c3d: no weight 'hidden/kernel': the run holds no weights; "
        "to keep them: capture.kinds=[activation,weight]"
    )
    with pytest.raises(InputError, match=re.escape(said)):
        explain.show(run, "hidden", "u1")


def test_without_a_sample_the_first_is_explained_and_named() -> None:
    run = tutorial_run()
    said = explain.show(run, "hidden", "u1")
    assert said.startswith("hidden u1, sample 0, run 0a1b2c3d\n")
    assert said.endswith("\nsample 0 is the first of 3; --sample ID shows another\n")
    assert explain.show(run, "hidden", "u1", "0") in said


def test_of_a_wide_layer_the_largest_values_are_shown() -> None:
    wide = np.linspace(-3, 1, 30, dtype=np.float32)[None]
    config = tutorial_config(units=30)
    run = Run.read(make_run(Path("run"), {"hidden": wide}, samples=["a"], config=config))
    said = explain.show_row(run, "hidden")
    assert "the 10 largest of 30 values\n" in said
    assert "explain hidden u0 " in said
    assert said.count("\nu") == 11  # ten rows, and which units there are


@pytest.mark.parametrize(
    ("stored", "verdict"),
    [
        (np.nextafter(np.float32(0.5699866), np.float32(1)), "by 1 ULP (order of rounding)"),
        (0.57, "by 225 ULP (more than rounding explains)"),
        (np.nan, "differs from the stored value nan"),
    ],
)
def test_a_difference_is_told_in_units_in_the_last_place(stored: float, verdict: str) -> None:
    hidden = np.array(FIGURES["hidden"], np.float32)
    hidden[1, 1] = stored
    assert verdict in explain.show(tutorial_run(hidden=hidden), "hidden", "u1", "1")


def test_of_many_inputs_the_largest_products_are_shown() -> None:
    inputs = np.arange(30, dtype=np.float32)[None]
    config = tutorial_config(units=1, activation=None)
    config["model"]["layers"].pop("output")
    config["model"]["input_shape"] = [30]
    tensors = {
        "hidden": inputs.sum(axis=1, keepdims=True) + 2,
        "hidden/kernel": np.ones((30, 1), np.float32),
        "hidden/bias": np.array([2], np.float32),
    }
    path = make_run(Path("run"), tensors, samples=["a"], inputs=inputs, config=config)
    said = explain.show(Run.read(path), "hidden", "u0", "a")
    assert "the 10 largest of 30 products\n" in said
    assert said.count("input") == 11  # the column and ten rows
    assert "the other 20 products sum to 190\n" in said
    assert "sum     437\nlinear(437) = 437\nequals the stored value 437\n" in said


def test_a_sum_that_overflowed_in_the_layer_is_told_apart_from_rounding() -> None:
    inputs = np.array([[3e38, 3e38, -3e38]], np.float32)
    config = tutorial_config(units=1, activation=None)
    config["model"]["layers"].pop("output")
    tensors = {
        "hidden": np.array([[np.inf]], np.float32),
        "hidden/kernel": np.ones((3, 1), np.float32),
        "hidden/bias": np.zeros(1, np.float32),
    }
    path = make_run(Path("run"), tensors, samples=["a"], inputs=inputs, config=config)
    said = explain.show(Run.read(path), "hidden", "u0", "a")
    assert "linear(3e+38) = 3e+38\n" in said
    assert said.endswith("differs from the stored value inf (numbers too large for float32)\n")


def test_a_layer_without_bias_needs_none() -> None:
    run = tutorial_run(config=tutorial_config(use_bias=False), **{"hidden/bias": [9, 9, 9, 9]})
    assert "bias    0\n" in explain.show(run, "hidden", "u1", "1")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("hiden", "u1", "1"), "no activation 'hiden'; did you mean 'hidden'?"),
        (("hidden", "u4", "1"), "hidden: no unit 'u4'; there are u0, u1, u2, u3"),
        (("hidden", "u1", "x"), "hidden: no sample 'x'; there are 0, 1, 2"),
    ],
)
def test_what_is_not_there_is_said_with_what_there_is(
    asked: tuple[str, str, str], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        explain.show(tutorial_run(), *asked)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            tutorial_config(activation="mine"),
            "activations such as 'mine' are not covered yet; celu",
        ),
        (tutorial_config(activation="ReLU of own"), "activations such as 'ReLU of own' are not"),
    ],
)
def test_what_is_not_covered_is_said(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"hidden: {message}")):
        explain.show(tutorial_run(config=config), "hidden", "u1", "1")


@pytest.mark.parametrize("name", sorted(functions.FUNCTIONS))
def test_activations_are_those_of_keras(name: str) -> None:
    import keras
    import tensorflow as tf

    if not hasattr(keras.activations, name) and name != "swish":
        pytest.skip("this Keras has no such activation")
    if name == "gelu" and int(tf.__version__.split(".")[1]) < 21:
        pytest.skip("in float64 this TensorFlow rounds another constant to float32")
    sums = np.linspace(-8, 8, 41)
    expected = keras.ops.convert_to_numpy(
        keras.activations.get(name)(keras.ops.convert_to_tensor(sums[None], "float64"))
    )[0]
    found = functions.FUNCTIONS[name](sums)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_a_layer_without_units_names_none() -> None:
    with pytest.raises(InputError, match=r"^a: no unit 'u1'$"):
        explain.place_of("u1", (0,), "a")
