"""What holds on every backend of Keras: run once for each, with KERAS_BACKEND set.

Slow, since other tests show most of it on TensorFlow.
"""

from __future__ import annotations

import functools
import operator
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.errors import InputError, RunError
from runner.keras_models.attributes import Attributes
from runner.keras_models.own_code import runs_keras_alone
from runner.model.backend import framework

BACKEND = keras.backend.backend()
KINDS = frozenset(("activation", "weight", "input", "pre_activation"))

# Old versions of Keras warn of the mask that their attention takes into account itself.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def computed(function: Callable[[Any], Any], inputs: Any, variables: Any = ()) -> list[np.ndarray]:
    """Return what a function of Keras gives, compiled as the framework does without Runner.

    XLA rounds otherwise what is computed from constants: `variables` are passed as arguments.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        from runner.engines.tensorflow.tracing import exact

        with exact():
            found = tf.function(function)(keras.tree.map_structure(tf.convert_to_tensor, inputs))
    elif BACKEND == "jax":
        import jax

        def stateless(values: Any, inputs: Any) -> Any:
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                return function(inputs)

        options = {"xla_disable_hlo_passes": "fusion"}
        given = [variable.value for variable in variables]
        found = jax.jit(stateless, compiler_options=options)(given, inputs)
    else:
        import torch

        with torch.no_grad():
            found = function(inputs)
    return [keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(found)]


def gradient_of(function: Callable[[Any], Any], at: np.ndarray) -> np.ndarray:
    """Return the gradient of a function of Keras whose result is a single number."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensor = tf.convert_to_tensor(at)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return np.asarray(tape.gradient(value, tensor))
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.grad(function)(at))
    import torch

    tensor = torch.from_numpy(at.copy()).requires_grad_()
    return np.asarray(torch.autograd.grad(function(tensor), tensor)[0])


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


def state_of(model: keras.Model) -> list[bytes]:
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in model.variables]


def assert_covers(model: keras.Model, capture: Capture) -> None:
    """Every layer the model has stands in the list, with values or a reason."""
    named = {layer.path.split("/")[-1].split("#")[0] for layer in capture.layers}
    assert {layer.name for layer in model._flatten_layers(include_self=False)} <= named
    held = {spec.layer_path for spec in capture.tensors}
    held |= {alias.layer_path for alias, _ in capture.aliases if alias.kind != "weight"}
    for layer in capture.layers:
        assert (layer.reason is None) == (layer.path in held), layer


def pictures() -> tuple[keras.Model, np.ndarray]:
    x = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    b = layers.BatchNormalization(name="b")(a)
    c = layers.DepthwiseConv2D(3, padding="same", name="c")(b) + a * 2.0
    d = layers.MaxPooling2D(name="d")(layers.Activation("gelu", name="g")(c))
    e = layers.GlobalAveragePooling2D(name="e")(d)
    out = layers.Dense(3, activation="softmax", name="out")(layers.Dropout(0.5, name="drop")(e))
    return keras.Model(x, out), normal(6, 8, 8, 3)


def sequences() -> tuple[keras.Model, np.ndarray]:
    x = keras.Input((5,), dtype="int32", name="tokens")
    e = layers.Embedding(7, 6, mask_zero=True, name="e")(x)
    attended = layers.MultiHeadAttention(2, 3, name="attention")(e, e)
    n = layers.LayerNormalization(name="n")(attended + e)
    r = layers.GRU(4, return_sequences=True, name="r")(n)
    h, state, cell = layers.LSTM(4, return_state=True, name="h")(r)
    out = layers.Dense(3, activation="tanh", name="out")(
        layers.Concatenate(name="join")([h, state, cell])
    )
    return keras.Model(x, out), np.arange(40).reshape(8, 5).astype("int32") % 7


def shared() -> tuple[keras.Model, Any]:
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    tower = keras.Sequential(
        [layers.Dense(3, name="dense"), layers.ReLU(name="relu")], name="tower"
    )
    twice = layers.Dense(3, name="twice")
    model = keras.Model([a, b], layers.Add(name="add")([tower(twice(a)), tower(twice(b))]))
    return model, [normal(4, 3), normal(4, 3, seed=1)]


