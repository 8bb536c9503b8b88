"""Models in files of Keras 2 give the values that Keras 2 gave, or are refused by name."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import runner
from runner.config.model_config import SavedModel
from runner.errors import InputError
from runner.model.model_files import load_saved
from runner.model.old_models import hard_sigmoid_of_keras_2
from runner.screen import explain

Config = dict[str, Any]
Weights = dict[str, list[np.ndarray]]

GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
SCALED = {
    "class_name": "VarianceScaling",
    "config": {
        "scale": 1.0, "mode": "fan_avg", "distribution": "normal", "seed": None, "dtype": "float32",
    },
}  # fmt: skip
ZEROS = {"class_name": "Zeros", "config": {"dtype": "float32"}}


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def layer(class_name: str, name: str, **config: Any) -> Config:
    return {
        "class_name": class_name,
        "config": {"name": name, "trainable": True, "dtype": "float32", **config},
    }


def dense(name: str, units: int, activation: Any = "linear", **config: Any) -> Config:
    arguments = {
        "units": units, "activation": activation, "use_bias": True, "kernel_initializer": GLOROT,
        "bias_initializer": ZEROS, "kernel_regularizer": None, "bias_regularizer": None,
        "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
    }  # fmt: skip
    return layer("Dense", name, **{**arguments, **config})


def recurrent(class_name: str, name: str, units: int, **config: Any) -> Config:
    arguments = {
        "return_sequences": False, "return_state": False, "go_backwards": False,
        "stateful": False, "unroll": False, "time_major": False, "units": units,
        "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True,
        "kernel_initializer": SCALED, "recurrent_initializer": GLOROT, "bias_initializer": ZEROS,
        "dropout": 0.0, "recurrent_dropout": 0.0, "implementation": 2,
    }  # fmt: skip
    return layer(class_name, name, **{**arguments, **config})


def sequential(*layers: Config, name: str = "sequential") -> Config:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def functional(layers: list[Config], inputs: list[str], output: list[Any], name: str) -> Config:
    ends = {"input_layers": [[name, 0, 0] for name in inputs], "output_layers": [output]}
    return {"class_name": "Model", "config": {"name": name, "layers": layers, **ends}}


def input_layer(name: str, *shape: int | None) -> Config:
    config = {
        "batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False, "ragged": False,
        "name": name,
    }  # fmt: skip
    return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}


def called(made: Config, *inputs: str | list[Any]) -> Config:
    node = [[one, 0, 0, {}] if isinstance(one, str) else one for one in inputs]
    return {**made, "name": made["config"]["name"], "inbound_nodes": [node]}


def old_file(config: Config, weights: Weights, version: str = "2.2.4-tf", **attributes: str) -> str:
    """Write a file as ``model.save("old.h5")`` of Keras 2 did."""
    told = {"keras_version": version, "backend": "tensorflow", **attributes}
    with h5py.File("old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for key, value in told.items():
            file.attrs[key] = group.attrs[key] = value.encode()
        for name, arrays in weights.items():
            own = group.create_group(name)
            own.attrs["weight_names"] = [
                f"{name}/w{number}:0".encode() for number in range(len(arrays))
            ]
            for number, array in enumerate(arrays):
                own.create_dataset(f"{name}/w{number}:0", data=array)
    return "old.h5"


def loaded(path: str) -> keras.Model:
    return load_saved(SavedModel(path=path))


def same(model: keras.Model, by_hand: Any, *inputs: np.ndarray) -> None:
    """Hold the outputs of two models to each other, bit for bit."""
    given = inputs[0] if len(inputs) == 1 else list(inputs)
    expected = by_hand(given) if isinstance(by_hand, keras.Model) else by_hand(*inputs)
    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(expected))


KERNEL, BIAS = values(3, 4), values(4, seed=1)


def hand(made: keras.layers.Layer, shape: tuple[int, ...], arrays: list[np.ndarray]) -> Any:
    model = keras.Sequential([keras.layers.Input(shape), made])
    made.set_weights(arrays)
    return model


def test_a_sequential_model_has_its_declared_input_and_values() -> None:
    found = loaded(
        old_file(sequential(dense("d", 4, batch_input_shape=[7, 3])), {"d": [KERNEL, BIAS]})
    )
    assert found.input_shape == (7, 3)
    assert [one.name for one in found.layers] == ["d"]
    same(found, hand(keras.layers.Dense(4), (3,), [KERNEL, BIAS]), values(7, 3, seed=2))


def test_a_sequential_model_that_is_a_list_of_layers() -> None:
    layers = [dense("d", 4, batch_input_shape=[None, 3])]
    config = {"class_name": "Sequential", "config": layers}
    found = loaded(old_file(config, {"d": [KERNEL, BIAS]}, version="2.0.6"))
    same(found, hand(keras.layers.Dense(4), (3,), [KERNEL, BIAS]), values(5, 3, seed=2))


@pytest.mark.parametrize(
    ("dtype", "is_now"),
    [
        ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, "mixed_float16"),
        ({"class_name": "PolicyV1", "config": {"name": "infer", "loss_scale": None}}, "float32"),
        ("float64", "float64"),
    ],
)
def test_the_dtype_policies_of_keras_2(dtype: Any, is_now: str) -> None:
    made = dense("d", 4, batch_input_shape=[None, 3], dtype=dtype)
    [found] = loaded(old_file(sequential(made), {"d": [KERNEL, BIAS]})).layers
    assert found.dtype_policy.name == is_now


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1)


def test_the_hard_sigmoid_is_that_of_the_keras_that_wrote_the_file() -> None:
    config = sequential(
        layer("Activation", "a", activation="hard_sigmoid", batch_input_shape=[None, 3])
    )
    x = values(50, 3) * 3
    np.testing.assert_array_equal(np.asarray(loaded(old_file(config, {}))(x)), hard_sigmoid(x))
    new = loaded(old_file(config, {}, version="3.6.0"))
    np.testing.assert_array_equal(new(x), keras.activations.hard_sigmoid(x))
    assert np.abs(np.asarray(new(x)) - hard_sigmoid(x)).max() > 0.05


def test_a_run_of_an_old_model_explains_its_values() -> None:
    config = sequential(dense("d", 4, "hard_sigmoid", batch_input_shape=[None, 3]))
    found = loaded(old_file(config, {"d": [KERNEL, BIAS]}))
    run = runner.save_run(found, values(2, 3, seed=2), "run")
    said = explain.show(run, "d", "u1", "0")
    assert "hard_sigmoid_of_keras_2" in said
    assert "not covered" not in said


def test_wrapped_layers() -> None:
    config = sequential(
        layer("TimeDistributed", "t", batch_input_shape=[None, 6, 3], layer=dense("d", 4)),
        layer(
            "TimeDistributed", "n",
            layer=layer("BatchNormalization", "bn", axis=[1], epsilon=0.001, center=True),
        ),
    )  # fmt: skip
    norm = [values(4, seed=1), values(4, seed=2), values(4, seed=3), np.abs(values(4, seed=4))]
    found = loaded(old_file(config, {"t": [KERNEL, BIAS], "n": norm}))
    assert found.input_shape == (None, 6, 3)
    by_hand = keras.Sequential([
        keras.layers.Input((6, 3)),
        keras.layers.TimeDistributed(keras.layers.Dense(4)),
        keras.layers.TimeDistributed(keras.layers.BatchNormalization(axis=1)),
    ])  # fmt: skip
    by_hand.set_weights([KERNEL, BIAS, *norm])
    same(found, by_hand, values(5, 6, 3, seed=2))


def test_recurrent_layers() -> None:
    gates = [values(3, 8), values(2, 8, seed=1), values(8, seed=2)]
    back = [array * 0.5 for array in gates]
    both = layer(
        "Bidirectional", "b",
        layer=recurrent("LSTM", "l", 2, return_sequences=True), merge_mode="concat",
        batch_input_shape=[None, 6, 3],
    )  # fmt: skip
    # Without `reset_after`, GRU was what Keras 3 calls `reset_after=False`.
    after = recurrent("GRU", "g", 2)
    late = [values(4, 6), values(2, 6, seed=3), values(6, seed=4)]
    found = loaded(old_file(sequential(both, after), {"b": [*gates, *back], "g": late}))
    by_hand = keras.Sequential([
        keras.layers.Input((6, 3)),
        keras.layers.Bidirectional(
            keras.layers.LSTM(
                2, return_sequences=True, recurrent_activation=hard_sigmoid_of_keras_2
            )
        ),
        keras.layers.GRU(2, reset_after=False, recurrent_activation=hard_sigmoid_of_keras_2),
    ])  # fmt: skip
    by_hand.set_weights([*gates, *back, *late])
    same(found, by_hand, values(5, 6, 3, seed=5))


def test_cells_and_initial_states() -> None:
    gates = [values(3, 8), values(2, 8, seed=1), values(8, seed=2)]
    states = [input_layer("x", 6, 3), input_layer("h", 2), input_layer("c", 2)]
    made = called(recurrent("LSTM", "l", 2, recurrent_activation="sigmoid"), "x", "h", "c")
    config = functional([*states, made], ["x", "h", "c"], ["l", 0, 0], "m")
    x, h, c = values(5, 6, 3), values(5, 2, seed=1), values(5, 2, seed=2)
    by_hand = keras.layers.LSTM(2)
    by_hand.build((None, 6, 3))
    by_hand.set_weights(gates)
    same(
        loaded(old_file(config, {"l": gates})),
        lambda x, h, c: by_hand(x, initial_state=[h, c]),
        x, h, c,
    )  # fmt: skip
    cell = layer("LSTMCell", "cell", units=2, kernel_initializer=SCALED, implementation=2)
    outer = layer("RNN", "r", cell=cell, time_major=False, batch_input_shape=[None, 6, 3])
    same(loaded(old_file(sequential(outer), {"r": gates})), by_hand, x)


def takes_layers() -> bool:
    """Return whether this Keras reads a layer in the place of an activation."""
    relu = {"module": "keras.layers", "class_name": "LeakyReLU", "config": {}}
    try:
        return callable(keras.activations.get(relu))
    except ValueError:  # Keras 3.6
        return False


def test_arguments_that_keras_3_lacks() -> None:
    by_layer = takes_layers()
    conv = layer(
        "DepthwiseConv2D", "c",
        kernel_size=[3, 3], strides=[1, 1], padding="valid", data_format="channels_last",
        dilation_rate=[1, 1], groups=1, depth_multiplier=1, depthwise_initializer=GLOROT,
        activation=layer("LeakyReLU", "leaky", alpha=0.25) if by_layer else "relu",
        batch_input_shape=[None, 6, 6, 3],
    )  # fmt: skip
    norm = layer("BatchNormalizationV1", "n", axis=[3], epsilon=0.001, gamma_initializer=GLOROT)
    above = layer("ThresholdedReLU", "t", theta=0.5)
    arrays = {
        "c": [values(3, 3, 3, 1), values(3)],
        "n": [values(3), values(3, seed=1), values(3, seed=2), np.abs(values(3, seed=3))],
    }
    by_hand = keras.Sequential([
        keras.layers.Input((6, 6, 3)),
        keras.layers.DepthwiseConv2D(
            3, activation=keras.layers.LeakyReLU(negative_slope=0.25) if by_layer else "relu"
        ),
        keras.layers.BatchNormalization(),
    ])  # fmt: skip
    by_hand.set_weights([*arrays["c"], *arrays["n"]])

    def thresholded(x: np.ndarray) -> np.ndarray:
        below = np.asarray(by_hand(x))
        return np.where(below > 0.5, below, np.float32(0))

    same(loaded(old_file(sequential(conv, norm, above), arrays)), thresholded, values(2, 6, 6, 3))


def test_nested_models_are_called_on_what_they_were_called_on() -> None:
    inner = functional(
        [input_layer("i", 3), called(dense("block/a", 4), "i")], ["i"], ["block/a", 0, 0], "inner"
    )
    chain = sequential(dense("c", 3, batch_input_shape=[None, 4]), name="chain")
    layers = [
        input_layer("x", 3),
        input_layer("y", 3),
        # Called on both inputs: calls of a nested model were counted from 1.
        {
            **inner,
            "name": "inner",
            "inbound_nodes": [[["x", 0, 0, {}]], [["y", 0, 0, {}]]],
        },
        called(layer("Subtract", "minus"), ["inner", 2, 0, {}], ["inner", 1, 0, {}]),
        called(chain, "minus"),
    ]
    config = functional(layers, ["x", "y"], ["chain", 1, 0], "m")
    kernel, bias = values(4, 3, seed=4), values(3, seed=5)
    found = loaded(old_file(config, {"inner": [KERNEL, BIAS], "chain": [kernel, bias]}))
    first = hand(keras.layers.Dense(4), (3,), [KERNEL, BIAS])
    second = hand(keras.layers.Dense(3), (4,), [kernel, bias])
    same(found, lambda x, y: second(first(y) - first(x)), values(5, 3), values(5, 3, seed=1))
    assert found.get_layer("inner").layers[-1].name == "block_a"


def test_attention_with_tensors_as_arguments() -> None:
    made = layer(
        "MultiHeadAttention", "a",
        num_heads=2, key_dim=3, value_dim=3, dropout=0.0, use_bias=True, output_shape=None,
        attention_axes=[1], query_shape=[None, 6, 4], key_shape=[None, 6, 4],
        value_shape=[None, 6, 4],
    )  # fmt: skip
    arrays = [
        values(*shape, seed=number)
        for number, shape in enumerate([*[(4, 2, 3), (2, 3)] * 3, (2, 3, 4), (4,)])
    ]
    config = functional(
        [
            input_layer("q", 6, 4),
            input_layer("v", 6, 4),
            called(made, ["q", 0, 0, {"value": ["v", 0, 0], "key": None}]),
        ],
        ["q", "v"],
        ["a", 0, 0],
        "m",
    )
    q, v = values(2, 6, 4), values(2, 6, 4, seed=1)
    by_hand = keras.layers.MultiHeadAttention(2, 3)
    by_hand(q, v)
    by_hand.set_weights(arrays)
    same(loaded(old_file(config, {"a": arrays})), by_hand, q, v)


def test_a_keras_file_of_keras_2() -> None:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4, name="d")])
    made.set_weights([KERNEL, BIAS])
    made.save("new.keras")
    first = {**dense("d", 4, "hard_sigmoid"), "module": "keras.layers", "registered_name": None}
    start = input_layer("i", 3)
    with zipfile.ZipFile("new.keras") as new, zipfile.ZipFile("old.keras", "w") as old:
        described = {**sequential(start, first), "module": "keras", "registered_name": None}
        old.writestr("config.json", json.dumps(described))
        old.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        old.writestr("model.weights.h5", new.read("model.weights.h5"))
    x = values(5, 3)
    expected = hard_sigmoid(np.asarray(made(x)))
    np.testing.assert_array_equal(np.asarray(loaded("old.keras")(x)), expected)


def test_a_name_that_keras_takes_for_weights_alone() -> None:
    path = old_file(sequential(dense("d", 4, batch_input_shape=[None, 3])), {"d": [KERNEL, BIAS]})
    before = Path(path).read_bytes()
    shutil.copy(path, "best.weights.h5")
    same(loaded("best.weights.h5"), loaded(path), values(5, 3))
    assert Path(path).read_bytes() == before


FIRST = {"batch_input_shape": [None, 6, 6, 3]}
CONV = layer("Conv2D", "c", filters=2, kernel_size=[3, 3], **FIRST)


@pytest.mark.parametrize(
    ("made", "attributes", "said"),
    [
        (
            recurrent("LSTM", "l", 2, time_major=True, batch_input_shape=[None, 6, 3]),
            {},
            r"layer 'l' has time_major=True, and LSTM of Keras .* has no such argument; in the "
            r"environment that made the file \(Keras 2\.2\.4-tf\), build the model with a layer "
            r"without time_major, load its weights and save it again$",
        ),
        (
            layer("TFOpLambda", "tf.math.add", function="math.add"),
            {},
            r"layer 'tf\.math\.add' is of the class 'TFOpLambda', which Keras 3.* does not have; "
            r".* build the model with a layer of Keras, such as Add or Rescaling, in place of ",
        ),
        (
            layer("LocallyConnected1D", "l", filters=2),
            {},
            r"'LocallyConnected1D', .* build the model with another layer",
        ),
        (
            layer("Mine", "m"),
            {},
            r"layer 'm' is of the class 'Mine', which is not one of Keras; register its classes ",
        ),
        (layer("Lambda", "x", function=["4wEA", None, None]), {}, "it holds Python code "),
        (CONV, {"backend": "theano"}, r"layer 'c' would give other values, as Theano turned "),
        (
            layer("UpSampling2D", "u", size=[2, 2], interpolation="bilinear", **FIRST),
            {"version": "2.2.4"},
            r"layer 'u' would give other values, as Keras 2\.2\.4 placed the pixels of a ",
        ),
        (dense("d", 5, batch_input_shape=[None, 3]), {}, r"Weight expects shape \(3, 5\)\."),
    ],
)
def test_what_cannot_be_the_same_is_refused(
    made: Config, attributes: dict[str, str], said: str
) -> None:
    path = old_file(sequential(made), {"d": [KERNEL, BIAS]}, **attributes)
    with pytest.raises(InputError, match=rf"^model\.path: old\.h5 cannot be loaded: .*{said}"):
        loaded(path)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _cudnn_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Any:
    """Compute the outputs of an LSTM from numbers in cuDNN's layout, by its documentation."""
    units = len(recurrent)
    w = [gate.reshape(units, -1) for gate in np.split(kernel, 4, axis=1)]
    r = [gate.reshape(units, units) for gate in np.split(recurrent, 4, axis=1)]
    b = np.split(bias, 8)
    h = c = np.zeros((len(x), units))
    outputs = []
    for now in x.swapaxes(0, 1):
        i, f, new, o = (now @ w[k].T + h @ r[k].T + b[k] + b[k + 4] for k in range(4))
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(new)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def _cudnn_gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> Any:
    """Compute the outputs of a GRU from numbers in cuDNN's layout, by its documentation."""
    units = len(recurrent)
    w = [gate.reshape(units, -1) for gate in np.split(kernel, 3, axis=1)]
    r = [gate.reshape(units, units) for gate in np.split(recurrent, 3, axis=1)]
    b = np.split(bias, 6)
    h = np.zeros((len(x), units))
    outputs = []
    for now in x.swapaxes(0, 1):
        z, reset = (_sigmoid(now @ w[k].T + h @ r[k].T + b[k] + b[k + 3]) for k in range(2))
        new = np.tanh(now @ w[2].T + b[2] + reset * (h @ r[2].T + b[5]))
        h = (1 - z) * new + z * h
        outputs.append(h)
    return np.stack(outputs, axis=1)


