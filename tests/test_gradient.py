"""Gradients of the loss with respect to what layers put out, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import runner
from runner.errors import InputError

ROWS = 7
X = np.random.default_rng(0).normal(size=(ROWS, 5)).astype("float64")
Y = np.random.default_rng(1).normal(size=(ROWS, 3))
CLASSES = np.arange(ROWS) % 3


@pytest.fixture(autouse=True)
def _float64() -> Any:
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def chain(last: str | None = None) -> list[keras.layers.Layer]:
    return [
        keras.layers.Dense(6, activation="tanh", name="a"),
        keras.layers.LayerNormalization(name="norm"),
        keras.layers.Dense(4, activation="softplus", name="b"),
        keras.layers.Dense(3, activation=last, name="out"),
    ]


def model_of(layers: list[keras.layers.Layer], loss: Any, shape: Any = (5,)) -> keras.Model:
    model = keras.Sequential([keras.Input(shape, dtype="float64"), *layers])
    model.compile("sgd", loss)
    return model


def differences(
    loss_of: Callable[[np.ndarray], float], activation: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """Central differences of a loss with respect to each entry of one sample's activation."""
    found = np.empty_like(activation)
    for place in np.ndindex(activation.shape):
        moved = [activation.copy(), activation.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        found[place] = (loss_of(moved[0]) - loss_of(moved[1])) / (2 * step)
    return found


def check(layers: list[keras.layers.Layer], loss: Any, x: np.ndarray, y: np.ndarray) -> set[str]:
    """Compare every gradient of a chain with differences; return the layers that have one."""
    model = model_of(layers, loss, x.shape[1:])
    activations = runner.capture_activations(model, x, batch_size=4)
    gradients = runner.capture_activations(model, x, kind="gradient", targets=y, batch_size=4)
    for place, layer in enumerate(layers):
        if layer.name not in gradients:
            continue
        value = activations[layer.name].value
        found = gradients[layer.name].value
        assert found.shape == value.shape
        for row in range(len(x)):

            def loss_of(moved: np.ndarray, row: int = row, place: int = place) -> float:
                tensor = tf.constant(moved[None])
                for after in layers[place + 1 :]:
                    tensor = after(tensor)
                return float(model.compute_loss(x[row : row + 1], y[row : row + 1], tensor))

            expected = differences(loss_of, value[row])
            np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-8)
    return set(gradients)


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.MeanAbsoluteError(dtype="float64"),
        keras.losses.Huber(delta=0.3, reduction="sum", dtype="float64"),
        keras.losses.CosineSimilarity(dtype="float64"),
        keras.losses.mean_squared_error,
    ],
)
def test_a_gradient_is_that_of_the_sample_s_own_loss(loss: Any) -> None:
    assert check(chain(), loss, X, Y) == {"a", "norm", "b", "out"}


def test_the_gradient_of_logits() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert check(chain(), loss, X, CLASSES) == {"a", "norm", "b", "out"}


def test_no_gradient_reaches_a_softmax_that_the_loss_goes_around() -> None:
    assert check(chain("softmax"), "sparse_categorical_crossentropy", X, CLASSES) == {
        "a", "norm", "b",
    }  # fmt: skip
    model = model_of(chain("softmax"), "sparse_categorical_crossentropy")
    run = runner.save_run(
        model, X, "run", labels=CLASSES, kinds=["activation", "gradient", "weight"]
    )
    why = "the loss is computed from the logits before its activation"
    layers = {layer.path: layer for layer in run.record.layers}
    assert layers["out"].no_gradient == f"no gradient: {why}"
    assert layers["out"].reason is None
    assert layers["b"].no_gradient is None
    with pytest.raises(KeyError, match=f"no gradient 'out': {why}"):
        run.table("out", "gradient")
    assert run.table("b", "gradient").shape == (ROWS, 4)
    assert run.tensor("b", "gradient").file.startswith("gradients/")
    assert list(run) == ["a", "norm", "b", "out"]


def test_a_softmax_has_a_gradient_where_the_loss_compares_it() -> None:
    assert check(chain("softmax"), "mse", X, Y) == {"a", "norm", "b", "out"}


