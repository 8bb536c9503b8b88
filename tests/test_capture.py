"""What is captured equals what the layers really put out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from runner.capture.batches import Shown
from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.engines.tensorflow.tracing import exact as unfused
from runner.errors import InputError, RunError


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()


ALL_KINDS = frozenset(("activation", "weight", "input", "pre_activation"))


def values(capture: Capture, kind: str = "activation") -> dict[str, np.ndarray]:
    """Return every captured tensor of a kind by name, aliases included."""
    own = {
        (spec.kind, spec.name): array
        for spec, array in zip(capture.tensors, capture.first, strict=True)
    }
    for alias, spec in capture.aliases:
        if alias.kind != "weight":
            own[alias.kind, alias.name] = own[spec.kind, spec.name]
    return {name: array for (own_kind, name), array in own.items() if own_kind == kind}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def multi_output(model: keras.Model, inputs: Any, names: list[str]) -> dict[str, np.ndarray]:
    """Return the outputs of flat Functional layers through a model of many outputs."""
    both = keras.Model(model.input, [model.get_layer(name).output for name in names])
    outputs = tf.function(lambda x: both(x, training=False))(inputs)
    return dict(zip(names, [np.asarray(output) for output in outputs], strict=True))


def assert_covers(model: keras.Model, capture: Capture) -> None:
    """Every layer the model has stands in the list, with values or a reason."""
    named = {layer.path.split("/")[-1].split("#")[0] for layer in capture.layers}
    missing = {layer.name for layer in model._flatten_layers(include_self=False)} - named
    assert missing == set()
    held = {spec.layer_path for spec in capture.tensors}
    held |= {alias.layer_path for alias, _ in capture.aliases if alias.kind != "weight"}
    for layer in capture.layers:
        assert (layer.reason is None) == (layer.path in held), layer


class Block(keras.Model):
    """A subclassed model with a shared layer, a list of layers and an unused one."""

    def __init__(self, name: str = "block") -> None:
        super().__init__(name=name)
        self.shared = layers.Dense(4, activation="tanh", name="shared")
        self.steps = [layers.Dense(4, name="first"), layers.Dense(4, name="second")]
        self.unused = layers.Dense(9, name="unused")

    def build(self, shape: Any) -> None:
        for layer in (self.shared, *self.steps):
            layer.build(shape)

    def call(self, inputs: Any) -> Any:
        hidden = self.shared(self.shared(inputs))
        for step in self.steps:
            hidden = step(hidden) + hidden
        return {"hidden": hidden, "sum": keras.ops.sum(hidden, axis=-1)}


def test_sequential_equals_the_product_by_hand() -> None:
    model = keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, "relu", name="hidden"), layers.Dense(2, name="out")]
    )
    x = random(5, 3)
    capture = Capture(model, x)
    kernel, bias = (np.asarray(weight) for weight in model.get_layer("hidden").weights)
    np.testing.assert_allclose(
        values(capture)["hidden"], np.maximum(x @ kernel + bias, 0), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(values(capture)["out"], np.asarray(model(x)))
    assert [spec.name for spec in capture.tensors] == ["hidden", "out"]
    assert [spec.name for spec, _ in capture.weights] == [
        "hidden/kernel", "hidden/bias", "out/kernel", "out/bias",
    ]  # fmt: skip
    assert_covers(model, capture)


def test_a_model_that_is_not_built_is_built_on_the_inputs() -> None:
    model = keras.Sequential([layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    capture = Capture(model, random(5, 3))
    assert values(capture)["a"].shape == (5, 4)
    assert_covers(model, capture)


def test_functional_with_operation_nodes_equals_a_model_of_many_outputs() -> None:
    x = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    b = layers.BatchNormalization(name="b")(a)
    c = layers.Conv2D(4, 1, name="c")(b) + a * 2.0
    out = layers.Dense(3, name="out")(layers.GlobalAveragePooling2D(name="pool")(c))
    model = keras.Model(x, out)
    batch = random(6, 8, 8, 3)
    capture = Capture(model, batch)
    found = values(capture)
    for name, truth in multi_output(model, batch, ["a", "b", "c", "pool", "out"]).items():
        np.testing.assert_array_equal(found[name], truth)
    np.testing.assert_array_equal(found["add"], found["c"] + found["a"] * 2)
    assert_covers(model, capture)


def test_shared_layers_have_an_entry_a_call() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    tower = keras.Sequential(
        [layers.Dense(3, name="dense"), layers.ReLU(name="relu")], name="tower"
    )
    twice = layers.Dense(3, name="twice")
    model = keras.Model([a, b], layers.Add(name="add")([tower(twice(a)), tower(twice(b))]))
    x, y = random(4, 3), random(4, 3, seed=1)
    capture = Capture(model, [x, y])
    found = values(capture)
    assert set(found) == {
        "twice@0", "twice@1", "add",
        "tower@0", "tower@0/dense", "tower@0/relu", "tower@1", "tower@1/dense", "tower@1/relu",
    }  # fmt: skip
    for call, inputs in enumerate((x, y)):
        inner = tower.layers[0](twice(inputs))
        np.testing.assert_array_equal(found[f"tower@{call}/dense"], np.asarray(inner))
        np.testing.assert_array_equal(found[f"tower@{call}"], np.maximum(inner, 0))
    spec = next(spec for spec in capture.tensors if spec.name == "tower@1/dense")
    assert (spec.layer_path, spec.call) == ("tower/dense", 1)
    assert [spec.name for spec, _ in capture.weights if "tower" in spec.name] == [
        "tower/dense/kernel", "tower/dense/bias",
    ]  # fmt: skip
    assert_covers(model, capture)


def test_subclassed_models_nest_to_any_depth() -> None:
    class Inner(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="inner")
            self.deep = Block("deep")

        def call(self, inputs: Any) -> Any:
            return self.deep(inputs)

    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()
            self.head = layers.Dense(2, name="head")

        def call(self, inputs: Any) -> Any:
            return self.head(self.inner(inputs)["hidden"])

    model, x = Outer(), random(3, 4)
    capture = Capture(model, x)
    found = values(capture)
    deep = model.inner.deep
    once = deep.shared(x)
    np.testing.assert_array_equal(found["inner/deep/shared@0"], np.asarray(once))
    np.testing.assert_array_equal(found["inner/deep/shared@1"], np.asarray(deep.shared(once)))
    np.testing.assert_array_equal(found["head"], np.asarray(model(x)))
    np.testing.assert_array_equal(found["inner/deep:sum"], np.asarray(deep(x)["sum"]))
    reasons = {layer.path: layer.reason for layer in capture.layers}
    assert reasons["inner/deep/unused"] == "opaque: not called as a layer while 'inner/deep' ran"
    assert_covers(model, capture)


def test_recurrent_layers_give_their_states_and_hide_their_loop() -> None:
    x = keras.Input((5,), dtype="int32", name="words")
    embedded = layers.Embedding(7, 3, mask_zero=True, name="embed")(x)
    h, *states = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(embedded)
    both = layers.Bidirectional(layers.GRU(2, name="gru"), name="both")(h)
    model = keras.Model(x, [both, *states])
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 1, 2]], "int32")
    capture = Capture(model, words)
    found = values(capture)
    truth = tf.function(lambda x: model(x))(words)
    np.testing.assert_array_equal(found["both"], truth[0])
    np.testing.assert_array_equal(found["lstm:1"], truth[1])
    np.testing.assert_array_equal(found["lstm:2"], truth[2])
    np.testing.assert_array_equal(
        found["embed"], np.asarray(model.get_layer("embed").embeddings)[words]
    )
    assert found["lstm:0"].shape == (2, 5, 4)
    assert {name for name in found if name.startswith("both/")} == {
        "both/forward_gru", "both/backward_gru",
    }  # fmt: skip
    reasons = {layer.path: layer.reason for layer in capture.layers}
    assert reasons["lstm/lstm_cell"] == "opaque: runs step by step inside the loop of 'lstm'"
    assert "lstm/lstm_cell/kernel" in [spec.name for spec, _ in capture.weights]
    assert_covers(model, capture)


def test_a_time_distributed_layer_is_named_as_opaque() -> None:
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.TimeDistributed(layers.Dense(2, name="inner"), name="td")(x))
    batch = random(4, 5, 3)
    capture = Capture(model, batch)
    np.testing.assert_array_equal(
        values(capture)["td"], np.asarray(tf.function(lambda x: model(x))(batch))
    )
    reasons = {layer.path: layer.reason for layer in capture.layers}
    assert reasons["td/inner"] == "opaque: not called as a layer while 'td' ran"
    assert_covers(model, capture)


def test_attention_gives_its_parts_and_its_scores() -> None:
    x = keras.Input((6, 8), name="x")
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    y, _ = attention(x, x, return_attention_scores=True)
    model = keras.Model(x, layers.LayerNormalization(name="norm")(x + y))
    batch = random(3, 6, 8)
    capture = Capture(model, batch)
    found = values(capture)
    out, weights = attention(batch, batch, return_attention_scores=True)
    np.testing.assert_allclose(found["attention:0"], np.asarray(out), atol=1e-6)
    np.testing.assert_allclose(found["attention:1"], np.asarray(weights), atol=1e-6)
    assert found["attention/query"].shape == (3, 6, 2, 4)
    np.testing.assert_allclose(found["attention/softmax"].sum(-1), 1, rtol=1e-5)
    assert_covers(model, capture)


def test_several_inputs_and_outputs_by_name() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), dtype="int32", name="b")
    joined = layers.Concatenate(name="join")([a, layers.Embedding(5, 1, name="e")(b)[:, :, 0]])
    model = keras.Model({"a": a, "b": b}, {"x": joined, "y": layers.Dense(1, name="y")(joined)})
    batch = {"a": random(4, 3), "b": np.arange(8, dtype="int32").reshape(4, 2) % 5}
    capture = Capture(model, batch)
    np.testing.assert_array_equal(values(capture)["join"], np.asarray(model(batch)["x"]))
    assert_covers(model, capture)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_dtype_policies(policy: str) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(3, "relu", dtype=policy, name="dense")(x))
    capture = Capture(model, random(2, 4))
    expected = policy.removeprefix("mixed_")
    found = values(capture)["dense"]  # Keras 3.6 has the cast before it as a node of its own
    assert found.dtype.name == expected
    assert {spec.dtype for spec in capture.tensors} == {expected}
    np.testing.assert_array_equal(
        found.astype("float32"), np.asarray(keras.ops.cast(model(random(2, 4)), "float32"))
    )


def test_training_mode_moves_on_from_batch_to_batch_and_leaves_the_model_alone() -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((4,))
    h = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(h))
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    for mine, other in zip(model.variables, twin.variables, strict=True):
        other.assign(mine)
    before = [np.asarray(variable).copy() for variable in model.variables]
    batches = [random(8, 4, seed=seed) for seed in range(3)]
    capture = Capture(model, batches[0], training=True)
    shown = [capture.first, *(capture(batch) for batch in batches[1:])]
    for batch, arrays in zip(batches, shown, strict=True):
        # The twin really is trained on the batches: same masks, same running means.
        np.testing.assert_array_equal(arrays[-1], np.asarray(twin(batch, training=True)))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert any((np.asarray(a) != b).any() for a, b in zip(twin.variables, before, strict=True))


def test_inference_passes_dropout_through_as_an_alias() -> None:
    model = keras.Sequential(
        [layers.Input((3,)), layers.ReLU(name="r"), layers.Dropout(0.5, name="d")]
    )
    capture = Capture(model, random(2, 3))
    assert [spec.name for spec in capture.tensors] == ["r"]
    assert [(alias.name, spec.name) for alias, spec in capture.aliases] == [("d", "r")]


def test_a_value_does_not_depend_on_what_else_is_captured() -> None:
    sizes = (64, 32, 16)
    model = keras.Sequential([layers.Input((128,)), *(layers.Dense(n, "tanh") for n in sizes)])
    x = random(32, 128)
    last = Capture(model, x, Selection(include=(model.layers[-1].name,))).first[0]
    everything = Capture(model, x, Selection(kinds=ALL_KINDS))
    np.testing.assert_array_equal(values(everything)[model.layers[-1].name], last)
    np.testing.assert_array_equal(last, np.asarray(model(x)))


def test_pre_activations_are_exact() -> None:
    x = keras.Input((6, 6, 2))
    h = layers.Conv2D(3, 3, activation="gelu", name="conv")(x)
    h = layers.Flatten(name="flat")(h)
    out = layers.Dense(4, activation=layers.LeakyReLU(name="leaky"), name="dense")(h)
    model = keras.Model(x, layers.Dense(2, activation="softmax", name="out")(out))
    capture = Capture(model, random(3, 6, 6, 2), Selection(kinds=ALL_KINDS))
    before, after = values(capture, "pre_activation"), values(capture)
    assert set(before) == {"conv", "out"}
    for name in before:
        activation = keras.activations.get(model.get_layer(name).activation)
        with unfused():
            traced = tf.function(lambda x, f=activation: f(x))(before[name])
        np.testing.assert_array_equal(np.asarray(traced), after[name])
    assert model.get_layer("conv").activation is keras.activations.gelu
    assert "dense/leaky" in after
    np.testing.assert_array_equal(values(capture, "input")["dense"], after["flat"])


@pytest.mark.parametrize(
    "name", ["two words", "층 하나", "<script>alert(1)</script>".replace("/", "|"), "_private", "-"]
)
def test_layers_of_any_name_are_traced(name: str) -> None:
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2, name=name)(x), name=name)
    capture = Capture(model, random(2, 3))
    assert capture.eager_because is None
    assert [spec.name for spec in capture.tensors] == [name]


def test_what_cannot_be_traced_runs_eagerly() -> None:
    class Branch(keras.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2 if float(keras.ops.sum(inputs)) > 0 else inputs * 3

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    model = keras.Sequential([layers.Input((3,)), Branch(name="branch")])
    capture = Capture(model, np.ones((2, 3), "float32"))
    assert capture.eager_because is not None
    np.testing.assert_array_equal(values(capture)["branch"], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(capture(-np.ones((2, 3), "float32"))[0], np.full((2, 3), -3.0))


def test_an_output_without_a_sample_axis_is_named_not_dropped() -> None:
    class Merge(keras.Layer):
        def call(self, inputs: Any) -> Any:
            return keras.ops.reshape(inputs, (-1, 2))

    class Total(keras.Layer):
        def call(self, inputs: Any) -> Any:
            return keras.ops.sum(inputs)

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.merge, self.total = Merge(name="merge"), Total(name="total")

        def call(self, inputs: Any) -> Any:
            return inputs + self.total(self.merge(inputs))

    capture = Capture(Model(), random(3, 4))
    reasons = {layer.path: layer.reason for layer in capture.layers}
    assert reasons["merge"] == "no sample axis: 3 samples gave an output of (6, 2)"
    assert reasons["total"] == "no sample axis: its output has shape ()"


def test_batches_of_one_shape_give_the_same_bits_alone_or_together() -> None:
    model = keras.Sequential([layers.Input((16,)), layers.Dense(32, "tanh"), layers.Dense(8)])
    x = random(10, 16)
    together = Capture(model, Shown(x).padded(16)).first[-1][:10]
    capture = Capture(model, x[:4])
    parts = [capture.first[-1], capture(x[4:8])[-1], capture(Shown(x[8:]).padded(4))[-1][:2]]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_an_index_outside_an_embedding_is_named() -> None:
    model = keras.Sequential([layers.Input((2,), dtype="int32"), layers.Embedding(5, 2)])
    with pytest.raises(InputError, match="probe: index 7 is outside an embedding of 0 to 4"):
        Capture(model, np.array([[1, 7], [0, 0]], "int32"))


def test_a_model_that_fails_names_the_layer() -> None:
    class Broken(keras.Layer):
        def call(self, inputs: Any) -> Any:
            raise ValueError("nothing works here", inputs.shape)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inner = keras.Sequential([layers.Input((3,)), Broken(name="broken")], name="inner")
    model = keras.Sequential([layers.Input((3,)), inner])
    with pytest.raises(RunError, match=r"\(in sequential\w*/inner/broken\): .*nothing works here"):
        Capture(model, random(2, 3))


def test_losses_added_by_layers_do_not_pile_up() -> None:
    model = keras.Sequential(
        [layers.Input((3,)), layers.ActivityRegularization(0.1), layers.Dense(1)]
    )
    capture = Capture(model, random(2, 3))
    capture(random(2, 3))
    model(random(2, 3))
    assert len(model.losses) == 1