class Same(layers.Layer):
    """A layer whose output has the shape of its input, which Keras need not find out."""

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


MODELS = {"pictures": pictures, "sequences": sequences, "shared": shared}


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


@pytest.mark.parametrize("make", [pictures, sequences])
def test_a_functional_model_equals_a_model_of_many_outputs(make: Any) -> None:
    model, x = make()
    capture = Capture(model, x)
    found = values(capture)
    plain = [layer for layer in model.layers if layer.name in found]
    assert len(plain) >= 6
    both = keras.Model(model.input, [layer.output for layer in plain])
    truths = computed(lambda x: both(x, training=False), x, model.variables)
    for layer, truth in zip(plain, truths, strict=True):
        np.testing.assert_array_equal(found[layer.name], truth)
    assert capture.eager_because is None
    assert_covers(model, capture)


def test_shared_layers_have_an_entry_a_call() -> None:
    model, x = shared()
    found = values(Capture(model, x))
    assert {"twice@0", "twice@1", "tower@0/dense", "tower@1/relu", "add"} <= set(found)
    [truth] = computed(model, x, model.variables)
    np.testing.assert_array_equal(found["add"], truth)
    np.testing.assert_array_equal(found["add"], found["tower@0/relu"] + found["tower@1/relu"])


def test_subclassed_models_nest_and_name_their_outputs() -> None:
    x = keras.Input((4,))
    block = Block()
    model = keras.Model(x, layers.Dense(2, name="out")(block(x)["hidden"]))
    batch = normal(5, 4)
    capture = Capture(model, batch)
    found = values(capture)
    hidden, summed = computed(block, batch, block.variables)
    np.testing.assert_array_equal(found["block:hidden"], hidden)
    np.testing.assert_array_equal(found["block:sum"], summed)
    again = computed(block.shared, found["block/shared@0"], block.shared.variables)
    np.testing.assert_array_equal(found["block/shared@1"], again[0])
    reasons = {layer.path: layer.reason for layer in capture.layers}
    assert reasons["block/unused"] == "opaque: not called as a layer while 'block' ran"
    assert_covers(model, capture)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(policy: str) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(3, "relu", dtype=policy, name="dense")(x))
    found = values(Capture(model, normal(2, 4)))["dense"]
    assert found.dtype.name == policy.removeprefix("mixed_")
    [truth] = computed(lambda x: keras.ops.cast(model(x), "float32"), normal(2, 4), model.variables)
    np.testing.assert_array_equal(found.astype("float32"), truth)


@pytest.mark.parametrize("name", MODELS)
def test_a_value_does_not_depend_on_what_else_is_captured(name: str) -> None:
    model, x = MODELS[name]()
    everything = values(Capture(model, x, Selection(kinds=KINDS)))
    for path, expected in [*everything.items()][-1::-3]:  # each takes a compilation
        layer = path.partition("@")[0].partition(":")[0].partition("/")[0]
        alone = values(Capture(model, x, Selection(include=(f"{layer}**",))))
        np.testing.assert_array_equal(alone[path], expected, err_msg=path)


def test_other_kinds_are_those_of_the_layer() -> None:
    model, x = pictures()
    capture = Capture(model, x, Selection(kinds=KINDS))
    found, before = values(capture), values(capture, "pre_activation")
    assert set(before) == {"a", "c", "g", "out"}
    for name, array in before.items():
        [after] = computed(model.get_layer(name).activation, array)
        np.testing.assert_array_equal(found[name], after)
    np.testing.assert_array_equal(values(capture, "input")["b"], found["a"])
    own = {spec.name: framework().value_of(variable) for spec, variable in capture.weights}
    np.testing.assert_array_equal(own["a/kernel"], model.get_layer("a").get_weights()[0])
    assert model.get_layer("a").activation is keras.activations.relu