def test_sequences_with_a_mask_and_maps() -> None:
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 4], [2, 0, 0, 0]])
    layers = [
        keras.layers.Embedding(5, 3, mask_zero=True, name="embedding"),
        keras.layers.SimpleRNN(4, return_sequences=True, name="rnn"),
        keras.layers.Dense(2, name="out"),
    ]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    model.compile("sgd", "mse")
    y = np.random.default_rng(0).normal(size=(3, 4, 2))
    gradients = runner.capture_activations(model, tokens, kind="gradient", targets=y)
    assert {"embedding", "rnn", "out"} <= set(gradients)
    # Positions that are masked count for nothing, and a sample's loss is a mean over the others.
    output = runner.capture_activations(model, tokens)["out"].value
    seen = (tokens != 0)[..., None]
    expected = 2 * (output - y) / 2 * seen / seen.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradients["out"].value, expected, rtol=1e-12)

    pictures = np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    maps = [
        keras.layers.Conv2D(2, 2, activation="tanh", name="conv"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(1, name="value"),
    ]
    assert check(maps, "mse", pictures, np.ones((2, 1))) == {"conv", "flat", "value"}


def test_what_layers_add_to_the_loss_is_left_aside() -> None:
    gradients = []
    for regularizer in (None, keras.regularizers.L2(0.3)):
        keras.utils.set_random_seed(3)
        layers = chain()
        layers[0].activity_regularizer = regularizer
        model = model_of(layers, "mse")
        gradients.append(runner.capture_activations(model, X, kind="gradient", targets=Y))
    np.testing.assert_array_equal(gradients[0]["a"].value, gradients[1]["a"].value)


def test_a_function_that_is_a_mean_over_the_batch_counts_as_one() -> None:
    def mean(targets: Any, output: Any) -> Any:
        return keras.ops.mean(keras.ops.square(targets - output))

    model = model_of(chain(), mean)
    found = runner.capture_activations(model, X, kind="gradient", targets=Y)
    model.compile("sgd", "mse")
    expected = runner.capture_activations(model, X, kind="gradient", targets=Y)
    np.testing.assert_allclose(found["a"].value, expected["a"].value, rtol=1e-12)


def test_it_does_not_depend_on_the_batch_nor_on_what_else_is_captured() -> None:
    model = model_of(chain(), "mse")
    one = runner.capture_activations(model, X, kind="gradient", targets=Y, batch_size=2)
    other = runner.capture_activations(model, X, kind="gradient", targets=Y, batch_size=7)
    alone = runner.capture_activations(
        model, X, kind="gradient", targets=Y, batch_size=7, include=["a"]
    )
    assert list(alone) == ["a"]
    for name, activation in other.items():
        np.testing.assert_allclose(one[name].value, activation.value, rtol=1e-12)
    np.testing.assert_array_equal(alone["a"].value, other["a"].value)


def test_activations_are_the_same_bits_beside_their_gradients() -> None:
    model = model_of(chain("softmax"), "sparse_categorical_crossentropy")
    plain = runner.save_run(model, X, "plain", labels=CLASSES)
    both = runner.save_run(
        model, X, "both", labels=CLASSES, kinds=["activation", "gradient", "weight"]
    )
    for name in plain:
        pd.testing.assert_frame_equal(plain[name], both[name])


def test_a_layer_that_hands_on_its_input_shares_the_gradient() -> None:
    layers = [
        keras.layers.Dense(4, name="a"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Dense(3, name="out"),
    ]
    run = runner.save_run(model_of(layers, "mse"), X, "run", targets=Y, kinds=["gradient"])
    assert run.tensor("drop", "gradient").alias_of == "a"
    pd.testing.assert_frame_equal(run.table("drop", "gradient"), run.table("a", "gradient"))


def test_what_the_loss_does_not_depend_on_is_said() -> None:
    x = keras.Input((5,), dtype="float64")
    used = keras.layers.Dense(3, name="used")(x)
    aside = keras.layers.Dense(2, name="aside")(x)
    hidden = keras.layers.Lambda(lambda pair: pair[0], name="pick")([used, aside])
    model = keras.Model(x, hidden)
    model.compile("sgd", "mse")
    run = runner.save_run(model, X, "run", targets=Y, kinds=["gradient"])
    layers = {layer.path: layer for layer in run.record.layers}
    assert layers["aside"].reason == "no gradient: the loss does not depend on it"
    assert layers["used"].reason is None


class Eager(keras.layers.Layer):
    """A layer that cannot be traced: it looks at values."""

    def call(self, x: Any) -> Any:
        return x * (2.0 if float(x[0, 0]) > -100 else 1.0)


def test_a_model_that_runs_eagerly_has_gradients_too() -> None:
    layers = [
        keras.layers.Dense(4, name="a"),
        keras.layers.Dense(3, activation="softmax", name="out"),
    ]

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.twice, self.out = layers[0], Eager(name="twice"), layers[1]

        def call(self, x: Any) -> Any:
            return self.out(self.twice(self.a(x)))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 3)

    model = Own()
    model(X[:2])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    found = runner.capture_activations(model, X, kind="gradient", targets=CLASSES)
    assert set(found) == {"a", "twice"}
    np.testing.assert_allclose(found["a"].value, 2 * found["twice"].value, rtol=1e-12)


def test_gradients_are_captured_through_a_training() -> None:
    model = model_of(chain(), "mse")
    recorder = runner.ActivationRecorder(
        X, "run", targets=Y, kinds=["gradient"], capture_at=[0, "last"]
    )
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[recorder])
    run = runner.open_run("run")
    assert (run.path / "steps" / "0" / "gradients").is_dir()
    last = runner.capture_activations(model, X, kind="gradient", targets=Y)
    np.testing.assert_array_equal(run.array("a", "gradient"), last["a"].value)
    assert not np.array_equal(run.array("a", "gradient", step=0), last["a"].value)


