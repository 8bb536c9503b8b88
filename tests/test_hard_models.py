"""Models that a capture could get wrong without a word, or damage."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.errors import RunError

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
    with pytest.raises(RunError, match=r"another way through its layers.*a, b"):
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