_CUDNN = {"CuDNNLSTM": (_cudnn_lstm, 4), "CuDNNGRU": (_cudnn_gru, 3)}


def _cudnn(class_name: str, name: str, **config: Any) -> Config:
    return layer(class_name, name, units=3, return_sequences=True, stateful=False, **config)


def _cudnn_weights(gates: int, seed: int) -> list[np.ndarray]:
    shapes = ((2, 3 * gates), (3, 3 * gates), (6 * gates,))
    return [values(*shape, seed=seed + place) for place, shape in enumerate(shapes)]


@pytest.mark.parametrize("class_name", _CUDNN)
def test_layers_of_cudnn_compute_what_they_did(class_name: str) -> None:
    computed, gates = _CUDNN[class_name]
    arrays, x = _cudnn_weights(gates, 1), values(4, 5, 2, seed=9)
    first = _cudnn(class_name, "cu", batch_input_shape=[None, 5, 2])
    path = old_file(sequential(first), {"cu": arrays})
    before = Path(path).read_bytes()
    np.testing.assert_allclose(loaded(path)(x), computed(x, *arrays), rtol=1e-4, atol=1e-5)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("class_name", _CUDNN)
def test_layers_of_cudnn_inside_others_compute_what_they_did(class_name: str) -> None:
    computed, gates = _CUDNN[class_name]
    there, back, x = _cudnn_weights(gates, 1), _cudnn_weights(gates, 5), values(4, 5, 2, seed=9)
    both = layer("Bidirectional", "both", merge_mode="concat", layer=_cudnn(class_name, "cu"))
    both["config"]["batch_input_shape"] = [None, 5, 2]
    path = old_file(
        sequential(both, dense("d", 4)), {"both": [*there, *back], "d": [values(6, 4), BIAS]}
    )
    sides = computed(x, *there), computed(x[:, ::-1], *back)[:, ::-1]
    truth = np.concatenate(sides, axis=-1) @ values(6, 4) + BIAS
    np.testing.assert_allclose(loaded(path)(x), truth, rtol=1e-4, atol=1e-5)


def test_a_file_without_the_weights_of_its_model() -> None:
    path = old_file(sequential(dense("d", 4, batch_input_shape=[None, 3])), {})
    with h5py.File(path, "a") as file:
        del file["model_weights"]
    with pytest.raises(
        InputError, match=r"^model\.path: old\.h5 holds a model without its weights; save it again"
    ):
        loaded(path)


def test_an_old_file_that_declares_gigabytes_is_refused() -> None:
    huge = sequential(dense("d", 10**9, batch_input_shape=[None, 3]))
    with pytest.raises(InputError, match=r"old\.h5 has .* kB, its layers declare .* 12.0 GB"):
        loaded(old_file(huge, {"d": [KERNEL, BIAS]}))
