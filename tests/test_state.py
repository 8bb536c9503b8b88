"""A capture leaves no trace, whatever a pass can reach, and carries it from batch to batch."""

from __future__ import annotations

import collections
import functools
import io
import itertools
import random
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import runner
from runner.capture.capture import Capture
from runner.errors import InputError, RunError

# Keras warns of models that have no build().
pytestmark = pytest.mark.filterwarnings("ignore:.*unbuilt state")

X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
_everywhere = tf.Variable(0.0, trainable=False)
_passes = 0


class Layer(layers.Layer):
    """Returns its input, a little larger by something that it counts."""

    traced = True

    def call(self, x: Any) -> Any:
        if not self.traced:
            np.asarray(x)  # of no graph
        return x * (1.0 + 0.01 * ops.cast(self.count(x), "float32"))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def count(self, x: Any) -> Any:
        raise NotImplementedError

    def now(self) -> Any:
        raise NotImplementedError


class Attribute(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.n = tf.Variable(0.0, trainable=False)

    def count(self, x: Any) -> Any:  # noqa: ARG002
        return self.n.assign_add(1.0)

    def now(self) -> Any:
        return float(self.n)


class InList(Attribute):
    """Has its variable in a list in a dictionary, and scatters into it."""

    def __init__(self) -> None:
        super().__init__()
        self.held = {"here": [tf.Variable([0.0, 0.0], trainable=False)]}

    def count(self, x: Any) -> Any:  # noqa: ARG002
        self.held["here"][0].scatter_nd_add([[1]], [1.0])
        return self.held["here"][0][1]

    def now(self) -> Any:
        return self.held["here"][0].numpy().tolist()


class Global(Layer):
    def count(self, x: Any) -> Any:  # noqa: ARG002
        _everywhere.assign_add(1.0)
        return _everywhere + 0.0

    def now(self) -> Any:
        return float(_everywhere)


class InABranch(Attribute):
    def count(self, x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > -1e9, lambda: self.n.assign_add(1.0), lambda: self.n + 0)


class InALoop(Attribute):
    def count(self, x: Any) -> Any:  # noqa: ARG002
        return (
            tf.while_loop(lambda i: i < 2, lambda i: [i + self.n.assign_add(1.0) * 0 + 1], [0.0])[0]
            + self.n
        )


class Compiled(Attribute):
    def __init__(self) -> None:
        super().__init__()
        self.function = tf.function(lambda: self.n.assign_add(1.0), jit_compile=True)

    def count(self, x: Any) -> Any:  # noqa: ARG002
        return self.function()


class Table(Layer):
    table: Any = tf.lookup.experimental.MutableHashTable

    def __init__(self) -> None:
        super().__init__()
        self.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)

    def count(self, x: Any) -> Any:  # noqa: ARG002
        found = self.seen.lookup(tf.constant(["passes"])) + 1
        self.seen.insert(tf.constant(["passes"]), found)
        return tf.ensure_shape(found[0], ())

    def now(self) -> Any:
        keys, values = self.seen.export()
        return dict(zip(keys.numpy().tolist(), values.numpy().tolist(), strict=True))


class Dense(Table):
    def __init__(self) -> None:
        super().__init__()
        self.seen = tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, 0, "", "-")

    def now(self) -> Any:
        return int(self.seen.lookup(tf.constant(["passes"]))[0])