def test_training_mode_moves_on_from_batch_to_batch_and_leaves_the_model_alone() -> None:
    x = keras.Input((4,))
    h = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(h))
    twin = keras.models.clone_model(model)
    for mine, other in zip(model.variables, twin.variables, strict=True):
        other.assign(mine)
    before = state_of(model)
    batches = [normal(8, 4, seed=seed) for seed in range(3)]
    capture = Capture(model, batches[0], training=True)
    shown = [capture.first, *(capture(batch) for batch in batches[1:])]
    for batch, arrays in zip(batches, shown, strict=True):
        # The twin really is trained on the batches: same masks, same running means.
        truth = keras.ops.convert_to_numpy(twin(batch, training=True))
        np.testing.assert_allclose(arrays[-1], truth, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(arrays[-1] == 0, truth == 0)
    assert state_of(model) == before
    assert state_of(twin) != before


def test_a_capture_draws_nothing_from_the_streams_of_the_process() -> None:
    def drawn() -> list[Any]:
        return [
            random.random(),
            np.random.random(),
            float(keras.random.uniform(())),
            keras.ops.convert_to_numpy(keras.random.SeedGenerator().state).tolist(),
        ]

    class Noise(Same):
        def call(self, x: Any) -> Any:
            return x + keras.random.normal(keras.ops.shape(x)) + random.random()

    model = keras.Sequential([keras.Input((3,)), Noise(name="noise"), layers.Dense(2, name="d")])

    def begun() -> None:
        keras.backend.clear_session()  # old versions of Keras keep their stream with a new seed
        keras.utils.set_random_seed(5)
        keras.random.uniform(())

    begun()
    expected = drawn()
    begun()
    assert set(runner.capture_activations(model, normal(4, 3))) == {"noise", "d"}
    assert drawn() == expected


def compiled(last: str, loss: Any) -> tuple[keras.Model, list[keras.layers.Layer]]:
    own = [
        layers.Dense(6, activation="tanh", name="a"),
        layers.LayerNormalization(name="norm"),
        layers.Dense(4, activation="softplus", name="b"),
        layers.Dense(3, activation=last, name="out"),
    ]
    model = keras.Sequential([keras.Input((5,)), *own])
    model.compile("sgd", loss)
    return model, own


@pytest.mark.parametrize(
    ("last", "loss"),
    [("linear", "mse"), ("softmax", "categorical_crossentropy"), ("tanh", "mean_absolute_error")],
)
def test_a_gradient_is_that_of_the_sample_s_own_loss(last: str, loss: str) -> None:
    model, own = compiled(last, loss)
    x, y = normal(7, 5), np.eye(3, dtype="float32")[np.arange(7) % 3]
    activations = runner.capture_activations(model, x)
    kinds = ["activation", "gradient"]
    run = runner.save_run(model, x, "mine", kinds=kinds, targets=y, batch_size=4)
    gradients = runner.capture_activations(model, x, kind="gradient", targets=y, batch_size=4)
    assert {"a", "norm", "b"} <= set(gradients)
    for place, layer in enumerate(own[:3]):
        value = activations[layer.name].value
        np.testing.assert_allclose(run.array(layer.name), value, rtol=1e-5, atol=1e-6)

        def loss_of(tensor: Any, row: int, place: int = place) -> Any:
            for after in own[place + 1 :]:
                tensor = after(tensor)
            return keras.ops.sum(keras.losses.get(loss)(y[row : row + 1], tensor))

        for row in range(7):
            truth = gradient_of(lambda t, row=row: loss_of(t, row), value[row : row + 1])
            found = gradients[layer.name].value[row : row + 1]
            np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_call_and_say_where_they_do_not() -> None:
    class Stop(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.ops.stop_gradient(x)

    class Beside(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="beside")
            self.aside = layers.Dense(3, name="aside")

        def call(self, x: Any) -> Any:
            self.aside(x)
            return x + 1

    x = keras.Input((3,))
    twice = layers.Dense(3, name="twice")
    h = Beside()(twice(twice(x)))
    stopped = layers.Dense(3, name="before")(x)
    model = keras.Model(x, layers.Add(name="out")([h, Stop(name="stop")(stopped)]))
    model.compile("sgd", "mse")
    selection = Selection(kinds=frozenset(("activation", "gradient")))
    from runner.capture.batches import Shown

    capture = Capture(model, Shown(normal(4, 3), normal(4, 3, seed=1)), selection)
    found = values(capture, "gradient")
    assert set(found) == {"twice@0", "twice@1", "beside", "stop", "out"}
    expected = found["twice@1"] @ model.get_layer("twice").get_weights()[0].T
    np.testing.assert_allclose(found["twice@0"], expected, rtol=1e-5, atol=1e-6)
    reasons = {layer.path: layer.no_gradient for layer in capture.layers}
    assert reasons["before"] == "no gradient: none is passed back to it from the loss"
    assert reasons["beside/aside"] == "no gradient: the loss does not depend on it"


class Own(layers.Layer):
    """Computes what stands in a function, between two layers that hand it on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name="own")
        self.function = function
        self.first = layers.Dense(4, name="first")
        self.kept = layers.Identity(name="kept")

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        self.scale = self.add_weight((4,), initializer="uniform", name="scale")

    def call(self, x: Any) -> Any:
        return self.kept(self.function(self.first(x), self))


ops = keras.ops
_BETWEEN: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x, _: (2 - ops.sqrt(ops.abs(x))) / 3 + x**2 - 0.5 * x * ops.exp(x),
    "activations": lambda x, _: (
        ops.gelu(x) + ops.silu(x) + ops.leaky_relu(x) * ops.softplus(x) + ops.clip(x, -1, 0.5)
        + ops.relu6(x) + ops.sigmoid(x) + ops.relu(x) + ops.tanh(x)
    ),
    "a weight": lambda x, own: x * own.scale,
    "reductions": lambda x, _: ops.stack([ops.mean(x, (1, 2)), ops.max(x, (1, 2))], 1),
    "softmax": lambda x, _: ops.softmax(x) + ops.log_softmax(x),
    "a choice": lambda x, _: ops.where(ops.logical_and(x > 0, x < 1), x, 7.0),
    "parts": lambda x, _: ops.concatenate([x[:, 1], ops.reshape(x[:, 1:, ::2], (-1, 8))], 1),
    "splits": lambda x, _: ops.split(x, 2, -1)[1] * ops.split(x, 2, -1)[0],
    "moves": lambda x, _: ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, 2, 10))[:, None],
    "positions": lambda x, _: x + ops.cast(ops.arange(4), "float32") + ops.ones((5, 1)),
    "normalized": lambda x, own: (
        (x - ops.mean(x, -1, keepdims=True))
        / ops.sqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-3) * own.scale
    ),
    "products": lambda x, _: ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 2.0,
    "einsum": lambda x, own: ops.einsum("bij,kj->bik", x, own.first.kernel),
    "heads": lambda x, _: ops.einsum(
        "bqk,bki->bqi", ops.softmax(ops.einsum("bqi,bki->bqk", x, x) / 2.0), x
    ),
    "other types": lambda x, _: ops.cast(ops.cast(x, "float16"), "float32"),
    "a lookup": lambda x, own: ops.take(own.first.kernel, ops.cast(x[..., 0] > 0, "int32"), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", _BETWEEN)
def test_what_stands_between_layers_is_explained(tmp_path: Path, name: str) -> None:
    from runner.arithmetic.layer_call import LayerCall
    from runner.arithmetic.spelling import spell_out

    given = keras.Input((5, 3))
    model = keras.Model(given, Own(_BETWEEN[name])(given))
    run = runner.save_run(model, normal(3, 5, 3), tmp_path / "run")
    for row in (0, 2):
        call = LayerCall.read(run, "own/kept", row)
        assert call.wiring.wires[0].tensor is None
        for place in np.ndindex(call.output.shape):
            assert spell_out(call, place).agrees(call.output[place], call.epsilon), place


def test_reductions_and_other_batches() -> None:
    model, x = pictures()
    whole = runner.capture_activations(model, np.tile(x, (20, 1, 1, 1)), batch_size=50)
    mean = runner.capture_activations(model, x, reduce={"a": "mean"})["a"].value
    np.testing.assert_allclose(mean, whole["a"].value[:6].mean((1, 2)), rtol=1e-5, atol=1e-6)
    for name, own in runner.capture_activations(model, x).items():
        np.testing.assert_allclose(whole[name].value[:6], own.value, rtol=1e-5, atol=1e-6)


def test_an_eager_model_is_captured_too() -> None:
    class Odd(Same):
        def call(self, x: Any) -> Any:
            return x * float(keras.ops.convert_to_numpy(keras.ops.sum(x)) * 0 + 2)

    model = keras.Sequential([keras.Input((3,)), Odd(name="odd"), layers.Dense(2, name="d")])
    x = normal(4, 3)
    capture = Capture(model, x)
    assert (capture.eager_because is None) == (BACKEND == "torch")  # which compiles nothing
    np.testing.assert_array_equal(values(capture)["odd"], x * 2)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow draws these too")
@pytest.mark.parametrize("initializer", ["he_normal", "truncated_normal"])
def test_what_tf_global_cannot_draw_is_refused(initializer: str) -> None:
    words = f"+model.layers.hidden.kernel_initializer={initializer}", "hydra.run.dir=mine"
    with pytest.raises(InputError, match=r"model.seeding: tf_global draws float32 numbers of a un"):
        runner.run(*words)
    assert not Path("mine/run.json").exists()


def test_what_fails_is_told_with_its_layer() -> None:
    class Broken(Same):
        def call(self, x: Any) -> Any:
            return keras.ops.matmul(x, keras.ops.ones((7, 2)))

    model = keras.Sequential([keras.Input((4,)), Broken(name="broken")], name="whole")
    with pytest.raises(RunError, match=r"cannot be called on the probe \(in whole/broken\)"):
        runner.capture_activations(model, normal(4, 3))


def noisy() -> keras.Model:
    """Return a model with everything in it that has a state of its own."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    own = [
        layers.Dense(8, name="hidden"),
        layers.BatchNormalization(name="norm"),
        layers.GaussianNoise(0.1, name="noise"),
        layers.Dropout(0.5, name="drop"),
        layers.Dense(3, activation="softmax", name="out"),
    ]
    model = keras.Sequential([keras.Input((4,)), *own])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_training_is_the_same_bit_for_bit_with_and_without_a_recorder(unit: Any) -> None:
    x, y = normal(60, 4), np.arange(60) % 3

    def trained(*callbacks: Any) -> tuple[list[bytes], Any]:
        model = noisy()
        history = model.fit(
            x, y, epochs=3, batch_size=16, validation_split=0.2, verbose=0, callbacks=[*callbacks]
        ).history
        variables = [*model.variables, *model.optimizer.variables]
        return [keras.ops.convert_to_numpy(one).tobytes() for one in variables], history

    recorder = runner.ActivationRecorder(x[:5], "mine", every=1, unit=unit)
    assert trained(recorder) == trained()
    run = runner.open_run("mine")
    first, last = run.array("hidden", step=0), run.array("hidden")
    assert (first != last).any()
    weights = run.array("hidden/kernel"), run.array("hidden/bias")
    np.testing.assert_allclose(last, x[:5] @ weights[0] + weights[1], rtol=1e-5, atol=1e-5)


def test_a_run_and_its_training_from_a_configuration() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn's iris")
    words = ("experiment=iris_mlp", "train=fit", "train.epochs=2", "train.every=1")
    runs = [runner.run(*words, f"hydra.run.dir={name}") for name in ("one", "two")]
    runner.assert_same(*runs)
    record = runs[0].record
    assert record.backend is not None
    assert (record.backend.name, bool(record.backend.version)) == (BACKEND, True)
    assert record.backend.devices
    assert Path("one/run.json").exists()


def test_measured_dependence_on_the_batch() -> None:
    model, x = pictures()
    run = runner.save_run(model, x, "mine")
    tensors = run.record.tensors
    found = {one.name: one.invariance for one in tensors if one.kind == "activation"}
    assert set(found.values()) <= {"bitwise", "rounding"}
    assert run.record.probe is not None
    assert run.record.probe.compared_sizes


only_torch = pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch's tensors are overwritten")


class PartOfBuffer(layers.Layer):
    """Overwrites a part of a buffer of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        import torch

        self.register_buffer("seen", torch.zeros(3))

    def call(self, inputs: Any) -> Any:
        self.seen[1:] += 1
        return inputs + self.seen


@only_torch
def test_a_part_of_a_buffer_that_is_overwritten_is_put_back() -> None:
    model = keras.Sequential([keras.Input((3,)), layer := PartOfBuffer()])
    layer.seen.zero_()  # Keras has called it to learn its shapes
    found = runner.capture_activations(model, np.zeros((4, 3), "float32"), batch_size=2)
    np.testing.assert_array_equal(found[layer.name].value[:, 1], [1, 1, 2, 2])
    assert not layer.seen.any()


def torch_hook(where: str, layer: Any, hook: Callable[..., None]) -> Any:
    import torch

    if where == "layer":
        return layer.register_forward_pre_hook(hook)
    return torch.nn.modules.module.register_module_forward_pre_hook(hook)


@only_torch
@pytest.mark.parametrize("where", ["layer", "every module"])
def test_what_a_hook_changes_in_a_later_batch_is_put_back(where: str) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dense(2)])
    weights, x = [variable.numpy() for variable in model.variables], normal(4, 3)
    capture = Capture(model, x)
    capture(x)
    capture(x)

    def doubles(module: Any, _given: Any) -> None:
        if module is model.layers[0]:
            module.kernel.value.detach().mul_(2)

    hook = torch_hook(where, model.layers[0], doubles)
    try:
        capture.refresh()
        found = capture(x)[0]
    finally:
        hook.remove()
    assert found is not None
    np.testing.assert_array_equal(found, x @ (2 * weights[0]))
    for variable, before in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)


class Mine(layers.Layer):
    """A layer of a user."""

    def call(self, inputs: Any) -> Any:
        return inputs


def model_of(*parts: Any) -> keras.Model:
    return keras.Sequential([layers.Input((4, 3)), *parts])


OF_KERAS: list[Callable[[], list[Any]]] = [
    lambda: [layers.Dense(2, "relu", kernel_regularizer="l2"), layers.Softmax()],
    lambda: [
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.Bidirectional(layers.LSTM(2)),
    ],
    lambda: [layers.Dense(3, activation=keras.activations.gelu), model_of(layers.ReLU())],
]
OF_OTHERS: list[Callable[[], list[Any]]] = [
    lambda: [Mine()],
    lambda: [layers.TimeDistributed(Mine())],
    lambda: [layers.Lambda(keras.ops.relu)],
    lambda: [layers.Activation(operator.pos)],
    lambda: [layers.Dense(3, activation=lambda x: x)],
    lambda: [layers.Dense(3, activation=functools.partial(keras.ops.clip, x_min=0, x_max=1))],
    lambda: [layers.Dense(3, kernel_regularizer=lambda kernel: keras.ops.sum(kernel))],
]


@only_torch
@pytest.mark.parametrize("parts", OF_KERAS)
def test_layers_of_keras_run_its_code_alone(parts: Callable[[], list[Any]]) -> None:
    assert runs_keras_alone(Attributes(model_of(*parts())))


@only_torch
@pytest.mark.parametrize("parts", OF_OTHERS)
def test_what_others_wrote_is_found(parts: Callable[[], list[Any]]) -> None:
    assert not runs_keras_alone(Attributes(model_of(*parts())))


@only_torch
@pytest.mark.parametrize("parts", OF_KERAS)
def test_what_is_put_into_a_layer_later_is_found(parts: Callable[[], list[Any]]) -> None:
    built = model_of(*parts())
    built.layers[0].kept = {"by name": operator.pos}
    assert not runs_keras_alone(Attributes(built))


@only_torch
@pytest.mark.parametrize("called", [False, True])
def test_operations_of_keras_s_own_code_are_looked_at_only_at_first(called: bool) -> None:
    model, x = model_of(layers.Dense(3, "relu"), layers.Softmax()), normal(2, 4, 3)
    if called:
        model(x)
    capture = Capture(model, x)
    capture(x)  # the first call of a model changes its attributes
    state = capture._passes._state
    known = state._quiet_with
    assert known is not None
    capture(x)
    assert state._quiet_with is known
