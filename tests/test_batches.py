"""Batches: a sample's values are its own, and where they are not, that is found."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import runner
from runner.capture.invariance import alike
from runner.engines.engine import Traced
from runner.errors import RunError
from runner.probe.batch import Batch, Batches
from runner.record.batch_dependence import batch_notes

# Keras warns of models that have no build().
pytestmark = pytest.mark.filterwarnings("ignore:.*unbuilt state")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def verdicts(run: runner.Run) -> dict[str, str | None]:
    return {t.name: t.invariance for t in run.record.tensors if t.kind != "weight"}


def reason(run: runner.Run, path: str) -> str | None:
    return next(layer.reason for layer in run.record.layers if layer.path == path)


def test_a_sample_has_its_values_whatever_it_is_shown_with() -> None:
    given = keras.Input((5, 7))
    hidden = layers.GRU(3, return_sequences=True)(layers.LayerNormalization()(given))
    model = keras.Model(given, layers.GroupNormalization(1)(layers.Activation("sigmoid")(hidden)))
    x = random(23, 5, 7)
    truth = runner.capture_activations(model, x)
    for rows in (1, 2, 9, 23):
        for batch_size in (1, 2, 7, 8, 64):
            shown = runner.capture_activations(model, x[:rows], batch_size=batch_size)
            for name, activation in shown.items():
                np.testing.assert_array_equal(activation.value, truth[name].value[:rows])


class _Meet(layers.Layer):
    """Compares every sample of a batch with every other, as some losses do."""

    def call(self, x: Any) -> Any:
        return keras.ops.softmax(x @ keras.ops.transpose(x) * 0.1)


class _Center(layers.Layer):
    def call(self, x: Any) -> Any:
        return x - keras.ops.mean(x, axis=0, keepdims=True)


@pytest.mark.parametrize("rows", [2, 8, 11])
@pytest.mark.parametrize("meet", [_Meet, _Center])
def test_a_model_whose_samples_meet_is_shown_them_as_they_are(
    meet: type[keras.Layer], rows: int
) -> None:
    given = keras.Input((3,))
    model = keras.Model(given, meet(name="meet")(layers.Dense(4, name="first")(given)))
    run = runner.save_run(model, random(rows, 3), "mine")
    np.testing.assert_allclose(run.array("meet"), model(random(rows, 3)), rtol=1e-5, atol=1e-6)
    assert run.record.probe.mixed_by == "meet"
    found = verdicts(run)
    assert found["meet"] == "none"
    assert found["first"] in ("bitwise", "rounding")


def test_complex_values_of_a_sample_are_its_own() -> None:
    class Fourier(layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.signal.fft(tf.cast(x, tf.complex64))

    given = keras.Input((4,))
    model = keras.Model(given, Fourier(name="fourier")(given))
    found = runner.capture_activations(model, random(5, 4))["fourier"].value
    np.testing.assert_allclose(found, np.fft.fft(random(5, 4)), rtol=1e-5)


def test_samples_that_meet_in_several_batches_are_warned_of() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, layers.Dense(2, name="last")(_Center(name="meet")(given)))
    x = random(12, 3)
    with pytest.warns(
        UserWarning, match="the output of 'meet' for a sample depends on the samples"
    ):
        found = runner.capture_activations(model, x, batch_size=8)["meet"].value
    halves = [half - half.mean(axis=0) for half in (x[:8], x[8:])]
    np.testing.assert_allclose(found, np.concatenate(halves), rtol=1e-5, atol=1e-6)


def test_a_shape_that_depends_on_the_size_of_the_batch_costs_that_tensor_alone() -> None:
    given = keras.Input((3,))
    hidden = layers.Dense(4, name="hidden")(given)
    model = keras.Model(given, _Meet(name="meet")(hidden))
    run = runner.save_run(model, random(60, 3), "mine", batch_size=8)
    assert list(run) == ["hidden"]
    np.testing.assert_allclose(run["hidden"], model.get_layer("hidden")(random(60, 3)), rtol=1e-5)
    assert reason(run, "meet") == (
        "no table: the shape of a sample, (8,), depends on the batch size"
    )
    assert run.record.probe.mixed_by is None


def test_what_is_drawn_anew_each_time_is_no_meeting() -> None:
    class Draws(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + tf.random.normal(tf.shape(x))

    given = keras.Input((3,))
    run = runner.save_run(keras.Model(given, Draws(name="draws")(given)), random(5, 3), "mine")
    assert run.record.probe.mixed_by is None


def test_transposed_products_and_gradients_agree_in_batches_of_every_size() -> None:
    class Tied(layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(10, shape[-1]), name="w")

        def call(self, x: Any) -> Any:
            return tf.matmul(x, self.w, transpose_b=True)

    given = keras.Input((64,))
    model = keras.Model(given, layers.Dense(3, "tanh", name="d")(Tied(name="tied")(given)))
    model.compile("sgd", "mse")
    x, y = random(90, 64), random(90, 3)
    for kind in ("activation", "gradient"):
        truth = runner.capture_activations(model, x, kind=kind, targets=y)
        for rows, batch_size in ((3, 256), (40, 8), (40, 16), (90, 31), (90, 64)):
            found = runner.capture_activations(
                model, x[:rows], kind=kind, targets=y[:rows], batch_size=batch_size
            )
            for name, activation in found.items():
                np.testing.assert_array_equal(activation.value, truth[name].value[:rows])


class _Of(layers.Layer):
    """Computes one function of all of a batch."""

    def __init__(self, function: Any, name: str = "meet") -> None:
        super().__init__(name=name)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + ops.cumsum(x, axis=0),
        lambda x: x - ops.concatenate([x[:1], x[:-1]], 0),
        lambda x: x / ops.max(ops.abs(x)),  # which is in one half of the samples
        lambda x: x + ops.reshape(ops.reshape(x, (-1, 2, 3))[:, ::-1], (-1, 3)),  # in pairs
        lambda x: ops.softmax(x, axis=0),
    ],
)
@pytest.mark.parametrize("largest", [0, 5])
def test_samples_that_meet_are_found_wherever_they_are(function: Any, largest: int) -> None:
    given = keras.Input((3,))
    model = keras.Model(given, _Of(function)(layers.Dense(3, name="first")(given)))
    x = random(24, 3)
    x[largest] = 9.0
    with pytest.warns(
        UserWarning, match="the output of 'meet' for a sample depends on the samples"
    ):
        run = runner.save_run(model, x, "mine", batch_size=8)
    found = verdicts(run)
    assert found["meet"] == "none"
    assert found["first"] in ("bitwise", "rounding")
    hidden = model.get_layer("first")(x)
    truth = [model.get_layer("meet")(hidden[start : start + 8]) for start in (0, 8, 16)]
    np.testing.assert_allclose(run["meet"], np.concatenate(truth), rtol=1e-5, atol=1e-6)


def test_what_was_measured_is_in_the_record() -> None:
    class Rounds(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * (1 + 1e-4 * ops.mean(ops.abs(x)))

    given = keras.Input((3,))
    model = keras.Model(given, Rounds(name="rounds")(layers.Dense(3, name="first")(given)))
    run = runner.save_run(model, random(100, 3), "mine", batch_size=96)
    assert verdicts(run) == {"first": "bitwise", "rounds": "rounding"}
    probe = run.record.probe
    assert (probe.batch_size, probe.compared_sizes, probe.mixed_by) == (96, (48, 48), None)
    assert batch_notes(run.record) == [
        "a sample's values change by rounding when it is shown in another batch: rounds"
    ]
    run = runner.save_run(model, random(5, 3), "few")
    assert run.record.probe.batch_size == 48
    run = runner.save_run(model, random(5, 3), "training", training=True)
    assert verdicts(run) == {"first": None, "rounds": None}
    assert (run.record.probe.batch_size, run.record.probe.compared_sizes) == (5, ())


@pytest.mark.parametrize("nodes", [8, 5, 34])
def test_a_graph_of_any_size_is_one_batch(nodes: int) -> None:
    class Convolve(layers.Layer):
        def build(self, shapes: Any) -> None:
            self.w = self.add_weight(shape=(shapes[0][-1], 4), name="w")

        def call(self, inputs: Any) -> Any:
            return ops.relu(inputs[1] @ (inputs[0] @ self.w))

    features, adjacency = keras.Input((3,)), keras.Input((nodes,))
    model = keras.Model([features, adjacency], Convolve(name="graph")([features, adjacency]))
    x, a = random(nodes, 3), (random(nodes, nodes) > 0).astype("float32")
    found = runner.capture_activations(model, [x, a], batch_size=nodes)["graph"].value
    truth = np.maximum(a @ (x @ np.array(model.layers[-1].w)), 0)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [8, 24, 20])
def test_a_number_of_samples_in_the_models_code_is_kept_to(rows: int) -> None:
    class Switch(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.reshape(x, [8 * 6, 4])

        def compute_output_shape(self, shape: Any) -> Any:  # noqa: ARG002
            return (48, 4)

    class Back(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.reshape(x, [8, 6, 2])

        def compute_output_shape(self, shape: Any) -> Any:  # noqa: ARG002
            return (None, 6, 2)

    given = keras.Input((6, 4))
    tokens = layers.Dense(2, name="expert")(Switch(name="switch")(given))
    output = layers.Dense(3, name="output")(Back(name="back")(tokens))
    model, x = keras.Model(given, output), random(rows, 6, 4)
    run = runner.save_run(model, x, "mine", batch_size=8)
    dense = [model.get_layer(name) for name in ("expert", "output")]
    np.testing.assert_allclose(run.array("back"), dense[0](x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.array("output"), dense[1](dense[0](x)), rtol=1e-5, atol=1e-6)
    assert reason(run, "switch") == "no sample axis: its output has shape (48, 4)"
    assert set(run) == {"back", "output"}
    assert run.record.probe.batch_size == 8


class _Positions(layers.Layer):
    """Has a table of eight positions, which need not be those of eight samples."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(8, shape[-1]), name="w")

    def call(self, x: Any) -> Any:  # noqa: ARG002
        return ops.tanh(self.w)


