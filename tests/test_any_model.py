"""Models of every kind: each layer is there, its values are right, the model is left alone.

The truth never comes from the capture's own mechanism: models written here tell what their
layers put out by themselves (`tell`), Functional ones are rebuilt with many outputs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.errors import RunError

ALL_KINDS = frozenset(("activation", "weight", "input", "pre_activation"))
told: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    told.clear()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def tell(name: str, value: Any) -> Any:
    """Note what a layer put out, under the name that the capture must give it."""
    for place, leaf in flat(value):
        told[f"{name}:{place}" if place else name] = leaf
    return value


def flat(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            for below, leaf in flat(item):
                yield (f"{key}.{below}" if below else str(key)), leaf
    elif value is not None:
        yield "", value


@contextlib.contextmanager
def nothing_fused() -> Iterator[None]:
    tf.config.optimizer.set_experimental_options(
        dict.fromkeys(("remapping", "arithmetic_optimization", "constant_folding"), False)
    )
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(
            dict.fromkeys(("remapping", "arithmetic_optimization", "constant_folding"), True)
        )


def graph_run(function: Callable[[Any], Any], x: Any) -> Any:
    """Run a function as a graph for batches of any size, nothing in it fused."""
    x = tf.nest.map_structure(tf.constant, x)
    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype), x
    )
    with nothing_fused():
        return tf.function(function, autograph=False).get_concrete_function(signature)(x)


def telling(model: keras.Model, x: Any) -> dict[str, np.ndarray]:
    """Return what a model told while it ran in a graph."""

    def forward(inputs: Any) -> dict[str, Any]:
        told.clear()
        model(inputs, training=False)
        return dict(told)

    return {name: value.numpy() for name, value in graph_run(forward, x).items()}


def many_outputs(model: keras.Model, x: Any) -> dict[str, np.ndarray]:
    """Return what every node of a Functional model returns, from a model that returns all."""
    nodes = [node for node in model.operations if not isinstance(node, layers.InputLayer)]
    outputs = {
        f"{node.name}:{place}" if place else node.name: tensor
        for node in nodes
        for place, tensor in flat(node.output)
    }
    every = keras.Model(model.input, list(outputs.values()))
    found = graph_run(lambda inputs: every(inputs, training=False), x)
    return dict(zip(outputs, [value.numpy() for value in found], strict=True))


def values(capture: Capture, kind: str = "activation") -> dict[str, np.ndarray]:
    own = {
        (spec.kind, spec.name): array
        for spec, array in zip(capture.tensors, capture.first, strict=True)
    }
    assert len(own) == len(capture.tensors), "two tensors of one name"
    for alias, spec in capture.aliases:
        if alias.kind != "weight":
            own[alias.kind, alias.name] = own[spec.kind, spec.name]
    return {name: array for (own_kind, name), array in own.items() if own_kind == kind}


def operations(thing: Any, found: dict[int, Any]) -> dict[int, Any]:
    """Find every layer and node below an object, by what its attributes hold."""
    if isinstance(thing, keras.Operation):
        if id(thing) in found:
            return found
        found[id(thing)] = thing
        held = list(vars(thing).values())
    else:
        held = list(thing.values()) if isinstance(thing, dict) else list(thing)
    for item in held:
        if isinstance(item, (keras.Operation, list, tuple, dict, set)):
            operations(item, found)
    return found


def assert_every_layer(model: keras.Model, x: Any, *, training: bool = False) -> None:
    """Each object gets a name that nothing else has: then a name stands for an object."""
    found = operations(model, {})
    del found[id(model)]
    for operation in list(found.values()):  # how a Sequential runs the layers that it has
        found.pop(id(getattr(operation, "_functional", None)), None)
    found.pop(id(getattr(model, "_functional", None)), None)
    names = [operation.name for operation in found.values()]
    for position, operation in enumerate(found.values()):
        object.__setattr__(operation, "name", f"object{position}")
    try:
        capture = Capture(model, x, training=training)
    finally:
        for operation, name in zip(found.values(), names, strict=True):
            object.__setattr__(operation, "name", name)
    listed = {layer.path.split("/")[-1]: layer for layer in capture.layers}
    for position, operation in enumerate(found.values()):
        assert f"object{position}" in listed, operation
        assert listed[f"object{position}"].layer_class == type(operation).__name__
    held = {spec.layer_path for spec in capture.tensors}
    held |= {alias.layer_path for alias, _ in capture.aliases if alias.kind != "weight"}
    for layer in capture.layers:
        assert (layer.reason is None) == (layer.path in held), layer


@contextlib.contextmanager
def left_alone(model: keras.Model) -> Iterator[None]:
    """Hold a model's variables, its losses and Keras's own classes to what they were."""
    classes = keras.Layer.__call__, keras.Operation.__call__, tf.Graph.name_scope
    before = [(variable, np.array(variable.value)) for variable in model.variables]
    attributes = [(layer, dict(vars(layer))) for layer in model._flatten_layers()]
    losses = [id(loss) for layer in model._flatten_layers() for loss in layer._losses]
    yield
    assert (keras.Layer.__call__, keras.Operation.__call__, tf.Graph.name_scope) == classes
    assert [id(variable) for variable in model.variables] == [id(v) for v, _ in before]
    for variable, value in before:
        np.testing.assert_array_equal(np.array(variable.value), value, variable.path)
    for layer, attribute in attributes:
        assert vars(layer).keys() == attribute.keys()
        assert all(vars(layer)[name] is value for name, value in attribute.items())
    left = [id(loss) for layer in model._flatten_layers() for loss in layer._losses]
    assert left == losses


def examined(
    model: keras.Model, x: Any, truth: dict[str, np.ndarray], *, all_told: bool = True
) -> Capture:
    """Hold everything captured of a built model to the truth, bit by bit."""
    with left_alone(model):
        capture = Capture(model, x, Selection(kinds=ALL_KINDS))
        assert_every_layer(model, x)
    found = values(capture)
    assert capture.eager_because is None
    assert set(truth) - set(found) == set()
    if all_told:
        assert set(found) - set(truth) == set()
    for name, value in truth.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, name)
    weights = {id(variable) for _, variable in capture.weights}
    assert weights == {id(variable) for variable in model.weights}
    for array, again in zip(capture.first, capture(x), strict=True):
        np.testing.assert_array_equal(array, again)
    return capture


def reasons(capture: Capture) -> dict[str, str | None]:
    return {layer.path: layer.reason for layer in capture.layers}


class Pair(layers.Layer):
    """Takes keywords, one of them optional, and returns a structure."""

    def __init__(self, name: str, shared: layers.Layer) -> None:
        super().__init__(name=name)
        self.shared = shared
        self.branches = {
            "left": layers.Dense(4, "tanh", name="same"),
            "right": [layers.Dense(4, name="same"), (layers.ReLU(name="relu"),)],
        }

    def call(self, *, first: Any, second: Any = None, path: str = "") -> Any:
        one = tell(f"{path}/same", self.branches["left"](first))
        two = tell(f"{path}/same#2", self.branches["right"][0](inputs=first))
        two = tell(f"{path}/relu", self.branches["right"][1][0](two))
        if second is not None:
            two = two + tell(f"{path}/shared", self.shared(second))
        return {"sum": one + two, "parts": [one * 2.0, (two - one, None)]}


class Middle(keras.Model):
    def __init__(self, name: str, shared: layers.Layer) -> None:
        super().__init__(name=name)
        self.shared = shared
        self.pair = Pair("pair", shared)
        self.never = [layers.Dense(3, name="never")]

    def call(self, inputs: Any, path: str = "") -> Any:
        x, y = inputs
        hidden = tell(f"{path}/shared", self.shared(x))
        alone = tell(f"{path}/pair@0", self.pair(first=hidden, path=f"{path}/pair@0"))
        both = tell(
            f"{path}/pair@1",
            self.pair(second=y, first=alone["sum"], path=f"{path}/pair@1"),
        )
        return [both["sum"], both["parts"][1][0]]


class Top(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="top")
        shared = layers.Dense(4, "gelu", name="shared")
        self.middles = [Middle("middle", shared), Middle("other", shared)]
        self.heads = {"out": layers.Dense(2, "softmax", name="out")}

    def call(self, inputs: Any) -> Any:
        a, b = inputs["a"], inputs["b"]
        first = tell("middle@0", self.middles[0]([a, b], path="middle@0"))
        second = tell("middle@1", self.middles[0]([b, a], path="middle@1"))
        third = tell("other", self.middles[1]((first[0], second[1]), path="other"))
        return {"out": tell("out", self.heads["out"](third[0])), "more": (first, None)}


@pytest.mark.filterwarnings("ignore:.*unbuilt state")
def test_three_levels_of_subclassed_models() -> None:
    model, x = Top(), {"a": random(5, 4), "b": random(5, 4, seed=1)}
    model(x)
    capture = examined(model, x, telling(model, x))
    assert "middle@1/pair@1/shared" in values(capture)
    assert "other/pair@0/same#2" in values(capture)
    why = reasons(capture)
    assert why["middle/never"] == "opaque: not called as a layer while 'middle' ran"
    assert [spec.name for spec, _ in capture.weights if "shared" in spec.name] == [
        "middle/shared/kernel", "middle/shared/bias",
    ]  # fmt: skip
    for name, before in values(capture, "pre_activation").items():
        activation = {"out": "softmax", "shared": "gelu", "same": "tanh"}.get(
            name.split("/")[-1].split("@")[0], "linear"
        )
        after = graph_run(keras.activations.get(activation), before)
        np.testing.assert_array_equal(after, values(capture)[name])


def test_a_layer_that_calls_itself() -> None:
    class Again(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="again")
            self.dense = layers.Dense(3, "tanh", name="dense")

        def call(self, x: Any, left: int = 2, path: str = "again") -> Any:
            x = tell(f"{path}/dense", self.dense(x))
            if not left:
                return x
            path = f"{path}/again"
            return tell(path, self(x, left=left - 1, path=path))

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.again = Again()

        def call(self, x: Any) -> Any:
            return tell("again", self.again(x))

    model, x = Model(), random(4, 3)
    model(x)
    assert "again/again/again/dense" in values(examined(model, x, telling(model, x)))


def test_weights_tied_by_hand() -> None:
    class Tied(layers.Layer):
        def __init__(self, table: layers.Embedding) -> None:
            super().__init__(name="tied")
            self.table = table

        def call(self, x: Any) -> Any:
            return ops.matmul(x, ops.transpose(self.table.embeddings))

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embed = layers.Embedding(7, 3, name="embed")
            self.tied = Tied(self.embed)

        def call(self, x: Any) -> Any:
            return tell("tied", self.tied(tell("embed", self.embed(x))))

    model, x = Model(), np.arange(8, dtype="int32").reshape(4, 2) % 7
    model(x)
    capture = examined(model, x, telling(model, x))
    assert [spec.name for spec, _ in capture.weights] == ["embed/embeddings"]


def test_a_wrapper_a_lambda_and_activations_that_are_layers() -> None:
    class Scaled(layers.Wrapper):
        def call(self, x: Any) -> Any:
            return tell("scaled/inner", self.layer(x)) * 2.0

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scaled = Scaled(layers.Dense(4, name="inner"), name="scaled")
            self.function = layers.Lambda(lambda x: ops.sin(x), name="function")
            self.leaky = layers.Dense(4, activation=layers.LeakyReLU(name="leaky"), name="dense")
            self.softmax = layers.Softmax(name="softmax")

        def call(self, x: Any) -> Any:
            x = tell("scaled", self.scaled(x))
            x = tell("function", self.function(x))
            x = tell("dense", self.leaky(x))
            told["dense/leaky"] = x
            return tell("softmax", self.softmax(x, mask=ops.greater(x, 0.0)))

    model, x = Model(), random(4, 3)
    model(x)
    found = values(examined(model, x, telling(model, x)))
    dense = model.leaky
    by_hand = found["function"] @ np.array(dense.kernel) + np.array(dense.bias)
    by_hand = np.where(by_hand > 0, by_hand, by_hand * np.float32(dense.activation.negative_slope))
    np.testing.assert_allclose(found["dense"], by_hand, rtol=1e-5, atol=1e-6)


def test_nodes_that_split_stack_and_slice() -> None:
    x = keras.Input((4, 6), name="x")
    left, right = ops.split(x, 2, axis=-1)
    both = ops.stack([left, right[:, ::-1]], axis=1)
    some = both[:, 0, 1:3, None] * 2 - ops.mean(both, axis=(1, 2), keepdims=True)
    top, places = ops.top_k(ops.reshape(some, (-1, 6)), 2)
    model = keras.Model(x, {"top": top, "rest": [ops.exp(some), places]})
    batch = random(5, 4, 6)
    found = values(examined(model, batch, many_outputs(model, batch)))
    np.testing.assert_array_equal(found["split:1"], batch[..., 3:])
    np.testing.assert_array_equal(
        found["stack"], np.stack([batch[..., :3], batch[:, ::-1, 3:]], axis=1)
    )
    assert {array.dtype.name for array in found.values()} == {"float32", "int32"}


def test_masks_reach_the_layers() -> None:
    words = keras.Input((5,), dtype="int32", name="words")
    series = keras.Input((5, 3), name="series")
    embedded = layers.Embedding(7, 3, mask_zero=True, name="embed")(words)
    h = layers.LSTM(4, return_sequences=True, name="lstm")(embedded)
    k = layers.GRU(4, return_sequences=True, name="gru")(layers.Masking(name="masking")(series))
    pooled = layers.GlobalAveragePooling1D(name="pool")(layers.Add(name="add")([h, k]))
    model = keras.Model([words, series], pooled)
    x = [np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 1]], "int32"), random(2, 5, 3)]
    x[1][0, 3:] = 0
    capture = examined(model, x, many_outputs(model, x))
    longer = [x[0].copy(), x[1].copy()]
    longer[0][0, 2] = 5  # no longer masked
    again = dict(zip([spec.name for spec in capture.tensors], capture(longer), strict=True))
    assert (again["pool"] != values(capture)["pool"]).any()
    assert reasons(capture)["lstm/lstm_cell"].startswith("opaque: runs step by step")


STRANGE = "층 <b>🙂<|b>"


class Cell(layers.Layer):
    """A recurrent cell made of layers whose names no TensorFlow scope may have."""

    def __init__(self, name: str, units: int = 3) -> None:
        super().__init__(name=name)
        self.state_size = units
        self.dense = layers.Dense(units, "tanh", name=STRANGE)

    def build(self, shape: Any) -> None:
        self.dense.build((shape[0], shape[-1] + self.state_size))

    def call(self, x: Any, states: Any) -> Any:
        state = states[0] if isinstance(states, (list, tuple)) else states
        hidden = self.dense(ops.concatenate([x, state], axis=-1))
        return hidden, [hidden]


def recurrent(name: str, cell_name: str) -> keras.Model:
    x = keras.Input((5, 2), name="x")
    h, *states = layers.RNN(
        [Cell(cell_name), Cell("second", 4)],
        return_sequences=True,
        return_state=True,
        name=name,
    )(x)
    h = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(2), Cell("c")]), name="top")(h)
    return keras.Model(x, [h, *states])


@pytest.mark.parametrize("name", ["rnn", "되돌이 🙂 <i>x<|i>"])
def test_recurrent_cells_of_any_make_and_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = recurrent(name, f"cell {name}"), random(3, 5, 2)
    monkeypatch.setattr(f"{__name__}.STRANGE", "dense")  # TensorFlow takes no other name
    twin = recurrent("rnn", "cell")
    twin.set_weights(model.get_weights())
    truth = {key.replace("rnn", name): value for key, value in many_outputs(twin, batch).items()}
    capture = examined(model, batch, truth)
    cell = next(layer for layer in capture.layers if "층" in layer.path)
    assert cell.reason == f"opaque: runs step by step inside the loop of '{name}'"
    first = model.get_layer(name).cell.cells[0].dense
    state = np.zeros((3, 3), "float32")
    for step in range(5):
        state = np.tanh(
            np.concatenate([batch[:, step], state], axis=1) @ np.array(first.kernel)
            + np.array(first.bias)
        )
    states = [value for key, value in truth.items() if key.startswith(f"{name}:1")]
    np.testing.assert_allclose(states[0], state, rtol=1e-4, atol=1e-5)


def test_convolutional_and_bidirectional_recurrence() -> None:
    x = keras.Input((4, 6, 6, 2), name="x")
    h = layers.ConvLSTM2D(3, 3, return_sequences=True, name="conv")(x)
    h = layers.TimeDistributed(
        keras.Sequential([layers.Flatten(name="flat"), layers.Dense(5, name="inner")], name="seq"),
        name="each",
    )(h)
    h, *states = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True, return_state=True, name="lstm"), name="both"
    )(h)
    model = keras.Model(x, [h, *states])
    batch = random(3, 4, 6, 6, 2)
    capture = examined(model, batch, many_outputs(model, batch), all_told=False)
    found = values(capture)
    both = graph_run(lambda h: model.get_layer("both").forward_layer(h), found["each"])
    for place, value in enumerate(both):
        np.testing.assert_array_equal(found[f"both/forward_lstm:{place}"], value)
    np.testing.assert_array_equal(found["both:0"][..., :3], found["both/forward_lstm:0"])
    for step in range(4):  # TimeDistributed runs its Sequential's layers one step at a time
        steps = [key for key in found if key.startswith("each/") and key.endswith(f"inner@{step}")]
        assert len(steps) == 1
        np.testing.assert_allclose(found[steps[0]], found["each"][:, step], rtol=1e-6)


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_attention_part_by_part(scores: bool, grouped: bool) -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.attention = (
                layers.GroupQueryAttention(3, 4, 2, name="attention")
                if grouped
                else layers.MultiHeadAttention(2, 3, dropout=0.1, name="attention")
            )

        def call(self, inputs: Any) -> Any:
            x, mask = inputs
            y = self.attention(
                query=x,
                value=x * 2.0,
                attention_mask=ops.cast(mask, "bool"),
                return_attention_scores=scores,
                use_causal_mask=True,
            )
            return tell("attention", y)

    model, x = Model(), [random(3, 6, 8), np.ones((3, 6, 6), "int32")]
    x[1][:, :, 4:] = 0
    model(x)
    capture = examined(model, x, telling(model, x), all_told=False)
    found = values(capture)
    attention = model.attention
    query, value = (
        np.asarray(graph_run(part, given))
        for part, given in (
            (getattr(attention, "_query_dense", None) or attention.query_dense, x[0]),
            (getattr(attention, "_value_dense", None) or attention.value_dense, x[0] * 2),
        )
    )
    np.testing.assert_array_equal(found["attention/query"], query)
    np.testing.assert_array_equal(found["attention/value"], value)
    output = "attention/attention_output"
    np.testing.assert_array_equal(found[output], found["attention:0" if scores else "attention"])
    if scores:
        weights = found["attention:1"]
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        assert (weights[..., 4:] == 0).all()
        assert (np.triu(weights[0, 0], 1) == 0).all()


def noisy() -> keras.Model:
    x = keras.Input((6,), name="x")
    h = layers.SpectralNormalization(layers.Dense(5, name="inner"), name="spectral")(x)
    h = layers.BatchNormalization(name="norm")(h)
    h = layers.GaussianNoise(0.5, name="noise")(h)
    h = layers.Dropout(0.4, name="drop")(layers.Dense(4, "relu", name="dense")(h))
    return keras.Model(x, layers.GaussianDropout(0.3, name="last")(h))


def test_training_equals_keras_by_hand_over_several_batches() -> None:
    model = noisy()
    twin = keras.models.clone_model(model)
    for mine, other in zip(model.variables, twin.variables, strict=True):
        other.assign(mine)
    every = keras.Model(twin.input, [layer.output for layer in twin.layers[1:]])
    batches = [random(8, 6, seed=seed) for seed in range(4)]
    by_hand = tf.function(lambda x: every(x, training=True), autograph=False)
    with nothing_fused():
        truths = [[value.numpy() for value in by_hand(batch)] for batch in batches]
    with left_alone(model):
        capture = Capture(model, batches[0], training=True)
        assert_every_layer(model, batches[0], training=True)
        shown = [
            [array.copy() for array in arrays]
            for arrays in (capture.first, *(capture(batch) for batch in batches[1:]))
        ]
    assert capture.eager_because is None
    names = [spec.name for spec in capture.tensors]
    for truth, arrays in zip(truths, shown, strict=True):
        found = dict(zip(names, arrays, strict=True))
        found |= {alias.name: found[spec.name] for alias, spec in capture.aliases}
        for layer, value in zip(model.layers[1:], truth, strict=True):
            np.testing.assert_array_equal(found[layer.name], value, layer.name)
    moved = [
        variable.path
        for variable, mine in zip(twin.variables, model.variables, strict=True)
        if (np.array(variable.value) != np.array(mine.value)).any()
    ]
    for part in ("moving_mean", "vector_u", "kernel", "seed_generator_state"):
        assert any(part in path for path in moved)
    for mine, other in zip(model.variables, twin.variables, strict=True):
        other.assign(mine)
    with nothing_fused():  # and the user's own streams go on where they stood
        np.testing.assert_array_equal(by_hand(batches[0])[-1], truths[0][-1])


def test_preprocessing_layers() -> None:
    image, number = keras.Input((6, 6, 3), name="image"), keras.Input((1,), name="number")
    normal = layers.Normalization(name="normal")
    normal.adapt(random(50, 6, 6, 3))
    h = normal(layers.Rescaling(1 / 255, offset=-1.0, name="scale")(image))
    h = layers.GlobalMaxPooling2D(name="pool")(layers.Resizing(4, 4, name="small")(h))
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], name="bins")(number)
    hot = layers.CategoryEncoding(4, output_mode="multi_hot", name="hot")(bins)
    model = keras.Model([image, number], layers.Concatenate(name="join")([h, hot]))
    x = [random(4, 6, 6, 3) * 100, np.array([[-2.0], [-1.0], [0.0], [7.0]], "float32")]
    found = values(examined(model, x, many_outputs(model, x)))
    np.testing.assert_array_equal(found["hot"], np.eye(4))


def test_tensors_of_strings_are_named_with_their_reason() -> None:
    words = keras.Input((2,), dtype="string", name="words")
    upper = layers.Lambda(tf.strings.lower, output_shape=(2,), dtype="string", name="lower")(words)
    look = layers.StringLookup(vocabulary=["a", "b"], name="look")(upper)
    lines = layers.TextVectorization(output_sequence_length=3, vocabulary=["a"], name="lines")
    line = lines(words[:, :1])
    model = keras.Model(words, [layers.Embedding(4, 2, name="embed")(look), line])
    x = np.array([["a", "B"], ["z", "A"]], object)
    with left_alone(model):
        capture = Capture(model, x)
        assert_every_layer(model, x)
    found = values(capture)
    np.testing.assert_array_equal(found["look"], [[1, 2], [0, 1]])
    np.testing.assert_array_equal(found["embed"], model(tf.constant(x))[0])
    np.testing.assert_array_equal(found["lines"], model(tf.constant(x))[1])
    assert reasons(capture)["lower"] == "opaque: its output is of type string"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_policies_of_every_width(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        x = keras.Input((8, 8, 2), name="x")
        h = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
        h = layers.LayerNormalization(name="norm")(layers.BatchNormalization(name="batch")(h))
        h = layers.Dense(3, "gelu", name="dense")(layers.Flatten(name="flat")(h))
        model = keras.Model(x, layers.Dense(2, "softmax", dtype="float32", name="out")(h))
    finally:
        keras.config.set_dtype_policy(before)
    batch = random(3, 8, 8, 2)
    found = values(examined(model, batch, many_outputs(model, batch)))
    assert found["dense"].dtype.name == policy.removeprefix("mixed_")
    assert found["out"].dtype.name == "float32"


def test_a_model_loaded_back_from_a_file(tmp_path: Path) -> None:
    inner = keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, "tanh", name="a"), layers.Dropout(0.2, name="b")],
        name="inner",
    )
    x = keras.Input((3,), name="x")
    shared = layers.Dense(3, name="shared")
    model = keras.Model(x, layers.Dense(2, name="out")(inner(shared(shared(x)))))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    batch = random(5, 3)
    found = {}
    for one in (model, loaded):
        with left_alone(one):
            capture = Capture(one, batch, Selection(kinds=ALL_KINDS))
            assert_every_layer(one, batch)
        found[one is loaded] = values(capture)
    assert set(found[True]) == {
        "shared@0", "shared@1", "inner", "inner/a", "inner/b", "out",
    }  # fmt: skip
    for name, value in found[False].items():
        np.testing.assert_array_equal(found[True][name], value)
    with nothing_fused():
        np.testing.assert_array_equal(
            found[True]["out"], tf.function(lambda x: loaded(x))(batch).numpy()
        )


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
def test_a_quantized_model() -> None:
    x = keras.Input((6,), name="x")
    h = layers.Dense(5, "relu", name="hidden")(x)
    model = keras.Model(x, layers.Dense(2, name="out")(h))
    plain = values(Capture(model, random(4, 6)))
    model.quantize("int8")
    batch = random(4, 6)
    capture = examined(model, batch, many_outputs(model, batch))
    found = values(capture)
    assert (found["hidden"] != plain["hidden"]).any()
    np.testing.assert_allclose(found["hidden"], plain["hidden"], atol=0.1)
    dtypes = {spec.name: spec.dtype for spec, _ in capture.weights}
    assert dtypes["hidden/kernel"] == "int8"


def test_losses_that_layers_add_stay_the_users() -> None:
    class Penalty(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.sum(ops.square(x)))
            return x * 1.0

    x = keras.Input((3,), name="x")
    h = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l1", name="dense")(x)
    model = keras.Model(x, Penalty(name="penalty")(h))
    batch = random(5, 3)
    model(batch)
    before = [np.array(loss) for loss in model.losses]
    examined(model, batch, many_outputs(model, batch))
    model(batch)
    np.testing.assert_array_equal([np.array(loss) for loss in model.losses], before)
    model.compile("sgd", "mse")
    model.fit(batch, random(5, 4), verbose=0)


def test_another_thread_may_use_the_model_meanwhile() -> None:
    inside, done = threading.Event(), threading.Event()

    class Waits(layers.Layer):
        def call(self, x: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                inside.set()
                assert done.wait(60)
            return x + 1.0

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = keras.Input((3,), name="x")
    inside.set()
    done.set()
    h = layers.Dense(4, "relu", name="dense")(Waits(name="waits")(x))
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(h))
    batch, other = random(4, 3), random(7, 3, seed=1)
    truth, expected = many_outputs(model, batch), np.array(model(other))
    inside.clear()
    done.clear()
    results: list[Any] = []

    def use() -> None:
        assert inside.wait(60)
        results.append(np.array(model(other)))
        done.set()

    thread = threading.Thread(target=use)
    thread.start()
    capture = examined(model, batch, truth)
    thread.join()
    np.testing.assert_array_equal(results[0], expected)
    assert [spec.name for spec in capture.tensors if spec.kind == "activation"] == [
        "waits", "dense",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_keras_as_it_was(error: type[BaseException]) -> None:
    class Fails(layers.Layer):
        fails = False

        def call(self, x: Any) -> Any:
            if self.fails:
                raise error("no")
            return x * 1.0

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    x = keras.Input((3,), name="x")
    h = layers.Dense(2, "relu", name="dense")(x)
    model = keras.Model(x, keras.Sequential([Fails(name="fails")], name="inner")(h))
    batch = random(2, 3)
    expected = np.array(model(batch))
    Fails.fails = True
    with (
        left_alone(model),
        pytest.raises(RunError if error is ValueError else KeyboardInterrupt),
    ):
        Capture(model, batch, Selection(kinds=ALL_KINDS))
    Fails.fails = False
    np.testing.assert_array_equal(model(batch), expected)
    assert not tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    Capture(model, batch)


@pytest.mark.slow
def test_three_hundred_layers() -> None:
    x = h = keras.Input((4,), name="x")
    for position in range(150):
        h = h + layers.Dense(4, "tanh", name=f"dense{position}")(h)
    model = keras.Model(x, h)
    batch = random(3, 4)
    assert len(values(examined(model, batch, many_outputs(model, batch)))) == 300


@pytest.mark.slow
def test_fifty_levels() -> None:
    class Level(layers.Layer):
        def __init__(self, inner: layers.Layer, level: int) -> None:
            super().__init__(name=f"level{level}")
            self.inner = inner

        def call(self, x: Any) -> Any:
            return self.inner(x) + 1.0

    layer: layers.Layer = layers.Dense(3, name="deepest")
    for level in range(50):
        layer = Level(layer, level)
    model = keras.Sequential([layers.Input((3,)), layer])
    batch = random(2, 3)
    with left_alone(model):
        capture = Capture(model, batch)
        assert_every_layer(model, batch)
    found = values(capture)
    path = "/".join(f"level{level}" for level in reversed(range(50)))
    value = found[f"{path}/deepest"]
    for level in range(50):
        value = value + np.float32(1)
        name = "/".join(f"level{above}" for above in reversed(range(level, 50)))
        np.testing.assert_array_equal(found[name], value)


def test_int_inputs_and_outputs() -> None:
    class Count(layers.Layer):
        def call(self, x: Any) -> Any:
            return {"even": ops.equal(x % 2, 0), "half": x // 2, "as": ops.cast(x, "uint8")}

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.count = Count(name="count")

        def call(self, x: Any) -> Any:
            return tell("count", self.count(x))["half"]

    model, x = Model(), np.arange(12, dtype="int64").reshape(4, 3)
    model(x)
    found = values(examined(model, x, telling(model, x)))
    np.testing.assert_array_equal(found["count:even"], x % 2 == 0)
    assert {array.dtype.name for array in found.values()} == {"bool", "int64", "uint8"}
