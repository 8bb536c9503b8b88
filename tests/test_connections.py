"""What the record says of which layer feeds which, and of what each was made with."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers

import runner
from runner.runs.published_run import Run
from runner.wiring import Wire

_VALUES = np.ones((2, 3), np.float32)


def wires(model: keras.Model, inputs: object) -> dict[str, tuple[Wire, ...]]:
    """Show a model some inputs; return what every call was called on, by its name."""
    record = Run.read(runner.save_run(model, inputs, Path("run")).path).record
    return {call.name: call.wires for layer in record.layers for call in layer.calls}


def test_a_nested_model_that_is_called_twice() -> None:
    given = keras.Input((3,))
    inner = keras.Model(
        given, layers.Dense(3, name="b")(layers.Dense(3, name="a")(given)), name="inner"
    )
    one = keras.Input((3,), name="one")
    first = inner(one)
    model = keras.Model(one, layers.Add(name="sum")([first, inner(first)]))
    assert wires(model, _VALUES) == {
        "inner@0/a": (Wire("inputs", model_input="input"),),
        "inner@0/b": (Wire("inputs", "inner@0/a"),),
        "inner@0": (Wire("inputs", model_input="input"),),
        "inner@1/a": (Wire("inputs", "inner@0/b"),),
        "inner@1/b": (Wire("inputs", "inner@1/a"),),
        "inner@1": (Wire("inputs", "inner@0/b"),),
        "sum": (Wire("inputs.0", "inner@0/b"), Wire("inputs.1", "inner@1/b")),
    }


def test_inputs_by_name_by_place_and_by_keyword() -> None:
    by_name = {name: keras.Input((3,), name=name) for name in ("left", "right")}
    model = keras.Model(by_name, layers.Subtract(name="d")([by_name["right"], by_name["left"]]))
    expected = (Wire("inputs.0", model_input="right"), Wire("inputs.1", model_input="left"))
    assert wires(model, {"left": _VALUES, "right": _VALUES})["d"] == expected


class Own(layers.Layer):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.attention = layers.MultiHeadAttention(1, 2, name="attention")

    def call(self, inputs: object) -> object:
        return self.attention(query=inputs, value=inputs, use_causal_mask=True)


def test_a_layer_inside_one_s_own() -> None:
    given = keras.Input((4, 3), dtype="int32")
    model = keras.Model(given, Own()(given))
    shown = np.ones((2, 4, 3), np.int32)
    assert wires(model, shown)["own/attention"] == (
        Wire("query", model_input="input"),
        Wire("value", model_input="input"),
    )
    layers_of = {layer.path: layer for layer in Run.read(Path("run")).record.layers}
    assert layers_of["own"].arguments is None
    attention = layers_of["own/attention"]
    assert attention.arguments is not None
    assert attention.arguments["key_dim"] == 2
    assert attention.calls[0].settings["use_causal_mask"] is True
    assert layers_of["own/attention/query"].arguments == {
        "equation": "abc,cde->abde",
        "bias_axes": "de",
        "activation": "linear",
        "dtype": "float32",
    }


def test_a_layer_that_hands_on_what_no_other_put_out() -> None:
    class Gated(keras.Layer):
        def __init__(self) -> None:
            super().__init__(name="gated")
            self.drop = layers.Dropout(0.5, name="drop")

        def call(self, inputs: object) -> object:
            return self.drop(inputs * 2.0) + 1.0  # type: ignore[operator]

    given = keras.Input((3,))
    found = wires(keras.Model(given, Gated()(given)), _VALUES)
    derivation = {
        "operation": "multiply",
        "of": [{"input": "input"}, {"constant": 2.0, "dtype": "float32"}],
    }
    assert found["gated/drop"] == (Wire("inputs", derivation=derivation),)