@pytest.mark.parametrize(
    ("loss", "given", "message"),
    [
        (None, {"targets": Y}, "model: was not compiled with a loss"),
        ("mse", {}, "has neither targets nor labels for mse"),
        ("mse", {"targets": Y[:, :2]}, "mse cannot compare targets of 2 with an output of 3"),
        (
            "sparse_categorical_crossentropy",
            {"labels": [0, 1, 2, 0, 3, 1, 2]},
            "row 4: label 3 is not one of the output's 3 classes, 0 to 2",
        ),
    ],
)
def test_what_a_gradient_needs_is_said(loss: Any, given: Any, message: str) -> None:
    model = keras.Sequential([keras.Input((5,), dtype="float64"), *chain()])
    if loss is not None:
        model.compile("sgd", loss)
    with pytest.raises(InputError) as caught:
        runner.save_run(model, X, "run", kinds=["gradient"], **given)
    assert message in str(caught.value)


def test_a_configuration_can_ask_for_gradients() -> None:
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    run = runner.run(
        "experiment=iris_mlp", "capture.kinds=[activation,gradient]", "hydra.run.dir=run"
    )
    assert run.array("hidden", "gradient").shape == (150, 8)
    with pytest.raises(InputError, match=r"loss: the gradients in capture\.kinds need one"):
        runner.run("capture.kinds=[gradient]", "~loss")


def gradients_at(
    forward: Callable[[Callable[[str, Any], Any]], Any], names: list[str], y: Any = Y
) -> dict[str, np.ndarray]:
    """Return the gradient at each named tensor, set apart by hand where the forward pass says so.

    ``forward`` passes every tensor on through a function that it is given.
    """
    apart: dict[str, Any] = {}
    with tf.GradientTape() as tape:

        def note(name: str, tensor: Any) -> Any:
            apart[name] = tensor + tf.constant(0.0, tensor.dtype)
            tape.watch(apart[name])
            return apart[name]

        output = forward(note)
        loss = tf.reduce_sum(tf.reduce_mean((output - y) ** 2, axis=-1))
    found = tape.gradient(loss, [apart[name] for name in names])
    return {name: gradient.numpy() for name, gradient in zip(names, found, strict=True)}


def test_a_way_around_a_layer_that_hands_on_its_input_is_not_counted() -> None:
    x = keras.Input((5,), dtype="float64")
    h = keras.layers.Dense(3, name="h")(x)
    drop = keras.layers.Dropout(0.5, name="drop")
    e, f = keras.layers.Dense(3, name="e"), keras.layers.Dense(3, name="f")
    inner = keras.Sequential([keras.Input((3,), dtype="float64"), keras.layers.Identity(name="id")])
    inner.name = "inner"
    first, again = drop(h), drop(h)
    output = keras.layers.Add(name="sum")([h, e(first), f(inner(again)), again])
    model = keras.Model(x, keras.layers.Activation("linear", name="out")(output))
    model.compile("sgd", "mse")

    def forward(note: Callable[[str, Any], Any]) -> Any:
        hidden = note("h", model.get_layer("h")(X))
        # Keras calls first what the longest way to the output begins with.
        two, one = note("drop@0", hidden), note("drop@1", hidden)
        inside = note("inner/id", two)
        total = hidden + e(one) + f(note("inner", inside)) + two
        return note("out", note("sum", total))

    expected = gradients_at(forward, ["h", "drop@0", "drop@1", "inner/id", "inner", "sum", "out"])
    found = runner.capture_activations(model, X, kind="gradient", targets=Y)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name].value, gradient, rtol=1e-12, atol=1e-15)
    assert not np.allclose(found["drop@0"].value, found["h"].value)
    run = runner.save_run(model, X, "run", targets=Y, kinds=["activation", "gradient"])
    for name in ("drop@0", "drop@1", "inner", "inner/id"):
        assert run.tensor(name, "activation").alias_of == "h"
        assert run.tensor(name, "gradient").alias_of in (None, "inner/id")
    plain = runner.save_run(model, X, "plain")
    for name in plain:
        pd.testing.assert_frame_equal(plain[name], run[name])
    assert [layer.calls for layer in plain.record.layers] == [
        layer.calls for layer in run.record.layers
    ]


