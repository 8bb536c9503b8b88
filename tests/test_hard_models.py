"""Models that a capture could get wrong without a word, or damage."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import runner
from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.errors import InputError, RunError

ALL_KINDS = frozenset(("activation", "weight", "input", "pre_activation"))

# Keras warns of models that have no build().
pytestmark = pytest.mark.filterwarnings("ignore:.*unbuilt state")


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.backend.clear_session()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


class Calls(keras.Model):
    def __init__(self, *parts: keras.Layer) -> None:
        super().__init__()
        self.parts = list(parts)

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


def test_what_an_overridden_call_returns_is_what_is_captured() -> None:
    class Twice(layers.Dense):
        def __call__(self, x: Any, **kwargs: Any) -> Any:
            return super().__call__(x, **kwargs) * 2.0

    class Own(layers.Layer):
        def __call__(self, x: Any) -> Any:
            return x * 3.0

    model, x = Calls(Twice(2, name="twice"), Own(name="own")), random(4, 3)
    truth = np.array(model(x))
    capture = Capture(model, x)
    found = dict(zip([spec.name for spec in capture.tensors], capture.first, strict=True))
    np.testing.assert_allclose(found["own"], truth, rtol=1e-6)
    np.testing.assert_allclose(found["twice"] * 3, truth, rtol=1e-6)
    assert "__call__" in vars(Twice)
    np.testing.assert_array_equal(model(x), truth)


def test_a_tf_function_inside_hides_nothing_and_still_works_afterwards() -> None:
    class Decorated(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = layers.Dense(3, name="a"), layers.Dense(2, name="b")

        @tf.function
        def call(self, x: Any) -> Any:
            return self.b(self.a(x))

    model, x = Decorated(), random(4, 3)
    model(x)
    capture = Capture(model, x)
    assert [spec.name for spec in capture.tensors] == ["a", "b"]
    np.testing.assert_allclose(capture.first[1], model(x), rtol=1e-5)
    assert model(random(7, 3)).shape == (7, 2)
    assert not tf.config.functions_run_eagerly()


def test_a_model_that_takes_another_way_is_refused() -> None:
    class Fork(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = layers.Dense(2, name="a"), layers.Dense(2, name="b")

        def build(self, shape: Any) -> None:
            self.a.build(shape)
            self.b.build(shape)

        def call(self, x: Any) -> Any:
            return self.a(x) if float(ops.sum(x)) > 0 else self.b(x)

    capture = Capture(Fork(), np.ones((4, 3), "float32"))
    with pytest.raises(RunError, match=r"called other layers than.*a, b"):
        capture(-np.ones((4, 3), "float32"))


def test_a_value_does_not_depend_on_what_else_is_wanted() -> None:
    x = keras.Input((64,))
    model = keras.Model(x, (((x * 0.1) * 0.7 + 0.3) + 0.7) * 1.3)
    batch, last = random(32, 64), model.operations[-1].name
    alone = Capture(model, batch, Selection(include=(last,)))
    np.testing.assert_array_equal(Capture(model, batch).first[-1], alone.first[0])


def test_fixed_batches_and_stateful_layers() -> None:
    x = keras.Input(batch_shape=(4, 6))
    h = layers.LSTM(2, stateful=True, name="lstm")(ops.reshape(x, (4, 3, 2)))
    model, batch = keras.Model(x, layers.Dense(2, name="out")(h)), random(4, 6)
    capture = Capture(model, batch)
    assert [spec.name for spec in capture.tensors] == ["reshape", "lstm", "out"]
    second = capture(batch)[-1].copy()
    assert all((np.array(state) == 0).all() for state in model.get_layer("lstm").states)
    np.testing.assert_allclose(capture.first[-1], model(batch), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(second, model(batch), rtol=1e-5, atol=1e-7)


def test_building_moves_no_state() -> None:
    class Counts(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="counts")
            self.mean = keras.metrics.Mean()

        def call(self, x: Any) -> Any:
            self.mean.update_state(ops.mean(x))
            return x * 1.0

    model = Calls(Counts(), layers.LSTM(2, stateful=True, name="lstm"))
    Capture(model, random(4, 5, 3))
    counts, lstm = model.parts
    assert all((np.array(state) == 0).all() for state in lstm.states)
    assert all((np.array(variable) == 0).all() for variable in counts.mean.variables)


def test_an_optional_input_that_is_not_given() -> None:
    class Either(layers.Layer):
        def call(self, x: Any, y: Any = None) -> Any:
            return x * 1.0 if y is None else x + y

        def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> Any:  # noqa: ARG002
            return x_shape

    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b", optional=True)
    model = keras.Model({"a": a, "b": b}, Either(name="either")(a, b))
    x = random(4, 3)
    try:
        model({"a": x, "b": None})
    except ValueError:
        pytest.skip("this Keras takes no None")
    np.testing.assert_array_equal(Capture(model, {"a": x, "b": None}).first[0], x)


def test_two_captures_at_once_leave_keras_as_it_was() -> None:
    inside, done, over = threading.Event(), threading.Event(), threading.Event()

    class Waits(layers.Layer):
        def call(self, x: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                inside.set()
                done.wait(2)  # until the other is inside too, if it may be
            else:
                done.set()
                over.wait(10)  # until this one has gone
            return x + 1.0

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    def model() -> keras.Model:
        x = keras.Input((3,))
        return keras.Model(x, layers.ReLU(name="relu")(Waits(name="waits")(x)))

    done.set()
    one, other = model(), model()
    inside.clear()
    done.clear()
    call = keras.Layer.__call__
    found: list[Any] = []

    def capture() -> None:
        inside.wait(10)
        found.append([layer.path for layer in Capture(other, random(2, 3)).layers])

    thread = threading.Thread(target=capture)
    thread.start()
    mine = [layer.path for layer in Capture(one, random(2, 3)).layers]
    over.set()
    thread.join()
    assert keras.Layer.__call__ is call
    assert mine[:2] == found[0][:2] == ["waits", "relu"]


def test_names_are_unique() -> None:
    d = layers.Dense(3, name="d")
    model = Calls(d, d, *(layers.Dense(3, name=name) for name in ("d", "d#2", "d@0")))
    capture = Capture(model, random(2, 3))
    assert len({spec.name for spec in capture.tensors}) == len(capture.tensors) == 5
    assert len({layer.path for layer in capture.layers}) == 4


def test_a_layer_never_called_does_not_take_the_place_of_another() -> None:
    class Holder(layers.Layer):
        def __init__(self, shared: layers.Layer) -> None:
            super().__init__(name="holder")
            self.own, self.shared = layers.Dense(3, name="x"), shared

        def call(self, x: Any) -> Any:
            return self.shared(x) + 0.0

    shared = layers.Dense(3, name="x")
    capture = Capture(Calls(shared, Holder(shared)), random(2, 3))
    why = {layer.path: layer.reason for layer in capture.layers}
    assert why["holder/x"] is None
    assert why["holder/x#2"] == "opaque: not called as a layer while 'holder' ran"


def test_a_layer_that_returns_nothing_and_one_that_returns_a_constant() -> None:
    class Nothing(layers.Layer):
        def call(self, x: Any) -> None:  # noqa: ARG002
            return None

    class Constant(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="constant")
            self.table = tf.constant(np.ones((1, 3), "float32"))

        def call(self, x: Any) -> Any:  # noqa: ARG002
            return self.table

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.nothing, self.constant = Nothing(name="nothing"), Constant()

        def call(self, x: Any) -> Any:
            self.nothing(x)
            return x + self.constant(x)

    capture = Capture(Model(), random(2, 3))
    why = {layer.path: layer.reason for layer in capture.layers}
    assert capture.eager_because is None
    assert why["nothing"] == "it returned nothing"
    assert why["constant"] == "no sample axis: its output is a constant of shape (1, 3)"


def test_keras_own_random_stream_goes_on_from_batch_to_batch() -> None:
    class Noise(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + keras.random.normal(ops.shape(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    keras.utils.set_random_seed(1)
    model, x = keras.Sequential([layers.Input((3,)), Noise(name="noise")]), random(4, 3)
    model(x)  # Keras makes its stream when it is first drawn from
    capture = Capture(model, x)
    shown = [capture.first[0].copy(), capture(x)[0].copy()]
    for array in shown:  # the stream itself still stands where it stood
        np.testing.assert_array_equal(array, model(x))


class Makes(layers.Layer):
    """Makes layers whenever it is called: Keras gives them another name each time."""

    def __init__(self, name: str, *, keeps: bool = False) -> None:
        super().__init__(name=name)
        self.kept = layers.ReLU() if keeps else None

    def call(self, x: Any) -> Any:
        x = layers.ReLU()(layers.Add()([x, x]))
        x = keras.Sequential([layers.Rescaling(2.0), layers.ReLU()])(x)
        x = layers.ReLU(name="own")(layers.ReLU()(x))
        return x if self.kept is None else self.kept(x)


def names_of(model: keras.Model, x: Any, kind: Any = "activation") -> list[str]:
    capture = Capture(model, x, Selection(kinds=frozenset([kind])))
    specs = [*capture.tensors, *(alias for alias, _ in capture.aliases)]
    return sorted(spec.name for spec in specs)


def test_layers_made_inside_a_call_have_the_same_name_every_time() -> None:
    makes = Makes("makes")
    model, x = Calls(makes, makes, Makes("other")), random(4, 3)
    model(x)
    names = names_of(model, x)
    parts = ["add", "re_lu", "sequential", "sequential/rescaling", "sequential/re_lu"]
    parts += ["re_lu#2", "own"]
    assert set(names) == {
        *(f"{place}/{part}" for place in ("makes@0", "makes@1", "other") for part in parts),
        *("makes@0", "makes@1", "other"),
    }
    assert names_of(model, x) == names
    layers.ReLU(), layers.Add(), keras.Sequential()
    assert names_of(Calls(makes, makes, Makes("other")), x) == names
    found = runner.capture_activations(model, x, include=["makes/sequential/*"])
    assert set(found) == {name for name in names if "makes" in name and "sequential/" in name}
    assert {activation.layer_path for activation in found.values()} == {
        "makes/sequential/re_lu", "makes/sequential/rescaling",
    }  # fmt: skip


def test_their_names_do_not_depend_on_the_numbers_of_the_layers_that_are_kept() -> None:
    x, found = random(4, 3), []
    for _ in range(2):
        model = Calls(Makes("makes", keeps=True))
        own = model.parts[0].kept.name
        found.append(
            sorted("kept" if name == f"makes/{own}" else name for name in names_of(model, x))
        )
    assert found[0] == found[1]
    assert {"kept", "makes/re_lu#2", "makes/re_lu#3"} <= set(found[0])


def test_the_weights_of_a_layer_made_inside_a_call_are_not_claimed_to_be_known() -> None:
    class Draws(layers.Layer):
        def call(self, x: Any) -> Any:
            return layers.Dense(2)(x)

    model = keras.Sequential([layers.Input((3,)), Draws(name="draws")])
    run = runner.save_run(model, random(4, 3), "run")
    assert list(run) == ["draws/dense", "draws"]
    [dense] = [layer for layer in run.record.layers if layer.path == "draws/dense"]
    assert {(one.name, one.kind) for one in dense.left_out} == {
        ("draws/dense/kernel", "weight"), ("draws/dense/bias", "weight"),
    }  # fmt: skip
    assert "draws new values" in dense.left_out[0].reason


def test_what_hands_on_a_tensor_that_was_left_out_says_why_too() -> None:
    class Rows(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.reshape(x, [-1, 3])

    class Hidden(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="hidden")
            self.rows, self.same = Rows(name="rows"), layers.Identity(name="same")

        def call(self, x: Any) -> Any:
            return self.same(self.rows(x))

    class Back(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.reshape(x, [-1, 5, 3])

    model = Calls(Hidden(), Back(name="back"))
    run = runner.save_run(model, random(4, 5, 3), "run", kinds=["activation", "input"])
    why = {layer.path: layer.reason for layer in run.record.layers}
    assert why["hidden/rows"] is not None
    assert "no sample axis" in why["hidden/rows"]
    assert why["hidden/rows"] == why["hidden/same"] == why["hidden"]
    assert why["back"] is None
    held = {(tensor.kind, tensor.name) for tensor in run.record.tensors}
    left = {(one.kind, one.name) for layer in run.record.layers for one in layer.left_out}
    assert left == {
        *(("activation", name) for name in ("hidden/rows", "hidden/same", "hidden")),
        *(("input", name) for name in ("hidden/same", "back")),
    }
    assert not held & left


def test_a_reason_is_that_of_the_output() -> None:
    class Cut(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.strings.split(x)

    class Count(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.cast(x.row_lengths(), "float32")[:, None]

    words = np.array(["a b", "c", "d e f", "g"], object)
    model = Calls(Cut(name="cut"), Count(name="count"))
    kinds = frozenset(("activation", "input"))
    capture = Capture(model, tf.constant(words), Selection(kinds=kinds))
    found = {layer.path: layer for layer in capture.layers}
    assert found["cut"].reason == "opaque: its output is a RaggedTensor"
    assert [(one.kind, one.reason) for one in found["cut"].left_out] == [
        ("activation", "opaque: its output is a RaggedTensor"),
        ("input", "opaque: its input is of type string"),
    ]
    assert found["count"].reason is None


def test_plain_variables_of_tensorflow_are_weights() -> None:
    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(random(3, 3))

    class Own(layers.Layer):
        def __init__(self, name: str, shared: Any) -> None:
            super().__init__(name=name)
            self.scale = tf.Variable(random(3))
            self.tables = {"left": [tf.Variable(2.0), shared]}
            self.module = Module()
            self.words = tf.Variable("word")
            self.kernel = self.add_weight(shape=(3, 3), name="kernel")

        def call(self, x: Any) -> Any:
            one, two = self.tables["left"]
            return x @ self.module.w @ self.kernel * self.scale * one + two

    shared = tf.Variable(random(3))
    model, x = Calls(Own("a", shared), Own("b", shared)), random(4, 3)
    run = runner.save_run(model, x, "run")
    a = model.parts[0]
    held = {
        "a/kernel": a.kernel,
        "a/scale": a.scale,
        "a/tables.left.0": a.tables["left"][0],
        "a/tables.left.1": shared,
        "a/module.w": a.module.w,
    }
    weights = {t.name: t for t in run.record.tensors if t.kind == "weight"}
    assert set(weights) == {*held, *(name.replace("a/", "b/", 1) for name in held)}
    for name, variable in held.items():
        np.testing.assert_array_equal(run.array(name, "weight"), np.array(variable))
    assert weights["b/tables.left.1"].alias_of == "a/tables.left.1"
    [left] = run.record.layers[0].left_out
    assert (left.name, left.reason) == ("a/words", "opaque: it is of type string")
    before = run.record.model.sha256
    a.scale.assign(a.scale + 1.0)
    assert runner.save_run(model, x, "again").record.model.sha256 != before


@pytest.mark.parametrize("traced", [True, False])
def test_a_variable_of_a_function_is_a_weight_of_the_layer_that_reads_it(traced: bool) -> None:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            if not traced:
                np.asarray(x)
            return keras.random.dropout(x * scale + offset, 0.0, seed=seeds) * held.shared

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    class Holds(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="holds")
            self.shared = tf.Variable(random(2))

        def call(self, x: Any) -> Any:
            return x * self.shared

    table = tf.Variable(random(3, 2), name="table")
    scale, offset = tf.Variable(random(2)), keras.Variable(random(2), name="offset")
    seeds, held, word = keras.random.SeedGenerator(1), Holds(), tf.Variable("word", name="word")
    given = keras.Input((3,))
    hidden = layers.Lambda(lambda x: x @ table, output_shape=(2,), name="lam")(given)
    hidden = layers.Lambda(
        lambda x: tf.cond(tf.reduce_sum(x) > -1e9, lambda: x * scale, lambda: x),
        output_shape=(2,), name="branch",
    )(hidden)  # fmt: skip
    hidden = layers.Lambda(
        lambda x: x + tf.cast(tf.strings.length(word), x.dtype), output_shape=(2,), name="text"
    )(hidden)
    model = keras.Model(given, held(Own(name="own")(hidden)))
    x = random(4, 3)
    run = runner.save_run(model, x, "run")
    weights = {t.name: t for t in run.record.tensors if t.kind == "weight"}
    values = {
        "lam/table": table, "branch/Variable": scale, "own/Variable": scale, "own/offset": offset,
        "holds/shared": held.shared,
    }  # fmt: skip
    assert set(weights) == set(values)
    assert weights["own/Variable"].alias_of == "branch/Variable"
    for name, variable in values.items():
        np.testing.assert_array_equal(run.array(name, "weight"), np.array(variable))
    [left] = next(layer.left_out for layer in run.record.layers if layer.path == "text")
    assert (left.name, left.reason) == ("text/word", "opaque: it is of type string")
    table.assign(table + 1.0)
    again = runner.save_run(model, x, "again")
    assert again.record.model.sha256 != run.record.model.sha256


def test_a_layer_whose_configuration_cannot_be_asked_for() -> None:
    class Penalty(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> Any:
            return 1e-3 * ops.sum(x)

    class Bound(keras.constraints.Constraint):
        def __call__(self, x: Any) -> Any:
            return x

        def get_config(self) -> Any:
            raise NotImplementedError

    class Draw:
        def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:  # noqa: ARG002
            return ops.ones(shape, dtype)

    class Cell(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="cell")
            self.state_size, self.opaque = 3, object()

        def call(self, x: Any, states: Any) -> Any:
            return x + states[0], [x]

        def get_config(self) -> Any:
            raise TypeError("no")

    def model(penalty: Any, bound: Any, draw: Any) -> keras.Model:
        return keras.Sequential(
            [
                layers.Input((4, 3)),
                layers.LSTM(3, kernel_regularizer=penalty, return_sequences=True, name="lstm"),
                layers.LayerNormalization(beta_initializer=draw, name="norm"),
                layers.RNN(Cell(), name="rnn"),
                layers.Dense(2, "relu", kernel_constraint=bound, name="dense"),
            ]
        )

    odd, x = model(Penalty(), Bound(), Draw()), random(4, 4, 3)
    capture = Capture(odd, x)
    plain = {layer.path: layer.arguments for layer in Capture(model(None, None, "ones"), x).layers}
    for layer in capture.layers[:-1]:  # the last is the input, whose name is Keras's own
        assert layer.arguments == plain[layer.path]
    assert plain["rnn"] is not None
    assert plain["rnn"]["return_sequences"] is False
    assert isinstance(odd.get_layer("lstm").cell.kernel_regularizer, Penalty)
    np.testing.assert_allclose(capture.first[-1], odd(x), rtol=1e-5, atol=1e-6)


def test_captured_activations_say_what_they_leave_out() -> None:
    class Outer(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.inner = layers.Lambda(lambda x: tf.reshape(x, [-1]), name="inner")
            self.unused = layers.Dense(2, name="unused")

        def call(self, x: Any) -> Any:
            return tf.reshape(self.inner(x), [-1, 3])

    model, x = Calls(Outer()), random(4, 3)
    found = runner.capture_activations(model, x)
    assert isinstance(found, dict)
    assert set(found) == {"outer"}
    assert set(found.left_out) == {"outer/inner", "outer/unused"}
    assert "no sample axis" in found.left_out["outer/inner"]
    with pytest.warns(UserWarning, match=r"no activation was captured: 'rows': no sample axis"):
        nothing = runner.capture_activations(
            Calls(layers.Lambda(lambda x: tf.reshape(x, [-1]), name="rows")), x
        )
    assert not nothing
    words = np.array(["A", "b"], object)
    lower = layers.Lambda(tf.strings.lower, output_shape=(), dtype="string", name="lower")
    with pytest.raises(InputError, match=r"'lower' matches nothing .*; 'lower': .* type string"):
        runner.capture_activations(Calls(lower), tf.constant(words), include=["lower"])


def test_watching_leaves_a_deeply_nested_model_its_frames() -> None:
    class Level(layers.Layer):
        def __init__(self, inner: Any) -> None:
            super().__init__(name="level")
            self.inner = inner

        def build(self, shape: Any) -> None:
            if self.inner is not None:
                self.inner.build(shape)
            self.built = True

        def call(self, x: Any) -> Any:
            return x * 2.0 if self.inner is None else self.inner(x)

    level, depth, x = None, 125, random(2, 3)
    for _ in range(depth):
        level = Level(level)
    model = Calls(level)
    level.build((2, 3))
    model(x)
    capture = Capture(model, x, Selection(kinds=ALL_KINDS))
    assert capture.eager_because is None
    assert len(capture.layers) == depth