class Generator(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.generator = tf.random.Generator.from_seed(1)

    def count(self, x: Any) -> Any:  # noqa: ARG002
        return self.generator.uniform(())

    def now(self) -> Any:
        return self.generator.state.numpy().tolist()


class KerasVariable(Layer):
    """Assigns a variable of Keras that no layer knows."""

    variable = keras.Variable(0.0, trainable=False)

    def count(self, x: Any) -> Any:  # noqa: ARG002
        self.variable.assign(self.variable + 1.0)
        return self.variable + 0.0

    def now(self) -> Any:
        return float(self.variable.numpy())


KINDS = [
    Attribute, InList, Global, InABranch, InALoop, Compiled, Table, Dense, Generator, KerasVariable,
]  # fmt: skip


def model_of(layer: keras.Layer) -> keras.Model:
    given = keras.Input((3,))
    return keras.Model(given, layers.Dense(2, name="last")(layer(given)))


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_layer_changes_is_put_back_and_carried(kind: type[Layer], traced: bool) -> None:
    layer = kind()
    layer.traced = traced
    layer._name = "counts"
    model = model_of(layer)
    before = layer.now()
    capture = Capture(model, X[:4])
    shown = [capture.first[0].copy(), capture(X[4:8])[0].copy(), capture(X[8:12])[0].copy()]
    assert (capture.eager_because is None) == traced
    assert layer.now() == before
    capture.refresh()
    np.testing.assert_array_equal(capture(X[:4])[0], shown[0])
    assert layer.now() == before
    for start, values in zip((0, 4, 8), shown, strict=True):  # what it does by itself
        np.testing.assert_allclose(values, layer(X[start : start + 4]), rtol=1e-6)


def drawn() -> list[Any]:
    return [
        random.random(),
        np.random.random(),
        float(tf.random.uniform(())),
        float(keras.random.uniform(())),
        keras.layers.Dense(1).name,
    ]


class Draws(layers.Layer):
    """Draws from every stream that a process shares."""

    traced = True

    def call(self, x: Any) -> Any:
        if not self.traced:
            np.asarray(x)
        layers.Dropout(0.5)  # numbered by Keras, and seeded
        noise = random.random() + np.random.random() + tf.random.normal(())
        noise += tf.random.get_global_generator().normal(())
        return x + noise + keras.random.normal(ops.shape(x))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@pytest.mark.parametrize("traced", [True, False])
def test_every_random_stream_goes_on_where_it_stood(traced: bool) -> None:
    def streams(capture: bool) -> list[Any]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        layer = Draws()
        layer.traced = traced
        model = model_of(layer)
        keras.utils.set_random_seed(2)
        keras.backend.clear_session()  # forgets Keras's own stream
        if capture:
            shown = Capture(model, X[:4])
            first = shown.first[0].copy()
            assert (shown(X[:4])[0] != first).any()
        return drawn()

    assert streams(capture=True) == streams(capture=False)


class Keeps(layers.Layer):
    """Keeps what its user may want to look at, in every way that Python has."""

    shared: ClassVar[list[Any]] = []
    calls_of_all = 0

    def __init__(self, count: Callable[[], int]) -> None:
        super().__init__(name="keeps")
        self.last_scores: Any = None
        self.calls = 0
        self.history: list[Any] = []
        self.by_name: dict[str, Any] = {}
        self.ordered = collections.OrderedDict(a=1)
        self.recent: collections.deque[Any] = collections.deque(maxlen=2)
        self.seen = {0}
        self.total = np.zeros(2)
        self.own = random.Random(3)
        self.numbers = np.random.default_rng(3)
        self.plain = types.SimpleNamespace(calls=0)
        self._function = count

    def call(self, x: Any, default: list[Any] = []) -> Any:  # noqa: B006
        global _passes
        _passes += 1
        default.append(x)
        self.shared.append(x)
        type(self).calls_of_all += 1
        self.last_scores = ops.softmax(x)
        self.calls += 1
        self.history.append(self.last_scores)
        self.by_name["last"] = x
        self.ordered["b"] = x
        self.recent.append(x)
        self.seen.add(self.calls)
        self.total += 1.0
        self.own.random()
        self.numbers.random()
        self.plain.calls += 1
        self._function()
        return x * self.last_scores

    def held(self) -> list[Any]:
        return [
            self.last_scores, self.calls, len(self.history), dict(self.by_name),
            list(self.ordered), len(self.recent), set(self.seen), self.total.tolist(),
            self.own.getstate(), str(self.numbers.bit_generator.state), self.plain.calls,
            len(self.shared), self.calls_of_all, _passes, self._function(),
            len(type(self).call.__defaults__[0]),
        ]  # fmt: skip


def counting() -> Callable[[], int]:
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return count

    return counted


@pytest.mark.parametrize("called_before", [True, False])
def test_what_python_objects_keep_is_what_it_was(called_before: bool) -> None:
    layer = Keeps(counting())
    model = model_of(layer)
    if called_before:
        model(X)
    held = layer.held()
    dependencies = len(layer._layers), len(layer.variables)
    capture = Capture(model, X)
    capture(X)
    again = layer.held()
    assert again[0] is held[0]
    again[-2] -= 1  # asking counts, too
    assert again[1:3] + again[4:] == held[1:3] + held[4:]
    assert (len(layer._layers), len(layer.variables)) == dependencies
    model(X)
    np.testing.assert_array_equal(np.array(layer.last_scores), ops.softmax(X))
    model.save_weights("model.weights.h5")


def test_an_error_on_the_way_leaves_no_trace() -> None:
    class Fails(Attribute):
        def count(self, x: Any) -> Any:
            self.n.assign_add(1.0)
            self.last = x
            np.asarray(x)  # cannot be traced
            raise ValueError("no")

    layer = Fails()
    model = model_of(layer)
    with pytest.raises(runner.RunError, match="no"):
        Capture(model, X)
    assert layer.now() == 0
    assert not hasattr(layer, "last")


def test_an_iteration_that_is_given_up_leaves_no_trace() -> None:
    layer = Attribute()
    layer.traced = False
    probe = (X[:4] for _ in itertools.count())
    capture = Capture(model_of(layer), next(probe))
    capture(next(probe))
    del capture
    assert layer.now() == 0


class Unbuilt(keras.Model):
    """Has one layer that is built and has been used, and others that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = layers.SimpleRNN(3, stateful=True, return_sequences=True, name="memory")
        self.counts = Attribute()
        self.fresh = layers.GRU(2, stateful=True, name="fresh")
        self.calls = 0
        self.own: Any = None

    def call(self, x: Any) -> Any:
        self.calls += 1
        if self.own is None:
            self.own = layers.Dense(2, name="own")
        x = self.memory(x) + keras.random.normal((), seed=None) + random.random()
        return self.own(self.fresh(self.counts(x)))


def test_building_puts_back_what_there_was() -> None:
    model, x = Unbuilt(), X.reshape(4, 12, 3)
    keras.backend.clear_session()
    model.memory(x)
    state = np.array(model.memory.states[0])
    random.seed(5)
    drawing = random.getstate()
    Capture(model, x)
    assert random.getstate() == drawing
    np.testing.assert_array_equal(model.memory.states[0], state)
    assert (np.array(model.fresh.states[0]) == 0).all()
    assert (model.counts.now(), model.calls) == (0, 0)
    assert model.own.built
    assert model.fresh.built


def test_what_build_itself_sets_stays() -> None:
    class Sets(layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), name="w")
            self.w.assign([1.0, 2.0, 3.0])
            self.n = tf.Variable(0.0, trainable=False)
            self.n.assign(7.0)
            self.width = shape[-1]
            self.inner = layers.Dense(2, name="inner")
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            self.n.assign_add(1.0)
            return self.inner(x * self.w * self.n)

    model = keras.Sequential([Sets(name="sets")])
    found = Capture(model, X[:4]).first
    [layer] = model.layers
    np.testing.assert_array_equal(layer.w, [1, 2, 3])
    assert (float(layer.n), layer.width) == (7, 3)
    inner = layer.inner(X[:4] * np.array([1, 2, 3], "float32") * 8)
    np.testing.assert_allclose(found[0], inner, rtol=1e-5, atol=1e-6)
    twin = layers.Dense(2)
    twin.build((None, 3))
    assert layer.inner.input_spec.axes == twin.input_spec.axes


@pytest.mark.parametrize(
    "kind",
    [Table, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Attribute, Generator))],
)
def test_a_training_ends_with_the_weights_that_it_would_have_without(kind: type[Layer]) -> None:
    def trained(*callbacks: keras.callbacks.Callback) -> list[np.ndarray]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        given = keras.Input((3,))
        hidden = layers.Dropout(0.3)(layers.BatchNormalization()(kind()(given)))
        hidden = layers.GaussianNoise(0.1)(layers.Reshape((1, 3))(hidden))
        model = keras.Model(given, layers.Dense(1)(layers.SimpleRNN(4)(hidden)))
        model.compile("sgd", "mse")
        model.fit(X, X[:, :1], batch_size=8, epochs=2, verbose=0, callbacks=list(callbacks))
        return model.get_weights()

    alone = trained()
    recorded = trained(runner.ActivationRecorder(X[:8], "run", training=True))
    for one, other in zip(recorded, alone, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("traced", [True, False])
def test_what_python_cannot_put_back_is_refused_before_it_is_touched(traced: bool) -> None:
    class Queues(Attribute):
        def __init__(self) -> None:
            super().__init__()
            self.queue = tf.queue.FIFOQueue(9, tf.float32, [()])

        def count(self, x: Any) -> Any:  # noqa: ARG002
            self.queue.enqueue(1.0)
            return 1.0

    layer = Queues()
    layer.traced = traced
    with pytest.raises(InputError, match="changes state outside the model that cannot be restored"):
        runner.save_run(model_of(layer), X, "run")
    assert int(layer.queue.size()) == 0
    assert not Path("run").exists()


def test_python_code_in_a_graph_leaves_no_trace() -> None:
    class Python(Attribute):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def count(self, x: Any) -> Any:  # noqa: ARG002
            def plus() -> Any:
                self.calls += 1
                self.n.assign_add(1.0)
                return self.n + self.calls

            return tf.ensure_shape(tf.py_function(plus, [], tf.float32), ())

    layer = Python()
    capture = Capture(model_of(layer), X[:4])
    assert capture.eager_because is None
    first, second = capture.first[0].copy(), capture(X[:4])[0].copy()
    np.testing.assert_allclose(first, X[:4] * 1.02, rtol=1e-6)
    np.testing.assert_allclose(second, X[:4] * 1.04, rtol=1e-6)
    assert (layer.now(), layer.calls) == (0, 0)


_numbers = itertools.count()


class Iterates(layers.Layer):
    """Holds iterators in every way that Python has."""

    traced = True
    of_all = itertools.count()
    numbered = itertools.count().__next__

    def __init__(self, shared: Any) -> None:
        super().__init__(name="iterates")
        self.shared = shared
        self.by_name = {"list": iter([1, 2, 3, 4, 5, 6, 7, 8, 9]), "shared": shared}
        self.several = [iter(range(9)), zip(iter(range(9)), itertools.repeat(1), strict=False)]
        self.pair = (itertools.cycle([5, 6, 7]), reversed([9, 8, 7, 6, 5, 4, 3, 2]))
        self.next_one = itertools.count(3).__next__
        self._closure = lambda: next(shared)
        self.chained = itertools.chain([1], map(abs, iter(range(-9, 0))))

    def call(self, x: Any, default: Any = itertools.count(7)) -> Any:  # noqa: B008
        if not self.traced:
            np.asarray(x)
        drawn = [default, self.of_all, _numbers, self.shared, self.chained, *self.pair]
        moved = [next(each) for each in (*drawn, *self.by_name.values(), *self.several)]
        moved += [self.next_one(), self._closure(), self.numbered()]
        return x + float(sum(each[0] if isinstance(each, tuple) else each for each in moved))

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@pytest.mark.parametrize("traced", [True, False])
def test_iterators_stay_where_they_are_and_go_on_from_batch_to_batch(traced: bool) -> None:
    shared = itertools.count(100)
    layer = Iterates(shared)
    layer.traced = traced
    model = model_of(layer)
    held = [layer.by_name["list"], layer.pair, *layer.several]
    capture = Capture(model, X[:4])
    assert (capture.eager_because is None) == traced
    values = capture.first[0] - X[:4], capture(X[:4])[0] - X[:4]
    assert (values[0] == values[1]).all() == traced  # a trace computes its numbers once
    with capture.aside():
        capture(X[:4])
    third = capture(X[:4])[0] - X[:4]
    assert layer.shared is layer.by_name["shared"] is shared
    for now, before in zip([layer.by_name["list"], layer.pair, *layer.several], held, strict=True):
        assert now is before
    shown = [np.asarray(layer(X[:4])) - X[:4] for _ in range(3)]  # what it does by itself
    expected = [shown[0]] * 3 if traced else shown
    for one, other in zip((*values, third), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_an_iterator_that_is_held_where_no_copy_can_be_put_is_refused() -> None:
    class Partial(layers.Layer):
        def __init__(self, counts: Any) -> None:
            super().__init__()
            self.next_one = functools.partial(next, counts)

        def call(self, x: Any) -> Any:
            return x + float(self.next_one())

    counts = itertools.count()
    with pytest.raises(InputError, match="holds a count whose position cannot be restored"):
        runner.save_run(model_of(Partial(counts)), X, "run")
    assert next(counts) == 1  # the model was built with one


def test_a_generator_is_refused_before_it_is_touched() -> None:
    class Generates(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="generates")
            self.mapped = map(abs, (number for number in range(9)))

        def call(self, x: Any) -> Any:
            return x + float(next(self.mapped))

    layer = Generates()
    model = model_of(layer)
    for unfinished in (model, keras.Sequential([layer])):
        with pytest.raises(InputError, match="'generates' holds a map whose position"):
            runner.save_run(unfinished, X, "run")
    assert next(layer.mapped) == 1
    assert not Path("run").exists()


class Reads(layers.Layer):
    """Reads a number from an open file in every call."""

    def __init__(self, file: Any) -> None:
        super().__init__(name="reads")
        self.file = file

    def call(self, x: Any) -> Any:
        np.asarray(x)
        return x + float(self.file.readline())

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@pytest.mark.parametrize("kind", ["text", "binary", "StringIO", "BytesIO"])
def test_an_open_file_stays_where_it_is_and_is_read_on_from_batch_to_batch(kind: str) -> None:
    lines = "".join(f"{number}\n" for number in range(9))
    Path("numbers").write_text(lines)
    with (
        Path("numbers").open() as text,
        Path("numbers").open("rb") as binary,
        io.StringIO(lines) as string,
        io.BytesIO(lines.encode()) as raw,
    ):
        file = {"text": text, "binary": binary, "StringIO": string, "BytesIO": raw}[kind]
        capture = Capture(model_of(Reads(file)), X[:4])
        for number, shown in enumerate([capture.first, capture(X[:4])]):
            np.testing.assert_allclose(shown[0] - X[:4], number, rtol=1e-5, atol=1e-6)
        assert float(file.readline()) == 0


def test_a_position_that_cannot_be_restored_is_refused() -> None:
    class Finds(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="finds")
            self.found = re.finditer("[0-9]", "0123")

        def call(self, x: Any) -> Any:
            return x + float(next(self.found)[0])

    layer = Finds()
    model = model_of(layer)
    with pytest.raises(InputError, match="'finds' holds a callable_iterator whose position"):
        runner.save_run(model, X, "run")
    assert next(layer.found)[0] == "1"
    Path("numbers").write_text("1\n2\n")
    with Path("numbers").open() as file:
        next(file)  # from now on, the file does not tell its position
        model = model_of(Reads(file))
        with pytest.raises(InputError, match="holds a TextIOWrapper whose position"):
            runner.save_run(model, X, "run")


def test_an_iterator_of_a_layer_that_is_built_by_the_capture_stays() -> None:
    class Built(layers.Layer):
        def build(self, shape: Any) -> None:  # noqa: ARG002
            self.place = next(self.counts)
            self.made = itertools.count(5)

        def __init__(self) -> None:
            super().__init__(name="built")
            self.counts = itertools.count()

        def call(self, x: Any) -> Any:
            np.asarray(x)
            return x + float(next(self.counts) + next(self.made))

    model = keras.Sequential([Built()])
    values = Capture(model, X[:4]).first[0]
    [layer] = model.layers
    assert (layer.place, next(layer.counts), next(layer.made)) == (0, 1, 5)
    np.testing.assert_allclose(values, X[:4] + 6, rtol=1e-6)


def test_a_method_of_a_list_is_put_back() -> None:
    class Notes(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.note = [1].append

        def call(self, x: Any) -> Any:
            self.note(2)
            return x

    layer = Notes()
    model = model_of(layer)
    before = list(layer.note.__self__)
    Capture(model, X[:4])
    assert layer.note.__self__ == before


@pytest.mark.slow
def test_the_first_capture_of_a_process_draws_no_number() -> None:
    code = """
        import random
        import keras
        import numpy as np
        import runner
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        before = random.getstate(), np.random.get_state()[1].tolist()
        runner.capture_activations(model, np.ones((3, 2), "float32"))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Sometimes(layers.Layer):
    """Returns its own input, or a new tensor for a large sample; cannot be traced."""

    def call(self, x: Any) -> Any:
        return x if np.asarray(x).max() < 50 else x * 1.0

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def test_a_later_pass_with_the_same_calls_but_other_tensors_is_recorded_anew() -> None:
    dense = layers.Dense(2)
    model = keras.Sequential([keras.Input((3,)), dense, Sometimes(name="sometimes")])
    capture = Capture(model, X[:4])
    assert [alias.name for alias, _ in capture.aliases] == ["sometimes"]
    again = capture(X[:4] + 1)
    np.testing.assert_allclose(again[0], dense(X[:4] + 1), rtol=1e-5)
    with pytest.raises(RunError, match="other layers than for the first batch: sometimes"):
        capture(X[:4] * 0 + 1e6)