class Parts(keras.layers.Layer):
    """Returns its input twice, in a structure."""

    def call(self, x: Any) -> Any:
        return {"one": x, "more": [x, {"two": x * 2.0}]}


class Split(keras.Model):
    def __init__(self, *, eager: bool = False) -> None:
        super().__init__()
        self.a = keras.layers.Dense(3, name="a")
        self.parts = Parts(name="parts")
        self.twice = Eager(name="twice") if eager else None

    def call(self, x: Any) -> Any:
        h = self.a(x)
        h = h if self.twice is None else self.twice(h)
        parts = self.parts(h)
        return parts["one"] * 3.0 + parts["more"][0] * h + parts["more"][1]["two"]

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], 3)


@pytest.mark.parametrize("eager", [False, True])
def test_each_part_of_an_output_has_its_own_gradient(eager: bool) -> None:
    model = Split(eager=eager)
    model(X[:2])
    model.compile("sgd", "mse", run_eagerly=eager)

    def forward(note: Callable[[str, Any], Any]) -> Any:
        h = note("a", model.a(X))
        h = note("twice", h * 2.0) if eager else h
        one, more = note("parts:one", h), note("parts:more.0", h)
        return one * 3.0 + more * h + note("parts:more.1.two", h * 2.0)

    names = ["a", "parts:one", "parts:more.0", "parts:more.1.two"]
    expected = gradients_at(forward, [*names, *(["twice"] if eager else [])])
    found = runner.capture_activations(model, X, kind="gradient", targets=Y)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name].value, gradient, rtol=1e-12)


def test_what_a_remat_scope_recomputes_has_a_gradient() -> None:
    if not hasattr(keras, "RematScope"):
        pytest.skip("this Keras has no remat scopes")

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.inner = keras.layers.Dense(3, "tanh", name="inner")

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return self.inner(x) * 2.0

    with keras.RematScope(mode="full"):
        block = Block()
    model = model_of([block, keras.layers.Dense(3, name="out")], "mse")
    found = runner.capture_activations(model, X, kind="gradient", targets=Y)
    assert {"block/inner", "block", "out"} <= set(found)
    np.testing.assert_allclose(found["block/inner"].value, 2 * found["block"].value, rtol=1e-12)


class SoftmaxByHand(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.nn.softmax(x)


def test_a_softmax_that_keras_finds_by_its_operation_is_still_found() -> None:
    last = [keras.layers.Dense(3, name="logits"), SoftmaxByHand(name="softmax")]
    passing = keras.layers.Dropout(0.3, name="drop")
    found = {}
    for name, layers in {"bare": last, "handed on": [*last, passing]}.items():
        model = model_of(layers, "categorical_crossentropy")
        targets = np.eye(3)[CLASSES]
        found[name] = runner.capture_activations(model, X, kind="gradient", targets=targets)
        assert set(found[name]) == {"logits"}
        assert "computed from the logits" in found[name].left_out["softmax"]
        model.compile("sgd", "mse")
        means = runner.capture_activations(model, X, kind="gradient", targets=targets)
        assert set(means) == {layer.name for layer in layers}
    one, other = (found[name]["logits"].value for name in found)
    np.testing.assert_array_equal(one, other)


def test_what_stops_a_gradient_is_told_from_what_the_loss_does_not_need() -> None:
    x = keras.Input((5,), dtype="float64")
    stopped = keras.layers.Dense(3, name="stopped")(x)
    kept = keras.layers.Dense(3, name="kept")(x)
    stop = keras.layers.Lambda(tf.stop_gradient, name="stop")(stopped)
    model = keras.Model(x, keras.layers.Add(name="out")([kept, stop]))
    model.compile("sgd", "mse")
    found = runner.capture_activations(model, X, kind="gradient", targets=Y)
    assert set(found) == {"kept", "stop", "out"}
    assert found.left_out["stopped"] == "no gradient: none is passed back to it from the loss"