@pytest.mark.parametrize("training", [False, True])
def test_eight_positions_are_no_eight_samples(training: bool) -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.positions = _Positions(name="positions")

        def call(self, x: Any) -> Any:
            return x + ops.mean(self.positions(x))

    run = runner.save_run(Model(), random(8, 3), "mine", training=training)
    assert reason(run, "positions") == (
        "no sample axis: its output has shape (8, 3), however many samples are shown"
    )


class _Keep(layers.Layer):
    """Puts out as many rows as there are positive samples."""

    def call(self, x: Any) -> Any:
        return tf.boolean_mask(x, x[:, 0] > 0)


class _Kept(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.keep, self.dense = _Keep(name="keep"), layers.Dense(2, name="dense")

    def call(self, x: Any) -> Any:
        return self.dense(x) + ops.sum(self.keep(x)) * 0.0


@pytest.mark.parametrize("format", ["parquet", "csv", "arrow"])
@pytest.mark.parametrize(("batch_size", "late"), [(8, 10), (48, 100)])
def test_rows_that_only_happen_to_be_as_many_as_the_samples(
    batch_size: int, late: int, format: str
) -> None:
    x, model = abs(random(130, 3)), _Kept()
    x[late] *= -1
    found = runner.capture_activations(model, x, batch_size=batch_size)
    assert set(found) == {"dense"}
    run = runner.save_run(model, x, "mine", batch_size=batch_size, format=format)
    assert set(run) == {"dense"}
    np.testing.assert_array_equal(run["dense"], found["dense"].value)
    assert str(reason(run, "keep")).startswith("no sample axis: the number of its rows depends on")
    assert run.record.headline.tensors == 1
    assert [path.stem for path in Path("mine/activations").iterdir()] == ["00_dense"]


def test_rows_that_depend_on_the_samples_are_counted_as_given() -> None:
    x = random(13, 3)
    run = runner.save_run(_Kept(), x, "mine")
    kept = int((x[:, 0] > 0).sum())
    assert reason(run, "keep") == f"no sample axis: 13 samples gave an output of ({kept}, 3)"


def test_a_tensor_that_is_lost_between_steps_ends_the_training_in_one_line() -> None:
    class Fades(layers.Layer):
        def build(self, shape: Any) -> None:  # noqa: ARG002
            self.w = self.add_weight(shape=(1,), initializer="ones", name="w")

        def call(self, x: Any) -> Any:
            kept = tf.boolean_mask(x, self.w[0] * tf.ones_like(x[:, 0]) > 0.5)
            return kept * self.w

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.fades, self.dense = Fades(name="fades"), layers.Dense(1, name="dense")

        def call(self, x: Any) -> Any:
            self.fades(x)
            return self.dense(x)

    class Faded(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            if epoch == 1:
                self.model.fades.w.assign([0.0])

    model, recorder = Model(), runner.ActivationRecorder(random(4, 3), "run")
    model.compile("sgd", "mse")
    model.fades.trainable = False
    with pytest.raises(
        runner.RunError, match="'fades' had a table at the first step, but not now: no"
    ):
        model.fit(random(4, 3), random(4, 1), epochs=3, verbose=0, callbacks=[Faded(), recorder])


def test_few_samples_of_a_large_model_are_not_filled_up() -> None:
    given = keras.Input((128, 128, 3))
    hidden = layers.Conv2D(16, 3, name="conv")(given)
    model = keras.Model(given, layers.Dense(2, name="out")(layers.GlobalMaxPooling2D()(hidden)))
    run = runner.save_run(model, random(3, 128, 128, 3), "mine")
    assert (run.record.probe.batch_size, run.record.probe.compared_sizes) == (3, (4, 1))


class _Written(keras.Model):
    """Its code says how many samples a batch has."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.first, self.last = layers.Dense(8, name="first"), layers.Dense(2, name="last")
        self.part = part

    def call(self, x: Any) -> Any:
        return self.last(self.part(self.first(x)))


_PARTS = {
    "reshape": lambda x: ops.reshape(x, (4, 8)),
    "rows": lambda x: ops.reshape(x, (8, 4)),
    "add": lambda x: x + np.ones((4, 8), "float32"),
    "stack": lambda x: ops.stack([x, ops.zeros((4, 8))], axis=1),
    "concatenate": lambda x: ops.concatenate([x, ops.zeros((4, 2))], axis=-1),
    "einsum": lambda x: ops.einsum("bi,bj->bij", x, ops.ones((4, 3))),
}


@pytest.mark.parametrize("part", _PARTS)
def test_a_batch_size_that_only_the_code_knows_is_named(part: str) -> None:
    model, x = _Written(_PARTS[part]), random(10, 6)
    with pytest.raises(RunError) as raised:
        runner.capture_activations(model, x)
    said = "its code is made for batches of 4: set capture.batch_size=4 (in Python: batch_size=4)"
    assert str(raised.value).endswith(f"; {said}")
    assert "\n" not in str(raised.value)
    assert "[Op:" not in str(raised.value)
    assert "first" in runner.capture_activations(model, x, batch_size=4)
    with pytest.raises(RunError, match="batch_size=4 and show it 4 samples or more"):
        runner.capture_activations(_Written(_PARTS[part]), x[:3])


def _fixed_rows(first: bool) -> keras.Model:
    """Return a model whose first reshape expects 4 samples, maybe behind a captured layer."""
    given = keras.Input((5, 3))
    hidden = layers.Dense(3, name="first")(given) if first else given
    hidden = ops.reshape(ops.reshape(hidden, (20, 3)), (4, 15))
    return keras.Model(given, layers.Dense(2, name="last")(hidden))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("include", [["*"], ["last"]])
def test_a_batch_size_in_the_graph_is_named_whatever_is_captured(
    first: bool, include: list[str]
) -> None:
    model, x = _fixed_rows(first), random(8, 5, 3)
    with pytest.raises(RunError, match=r"made for batches of 4: set capture\.batch_size=4"):
        runner.save_run(model, x, "run", include=include)
    run = runner.save_run(model, x, "run", include=include, batch_size=4)
    shown = np.concatenate([model(x[:4]), model(x[4:])])
    np.testing.assert_allclose(run.array("last"), shown, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "part", [lambda x: ops.reshape(x, (-1, 7)), lambda x: x + np.ones((5, 7), "float32")]
)
def test_a_wrong_width_is_not_taken_for_a_batch_size(part: Any) -> None:
    said = "; if its code fixes how many samples a batch has, set capture.batch_size to that num"
    with pytest.raises(RunError, match=said):
        runner.capture_activations(_Written(part), random(10, 6))


@pytest.mark.parametrize("rows", [3, 4, 10])
def test_a_model_whose_inputs_fix_the_batch_size_needs_no_key(rows: int) -> None:
    given = keras.Input(batch_shape=(4, 6))
    reshaped = ops.reshape(layers.Dense(8, name="first")(given), (4, 2, 4))
    model = keras.Model(given, layers.Dense(2, name="last")(reshaped))
    x = random(rows, 6)
    found = runner.capture_activations(model, x)
    shown = np.concatenate([model(np.resize(x[at : at + 4], (4, 6))) for at in range(0, rows, 4)])
    np.testing.assert_allclose(found["last"].value, shown[:rows], rtol=1e-5, atol=1e-6)
    assert runner.save_run(model, x, "mine").record.probe.rows == rows


def _counting() -> layers.Layer:
    """Return a layer that notes the size of every batch in a file: a list would be restored."""

    def note(x: Any) -> Any:
        with Path("sizes").open("a") as file:
            file.write(f"{len(x)}\n")
        return x

    return _Of(lambda x: tf.ensure_shape(tf.py_function(note, [x], x.dtype), x.shape), "counts")


def _counted() -> list[int]:
    return [int(line) for line in Path("sizes").read_text().split()]


_FEW = (1, 2, 5, 8, 13, 24, 32, 47)


@pytest.mark.parametrize("rows", _FEW)
def test_few_samples_of_a_small_model_take_three_passes(rows: int) -> None:
    given = keras.Input((3,))
    hidden = layers.Dense(4, name="dense")(_counting()(given))
    run = runner.save_run(keras.Model(given, hidden), random(rows, 3), "mine")
    sizes = _counted()
    assert sizes == [48, 96, 48][: 2 if rows == 1 else 3]
    assert list(run.record.probe.compared_sizes) == sizes[1:]
    assert run.record.probe.batch_size == 48
    assert verdicts(run) == {"counts": "bitwise", "dense": "bitwise"}


def _large(*more: layers.Layer) -> keras.Model:
    """Return a model that puts out more values than batches are filled up for."""
    given = keras.Input((3,))
    hidden = layers.RepeatVector(100_000, name="large")(_counting()(given))
    output = layers.GlobalMaxPooling1D(name="output")(hidden)
    for layer in more:
        output = layer(output)
    return keras.Model(given, output)


@pytest.mark.parametrize("rows", _FEW)
def test_few_samples_of_a_large_model_are_computed_three_times_at_most(rows: int) -> None:
    run = runner.save_run(_large(), random(rows, 3), "mine", include=["output"])
    sizes = _counted()
    assert rows < sum(sizes) <= 3 * rows
    assert list(run.record.probe.compared_sizes) == sizes[1:]
    assert verdicts(run) == {"output": "bitwise"}


class _Noted(layers.Layer):
    """Notes each run of its Python code in a file: one for each trace, and for each eager pass."""

    def call(self, x: Any) -> Any:
        with Path("runs").open("a") as file:
            file.write("run\n")
        return x


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((7,), layers.Dense(4)),
        ((2_000,), layers.Dense(2_000)),
        ((30, 30, 3), layers.Conv2D(20, 5)),
        ((9, 8), layers.LSTM(4, return_sequences=True)),
        ((9, 8), layers.BatchNormalization()),
    ],
)
@pytest.mark.parametrize("rows", [1, 5])
def test_few_samples_cost_one_trace_and_three_passes(
    rows: int, shape: tuple[int, ...], layer: layers.Layer
) -> None:
    model = _counting_model(_Noted(), layer, shape=shape)
    Path("runs").unlink(missing_ok=True)
    runner.capture_activations(model, random(rows, *shape))
    sizes = _counted()
    assert Path("runs").read_text() == "run\n"
    assert len(sizes) == min(3, rows + 1)
    assert sum(sizes) <= 3 * rows or sizes[0] == 48  # of a model that costs next to nothing


def _counting_model(*more: layers.Layer, shape: tuple[int, ...]) -> keras.Model:
    output = given = keras.Input(shape)
    for layer in (_counting(), *more):
        output = layer(output)
    return keras.Model(given, output)


@pytest.mark.parametrize(
    ("shape", "layer", "size"),
    [
        ((500,), layers.Dense(500), 48),
        ((2_000,), layers.Dense(2_000), 3),
        ((3, 100), layers.EinsumDense("atd,dhe->athe", (None, 5, 100)), 48),
        ((90, 100), layers.EinsumDense("atd,dhe->athe", (None, 5, 100)), 3),
        ((20, 20, 3), layers.Conv2D(20, 3), 48),
        ((20, 20, 9), layers.Conv2D(20, 9), 3),
        ((40,), layers.Embedding(200_000, 8), 48),
    ],
)
def test_batches_are_filled_up_where_that_costs_little(
    shape: tuple[int, ...], layer: layers.Layer, size: int
) -> None:
    run = runner.save_run(_counting_model(layer, shape=shape), np.ones((3, *shape)), "mine")
    assert run.record.probe.batch_size == size
    assert _counted()[0] == size


def test_only_the_smaller_batch_is_repeated_to_find_what_is_drawn() -> None:
    model = _large(_Of(lambda x: x + tf.random.normal(tf.shape(x)), "draws"))
    run = runner.save_run(model, random(13, 3), "mine", include=["output", "draws"])
    assert _counted() == [13, 14, 6, 6]
    assert verdicts(run) == {"output": "bitwise", "draws": None}


@pytest.mark.parametrize("rows", [2, 5, 47])
def test_few_samples_that_meet_are_shown_as_given_at_last(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    call = Traced.__call__

    def counted(traced: Traced[Any], values: list[Any], batch: Any) -> Any:
        passes.append(len(batch[0]))
        return call(traced, values, batch)

    monkeypatch.setattr(Traced, "__call__", counted)
    given = keras.Input((3,))
    model = keras.Model(given, _Center(name="meet")(layers.Dense(4, name="dense")(given)))
    run = runner.save_run(model, random(rows, 3), "mine")
    assert passes == [48, 96, 48, rows]
    assert run.record.probe.compared_sizes == (48, 96, 48)
    assert run.record.probe.batch_size == rows
    found = verdicts(run)
    assert found["meet"] == "none"
    assert found["dense"] in ("bitwise", "rounding")


def test_a_model_that_uses_the_number_of_samples_is_shown_them_as_they_are() -> None:
    given = keras.Input((3,))
    shares = _Of(lambda x: x / tf.cast(tf.shape(x)[0], x.dtype), "shares")
    x = random(5, 3)
    run = runner.save_run(keras.Model(given, shares(given)), x, "mine")
    assert run.record.probe.mixed_by == "shares"
    np.testing.assert_allclose(run["shares"], x / 5, rtol=1e-6)


def test_batches_of_a_stream_are_rounded_up_and_lose_no_sample() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, layers.Dense(4, name="dense")(given))
    for rows in (39, 40, 41, 45, 48, 49, 100):
        x = random(rows, 3)
        stream = tf.data.Dataset.from_tensor_slices(x).batch(7)
        shown = runner.capture_activations(model, stream, batch_size=40)
        np.testing.assert_allclose(shown["dense"].value, model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("rows", [39, 40, 41, 45, 100])
def test_samples_that_meet_keep_the_batches_that_were_asked_for(rows: int, known: bool) -> None:
    given = keras.Input((3,))
    model = keras.Model(given, _Center(name="meet")(given))
    x = random(rows, 3)
    probe = x if known else tf.data.Dataset.from_tensor_slices(x).batch(7)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        found = runner.capture_activations(model, probe, batch_size=40)["meet"].value
    assert len([one for one in raised if "depends on the samples" in str(one.message)]) == (
        rows > 40
    )
    parts = [x[start : start + 40] for start in range(0, rows, 40)]
    truth = np.concatenate([part - part.mean(axis=0) for part in parts])
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_rounding_is_told_from_difference(dtype: str) -> None:
    values = np.linspace(-1, 1, 40).reshape(8, 5).astype(np.dtype(dtype))
    rounded = values.copy()
    rounded[0, 0] += float(ml_dtypes.finfo(values.real.dtype).eps)
    other = values.copy()
    other[1, 1] = 2
    missing = values.copy()
    missing[2] = np.nan
    infinite = values.copy()
    infinite[3, 0] = np.inf
    assert alike(values, rounded)
    assert not alike(values, other)
    for special in (missing, infinite):
        assert alike(special, special.copy())
        assert not alike(special, values)
        assert not alike(values, special)


def test_integers_must_be_equal() -> None:
    lowest = np.array([[-128, 127]], "int8")
    assert alike(lowest, lowest.copy())
    assert not alike(lowest, lowest + np.array([0, 1], "int8"))
    assert not alike(np.array([True, False]), np.array([True, True]))


def test_the_size_of_batches_can_change() -> None:
    whole = Batch(np.arange(20), np.arange(40).reshape(20, 2))
    batches = Batches([whole[:7], whole[7:8], whole[:0], whole[8:]], 3)
    first = next(batches)
    assert np.shares_memory(first.inputs, whole.inputs)
    batches.put_back(first)
    batches.size = 8
    assert [list(batch.samples) for batch in batches] == [
        [*range(8)],
        [*range(8, 16)],
        [*range(16, 20)],
    ]
