"""Every value of every covered layer, computed anew from what was stored, beside Keras's own."""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import runner
from runner.arithmetic.functions import FUNCTIONS
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.operations import covered
from runner.arithmetic.spelling import COVERED, spell_out
from runner.errors import InputError
from runner.runs.published_run import Run
from runner.screen import explain

_rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_values_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the same values for a test whichever tests ran before it."""
    monkeypatch.setattr(sys.modules[__name__], "_rng", np.random.default_rng(0))


# A layer, and the shape of a sample that it is called on.
CASES: list[tuple[Callable[[], Any], tuple[int, ...]]] = [
    (lambda: layers.Dense(3, activation="gelu"), (4,)),
    (lambda: layers.Dense(3, activation="softmax", use_bias=False), (2, 5)),
    (lambda: layers.Dense(2, activation="log_softmax"), (3,)),
    (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), (4, 5)),
    (lambda: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), (4, 5)),
    (lambda: layers.EinsumDense("abc,bd->acd", (None, 3), activation="relu"), (4, 5)),
    (lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (9, 2)),
    (lambda: layers.Conv1D(4, 3, padding="same", strides=2, groups=2), (9, 4)),
    (lambda: layers.Conv2D(3, 3, padding="same", activation="relu"), (5, 6, 2)),
    (lambda: layers.Conv2D(3, (2, 3), strides=(2, 1), use_bias=False), (6, 5, 2)),
    (lambda: layers.Conv2D(2, 4, padding="same", strides=3), (8, 7, 1)),
    (lambda: layers.Conv3D(2, 2, padding="same", dilation_rate=2), (4, 4, 3, 2)),
    (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (6, 2)),
    (lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (5, 5, 2)),
    (lambda: layers.MaxPooling1D(3, strides=2, padding="same"), (8, 2)),
    (lambda: layers.MaxPooling2D(2), (5, 6, 2)),
    (lambda: layers.MaxPooling3D(2), (4, 4, 4, 2)),
    (lambda: layers.AveragePooling1D(2), (7, 2)),
    (lambda: layers.AveragePooling2D(3, strides=2, padding="same"), (5, 6, 2)),
    (lambda: layers.AveragePooling3D(2), (4, 4, 4, 1)),
    *[
        (getattr(layers, f"Global{kind}Pooling{rank}D"), (4, 3, 2, 2)[-rank - 1 :])
        for kind, rank in product(("Average", "Max"), (1, 2, 3))
    ],
    (lambda: layers.BatchNormalization(), (4, 3)),
    (lambda: layers.BatchNormalization(axis=1, center=False), (4, 3)),
    (lambda: layers.BatchNormalization(scale=False, epsilon=0.1), (3,)),
    (lambda: layers.LayerNormalization(), (4, 3)),
    (lambda: layers.LayerNormalization(axis=(1, 2), scale=False), (4, 3)),
    (lambda: layers.GroupNormalization(2), (4, 6)),
    (lambda: layers.GroupNormalization(-1), (4, 6)),
    (lambda: layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0]), (2,)),
    (lambda: layers.Activation("tanh"), (3, 2)),
    (lambda: layers.Activation("softmax"), (3, 2)),
    (lambda: layers.ReLU(max_value=0.8, negative_slope=0.1, threshold=0.2), (6,)),
    (lambda: layers.LeakyReLU(negative_slope=0.2), (6,)),
    (lambda: layers.ELU(alpha=0.5), (6,)),
    (lambda: layers.Softmax(axis=1), (3, 4)),
    (lambda: layers.Rescaling(0.5, offset=-1), (3, 4)),
    (lambda: layers.Dropout(0.5), (3,)),
    (lambda: layers.Flatten(), (3, 4, 2)),
    (lambda: layers.Reshape((2, 6)), (3, 4)),
    (lambda: layers.Permute((2, 1)), (3, 4)),
    (lambda: layers.RepeatVector(3), (4,)),
    (lambda: layers.ZeroPadding1D((1, 2)), (3, 2)),
    (lambda: layers.ZeroPadding2D(((1, 0), (2, 1))), (3, 4, 2)),
    (lambda: layers.ZeroPadding3D(1), (2, 2, 2, 1)),
    (lambda: layers.Cropping1D((1, 0)), (4, 2)),
    (lambda: layers.Cropping2D((1, 0)), (4, 3, 2)),
    (lambda: layers.UpSampling2D((2, 3)), (2, 3, 2)),
]


def saved(model: keras.Model, *inputs: np.ndarray) -> Run:
    """Show a model with other than its first weights some inputs, and read the run back."""
    for weight in model.weights:
        if weight.dtype == "float32":  # variances, among others, are positive
            weight.assign(_rng.uniform(0.2, 1.5, weight.shape))
    shown = list(inputs) if len(inputs) > 1 else inputs[0]
    return Run.read(runner.save_run(model, shown, Path("run")).path)


def check(run: Run, name: str, most: int = 40) -> None:
    """Hold values of a layer to what is computed anew, and the bound on rounding to reason."""
    call = LayerCall.read(run, name, 1)
    places = list(np.ndindex(call.output.shape))
    for place in (places[i] for i in _rng.permutation(len(places))[:most]):
        account = spell_out(call, tuple(place))
        stored = float(call.output[place])
        assert account.value == pytest.approx(stored, rel=1e-4, abs=1e-5)
        assert abs(account.value - stored) <= account.rounding(call.epsilon)
        assert account.rounding(call.epsilon) < 1e-3 * (1 + abs(stored))
        said = explain.tell(call, tuple(place), "1")
        assert re.search(r"equals the stored value|\(order of rounding\)", said)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[1]))
def test_a_value_is_what_its_layer_computed(
    case: tuple[Callable[[], Any], tuple[int, ...]],
) -> None:
    make, shape = case
    given = keras.Input(shape)
    model = keras.Model(given, layers.Identity()(make()(given)))
    made = model.layers[1]
    made.name = "made"
    run = saved(model, _rng.normal(size=(2, *shape)).astype(np.float32))
    check(run, "made")


# TensorFlow has kernels for no other type.
_FLOAT32_ALONE = (layers.AveragePooling3D, layers.MaxPooling3D)


def _rounds_gelu(layer: Any) -> bool:
    """Return whether a layer's activation is the GELU of a TensorFlow that rounds its constants."""
    exact = 1.3 * (1 + math.erf(1.3 / math.sqrt(2))) / 2
    is_gelu = getattr(layer, "activation", None) is keras.activations.gelu
    return is_gelu and abs(float(tf.nn.gelu(np.float64(1.3), approximate=False)) - exact) > 1e-14


@pytest.mark.parametrize("number", range(0, len(CASES), 8))
def test_a_value_of_a_layer_in_float64_is_what_it_computed(number: int) -> None:
    """All that TensorFlow rounds to float32 on the way would show as millions of ULP."""
    inputs, outputs, shown, names = [], [], [], []
    keras.config.set_dtype_policy("float64")
    try:
        for make, shape in CASES[number : number + 8]:
            layer = make()
            if isinstance(layer, _FLOAT32_ALONE) or _rounds_gelu(layer):
                continue
            given = keras.Input(shape, dtype="float64")
            layer.name = f"made_{len(inputs)}"
            inputs.append(given)
            outputs.append(layers.Identity()(layer(given)))
            shown.append(_rng.normal(size=(2, *shape)))
            names.append(layer.name)
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        if weight.dtype == "float64":
            weight.assign(_rng.uniform(0.2, 1.5, weight.shape))
    run = Run.read(runner.save_run(model, shown, Path("run")).path)
    for name in names:
        check(run, name)
        assert LayerCall.read(run, name, 1).epsilon == np.finfo("float64").eps


def test_every_covered_layer_is_tried() -> None:
    tried = {type(make()).__name__ for make, _ in CASES}
    others = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Concatenate"}
    others |= {"Embedding", "MultiHeadAttention", "RMSNormalization"}
    same = {"Identity", "ActivityRegularization"}
    same |= {name for name in COVERED if "Dropout" in name or "Noise" in name}
    alike = {"Cropping3D", "UpSampling1D", "UpSampling3D"}
    assert set(COVERED) == tried | others | same | alike


def test_the_documentation_lists_what_is_covered_and_what_is_not() -> None:
    page = (Path(__file__).parent.parent / "docs/explain.md").read_text(encoding="utf-8")
    _, _, listed = page.partition("## What is covered")
    covers, _, lacks = listed.partition("## What is not covered")
    of_layers, of_activations, of_operations = (
        set(re.findall(r"`(\w+)`", part.partition("**")[2]))
        for part in re.split(r"\*\*(?:Layers|Activations|Operations)", covers)[1:]
    )
    assert set(COVERED) <= of_layers
    assert of_activations == {name for name in FUNCTIONS if " of " not in name}
    assert "`hard_sigmoid` of Keras 2" in covers  # whose name says where it is from
    assert of_operations >= {name for name in covered() if " of " not in name}
    others = {
        cls.__name__
        for cls in vars(layers).values()
        if isinstance(cls, type) and issubclass(cls, layers.Layer)
    } - {*COVERED, "Layer", "InputLayer", "Wrapper"}
    assert others <= set(re.findall(r"`(\w+)`", lacks))


@pytest.mark.skipif(not hasattr(layers, "RMSNormalization"), reason="this Keras has no such layer")
def test_root_mean_square() -> None:
    given = keras.Input((4, 3))
    model = keras.Model(given, layers.RMSNormalization(name="made")(given))
    check(saved(model, _rng.normal(size=(2, 4, 3)).astype(np.float32)), "made")


@pytest.mark.parametrize(
    "name", ["Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"]
)
def test_several_inputs(name: str) -> None:
    inputs = [keras.Input((3, 2), name="a"), keras.Input((3, 2), name="b")]
    model = keras.Model(inputs, getattr(layers, name)(name="made")(inputs))
    run = saved(model, *(_rng.normal(size=(2, 3, 2)).astype(np.float32) for _ in "ab"))
    check(run, "made")
    if name == "Subtract":
        assert "input0 u0_1" in explain.show(run, "made", "u0_1", "0")


def _operations(i: Any, j: Any, v: Any, w: Any) -> list[Any]:
    """Return values of operations of ``keras.ops``; what they are given is (2, 4, 3) or so."""
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    positive = ops.abs(i) + 0.1
    found = [
        2.5 * i, i + j, i + np.arange(3, dtype=np.float32), 1 - i, i / 2, positive**1.5, -i,
        i[:, 1:, ::2], i[:, -1], i[:, None, ...], i[..., 0], ops.relu(i), ops.gelu(i),
        ops.gelu(i, approximate=False), ops.sum(i, axis=1), ops.mean(i, axis=(1, 2), keepdims=True),
        ops.reshape(i, (-1, 12)), ops.transpose(i, (0, 2, 1)), ops.concatenate([i, j], axis=1),
        ops.stack([i, j], axis=-1), ops.split(i, 2, axis=1)[1], ops.squeeze(v[:, None], 1),
        ops.matmul(i, ops.transpose(j, (0, 2, 1))), i @ matrix, ops.dot(i, matrix),
        ops.matmul(v, np.arange(3, dtype=np.float32)), ops.einsum("bij,bkj->bik", i, j),
        ops.softmax(i, axis=1), ops.log_softmax(i), ops.where(i > 0, i, 0.1), ops.clip(i, -1, 1),
        ops.cast(i * 3, "int32"), ops.exp(i), ops.log(positive), ops.leaky_relu(i, 0.3),
        ops.max(i, axis=-1), ops.argmax(i, axis=-1), ops.logsumexp(i, axis=(1,)),
        ops.std(i, axis=1),
        ops.var(i, axis=1), ops.prod(i, axis=2), ops.pad(i, [[0, 0], [1, 1], [0, 2]]),
        ops.take(i, [1, 0], axis=2), ops.tile(i, (1, 2, 1)), ops.repeat(i, 2, axis=1),
        ops.swapaxes(i, 1, 2), ops.moveaxis(i, 1, 2), ops.maximum(i, 0.0), ops.minimum(i, j),
        ops.flip(i, axis=1), ops.roll(i, 1, axis=1), ops.sqrt(positive), ops.rsqrt(positive),
        ops.sigmoid(i), ops.silu(i), ops.elu(i, 0.7), v[:, :, None] * v[:, None], i >= j,
        ops.logical_and(i > 0, j > 0), ops.mod(w, 3), w // 2, ops.round(i, 1),
        ops.tril(ops.matmul(i, ops.transpose(j, (0, 2, 1)))), ops.stop_gradient(i),
    ]  # fmt: skip
    return [
        *found,
        *(getattr(ops, name)(i, 0.6) for name in ("celu", "squareplus") if hasattr(ops, name)),
    ]


def test_operations_are_explained_as_layers_are() -> None:
    inputs = [
        keras.Input(shape, dtype=dtype)
        for shape, dtype in [((4, 3), None), ((4, 3), None), ((3,), None), ((4,), "int32")]
    ]
    model = keras.Model(inputs, _operations(*inputs))
    shown = [_rng.normal(size=(2, *given.shape[1:])).astype(np.float32) for given in inputs[:3]]
    run = saved(model, *shown, np.array([[1, 2, 3, 4], [8, 7, 6, 5]], np.int32))
    names = [tensor.name for tensor in run.record.tensors if tensor.kind == "activation"]
    assert len(names) > 70
    for name in names:
        check(run, name, most=6)
    # Keras numbers its operations through the whole process.
    said = [explain.show(run, name, "u0_1", "1") for name in names if re.match("multiply", name)]
    product = next(each for each in said if re.search(r"\nconstant +2.5\n", each))
    assert re.search(r"\nmultiply -?\d", product)


def test_an_operation_that_is_not_covered_is_refused_by_its_own_name() -> None:
    given = keras.Input((4, 3))
    refused = [
        ops.flip(given, axis=0), ops.cumsum(given, axis=1), given @ np.ones((3, 20), np.float32)
    ]  # fmt: skip
    model = keras.Model(given, refused)
    for layer, name in zip(model.operations[1:], ("flip", "cumsum", "matmul"), strict=True):
        layer.name = name
    run = saved(model, np.ones((2, 4, 3), np.float32))
    for name, why in (
        ("flip", "operations that mix the samples of a batch are not covered yet"),
        ("cumsum", "values of keras.ops.cumsum are not covered yet; docs/explain.md lists what is"),
        ("matmul", r"constants of shape \[3, 20\], which a run does not keep, are not covered yet"),
    ):
        with pytest.raises(InputError, match=f"{name}: {why}"):
            explain.show(run, name, "u0_0", "1")


@pytest.mark.filterwarnings(r"ignore:[\s\S]*structure of `inputs` doesn't match")  # older Keras
def test_inputs_whose_columns_are_spelled_alike_are_told_apart() -> None:
    inputs = [keras.Input((3,), name="a"), keras.Input((2,), name="a1")]
    outputs = [layers.Dense(2, name=f"of_{given.name}")(given) for given in inputs]
    shown = {"a": _rng.normal(size=(2, 3)), "a1": _rng.normal(size=(2, 2))}
    run = Run.read(runner.save_run(keras.Model(inputs, outputs), shown, Path("run")).path)
    check(run, "of_a")
    check(run, "of_a1")
    assert list(run.probe) == ["a0", "a1", "a2", "a10", "a11"]


def _too_large(activation: str) -> Run:
    """Return a run of a layer whose sums are 6e38, -6e38 and 3."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation, name="dense")])
    kernel = np.array([[1, -1, 0], [1, -1, 0], [0, 0, 3]], "float32")
    model.layers[0].set_weights([kernel, np.zeros(3, "float32")])
    shown = np.array([[3e38, 3e38, 1]], "float32")
    return Run.read(runner.save_run(model, shown, Path("run")).path)


@pytest.mark.parametrize("activation", ["linear", "relu", "softmax", "sigmoid", "tanh"])
def test_sums_that_are_too_large_are_infinite_as_in_the_layer(activation: str) -> None:
    run = _too_large(activation)
    said = explain.show(run, "dense", "u0")
    assert "sum     inf\n" in said
    assert f"{activation}(inf)" in said
    assert f"equals the stored value {run['dense'].iloc[0, 0]:g}\n" in said


def test_no_bound_on_rounding_is_infinite() -> None:
    call = LayerCall.read(_too_large("relu"), "dense", 0)
    account = spell_out(call, (1,))
    assert account.value == 0
    assert replace(account, size=3.0).agrees(np.float32(1e-7), call.epsilon)
    assert not replace(account, size=np.inf).agrees(np.float32(5), call.epsilon)
    assert not replace(account, size=np.nan).agrees(np.float32(5), call.epsilon)


def test_embedding_and_a_mean_under_its_mask() -> None:
    given = keras.Input((5,), dtype="int32")
    words = layers.Embedding(7, 3, mask_zero=True, name="words")(given)
    model = keras.Model(given, layers.GlobalAveragePooling1D(name="mean")(words))
    run = saved(model, np.array([[1, 2, 3, 0, 0], [6, 5, 4, 3, 0]], np.int32))
    check(run, "words")
    check(run, "mean")
    said = explain.show(run, "words", "u1_2", "1")
    assert "row\ninput1   5\n" in said
    assert "embeddings[5, 2] " in said


def quantized(made: dict[str, tuple[Any, np.ndarray]], mode: str, **config: Any) -> Run:
    """Show a quantized model some samples: its layers, and what each of them is shown."""
    inputs = [
        keras.Input(shown.shape[1:], dtype="int32" if shown.dtype.kind == "i" else None)
        for _, shown in made.values()
    ]
    outputs = [layer(given) for (layer, _), given in zip(made.values(), inputs, strict=True)]
    model = keras.Model(inputs, outputs)
    for name, (layer, _) in made.items():
        layer.name = name
    for weight in model.weights:
        weight.assign(_rng.normal(size=weight.shape))
    try:
        if config:
            make = {"int8": "Int8QuantizationConfig", "int4": "Int4QuantizationConfig"}[mode]
            settings = getattr(keras.quantizers, make)
            if config.get("activation_quantizer") == "abs_max":
                config["activation_quantizer"] = keras.quantizers.AbsMaxQuantizer()
            quantize(model, config=settings(**config))
        else:
            quantize(model, mode)
    except (ValueError, AttributeError, NotImplementedError) as error:
        pytest.skip(f"this Keras does not quantize so: {error}")
    shown = [shown for _, shown in made.values()]
    return Run.read(runner.save_run(model, shown, Path("run")).path)


def quantize(model: keras.Model, *how: Any, **more: Any) -> None:
    """Quantize the layers of a model that Keras knows how to quantize."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it names those that it does not
        model.quantize(*how, **more)


QUANTIZATIONS = [
    ("int8", {}),
    ("int8", {"activation_quantizer": None}),
    ("int4", {}),
    ("int4", {"block_size": 3}),
    ("int4", {"block_size": -1}),
    ("int4", {"block_size": None, "activation_quantizer": "abs_max"}),
    ("float8", {}),
]


@pytest.mark.parametrize(("mode", "config"), QUANTIZATIONS)
def test_a_quantized_layer_is_explained_with_its_scales(mode: str, config: dict[str, Any]) -> None:
    rows = _rng.normal(size=(2, 3, 7)).astype(np.float32)
    heads = _rng.normal(size=(2, 3, 2, 5)).astype(np.float32)
    made = {
        "dense": (layers.Dense(5, activation="gelu"), rows[:, 0]),
        "mixed": (layers.Dense(5, activation="softmax"), rows),
        "spread": (layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), rows),
        "merged": (layers.EinsumDense("btnh,nhd->btd", (None, 4), bias_axes="d"), heads),
        "across": (layers.EinsumDense("abc,bd->acd", (None, 3), activation="relu"), rows),
    }
    if mode != "float8":
        words = _rng.integers(0, 9, (2, 6)).astype(np.int32)
        made["words"] = (layers.Embedding(9, 5), words)
    run = quantized(made, mode, **config)
    for name in made:
        check(run, name)
    assert "scale of the weights" in explain.show(run, "dense", "u0", "1") or mode != "int8"


def test_quantized_attention_is_refused_and_its_parts_are_not() -> None:
    given = keras.Input((3, 6))
    model = keras.Model(given, layers.MultiHeadAttention(2, 3, name="made")(given, given))
    quantize(model, "int8")
    shown = _rng.normal(size=(2, 3, 6)).astype(np.float32)
    run = Run.read(runner.save_run(model, shown, Path("run")).path)
    check(run, "made/query")
    with pytest.raises(
        InputError, match="made: quantized attention layers are not covered yet; explain"
    ):
        explain.show(run, "made", "u0_0", "1")


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [(layers.Dense(5, name="made"), "float32"), (layers.Embedding(9, 5, name="made"), "int32")],
)
def test_a_low_rank_update_is_part_of_the_weights(layer: Any, dtype: str) -> None:
    given = keras.Input((7,), dtype=dtype)
    model = keras.Model(given, layer(given))
    layer.enable_lora(2)
    for weight in model.weights:
        weight.assign(_rng.normal(size=weight.shape))
    shown = _rng.integers(0, 9, (2, 7)).astype(dtype)
    check(Run.read(runner.save_run(model, shown, Path("run")).path), "made")


@pytest.mark.parametrize("causal", [False, True])
def test_attention_and_its_scores(causal: bool) -> None:
    given, other = keras.Input((4, 6)), keras.Input((5, 6))
    if causal:
        other = given
    attention = layers.MultiHeadAttention(2, 3, name="made")
    outputs = attention(given, other, return_attention_scores=True, use_causal_mask=causal)
    model = keras.Model(given if causal else [given, other], outputs)
    shapes = [(2, 4, 6)] if causal else [(2, 4, 6), (2, 5, 6)]
    run = saved(model, *(_rng.normal(size=shape).astype(np.float32) for shape in shapes))
    check(run, "made:0")
    check(run, "made:1")
    check(run, "made/query")
    words = explain.show(run, "made:0", "u0_0", "1").split()  # widths follow the values
    assert " looks_most_at with_weight contribution head 0 " in " ".join(words)
    if not causal:
        check(run, next(name for name in run if "softmax" in name))
    check(run, "made/attention_output")


def test_what_a_layer_was_called_on_may_be_kept_as_its_input() -> None:
    given = keras.Input((4, 6))
    model = keras.Model(given, layers.MultiHeadAttention(2, 3, name="made")(given, given))
    runner.save_run(
        model,
        _rng.normal(size=(2, 4, 6)).astype(np.float32),
        Path("run"),
        kinds=("activation", "weight", "input"),
    )
    check(Run.read(Path("run")), "made/attention_output")


class _Embedded(layers.Layer):
    """Words and their places, as most transformers begin."""

    def build(self, shape: Any) -> None:
        self.words, self.places = layers.Embedding(9, 8), layers.Embedding(shape[-1], 8)

    def call(self, x: Any) -> Any:
        return self.words(x) + self.places(ops.arange(0, ops.shape(x)[-1]))


class _Attention(layers.Layer):
    """Heads that are split and merged by hand, and a gate."""

    def build(self, _: Any) -> None:
        self.projections = [layers.Dense(8, name=name) for name in ("q", "k", "v")]
        self.out, self.gate = layers.Dense(8, name="out"), layers.Dense(16, name="gate")
        self.offset = self.add_weight(shape=(7, 8), initializer="normal", name="offset")
        self.norm = layers.LayerNormalization(name="norm")

    def heads(self, x: Any) -> Any:
        return ops.transpose(ops.reshape(x, (ops.shape(x)[0], -1, 2, 4)), (0, 2, 1, 3))

    def call(self, x: Any) -> Any:
        q, k, v = (self.heads(projection(x)) for projection in self.projections)
        weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / 2.0)
        mixed = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        merged = self.out(ops.reshape(mixed, (ops.shape(x)[0], -1, 8)))
        opened, closed = ops.split(self.gate(x + merged), 2, axis=-1)
        return self.norm(ops.relu(opened) * ops.sigmoid(closed) + self.offset + x) * 0.5


class _Pictures(layers.Layer):
    """A residual block whose channels are weighed."""

    def build(self, _: Any) -> None:
        self.first = layers.Conv2D(2, 3, padding="same", name="first")
        self.second = layers.Conv2D(2, 1, name="second")
        self.weigh, self.last = layers.Dense(2, name="weigh"), layers.Dense(3, name="last")

    def call(self, x: Any) -> Any:
        y = ops.relu(self.first(x))
        y = ops.leaky_relu(y + self.second(y))
        y = y * ops.sigmoid(self.weigh(ops.mean(y, axis=(1, 2))))[:, None, None, :]
        told = ops.concatenate([ops.max(y, axis=(1, 2)), ops.mean(x, axis=(1, 2))[:, :1]], axis=-1)
        return self.last(told)


def test_what_no_layer_put_out_is_computed_from_what_was_stored() -> None:
    given = [keras.Input((7,), dtype="int32"), keras.Input((4, 5, 2))]
    outputs = _Attention(name="mix")(_Embedded(name="embed")(given[0]))
    model = keras.Model(given, [outputs, _Pictures(name="see")(given[1])])
    words = _rng.integers(0, 9, (2, 7)).astype(np.int32)
    run = saved(model, words, _rng.normal(size=(2, 4, 5, 2)).astype(np.float32))
    names = [tensor.name for tensor in run.record.tensors if tensor.kind == "activation"]
    assert {"embed", "mix", "mix/norm", "see/weigh", "see/last", "see"} <= set(names)
    for name in names:
        LayerCall.read(run, name, 1)
        check(run, name, most=8)
    assert "(embed + mix/out) u0_1" in explain.show(run, "mix/gate", "u0_0", "0")
    said = explain.show(run, "see", "u0", "0")
    assert said.startswith("see is the same tensor as see/last\n\nsee/last u0, sample 0")
    said = explain.show(run, "embed", "u1_2", "1")
    assert re.search(r"embed/embedding\S* u1_2 +\S+\ntake\(\.\.\.\) u1_2 +", said)


class _Mixing(layers.Layer):
    def build(self, _: Any) -> None:
        self.centred, self.summed = layers.Dense(2, name="centred"), layers.Dense(2, name="summed")

    def call(self, x: Any) -> Any:
        return self.centred(x - ops.mean(x, axis=0)), self.summed(ops.cumsum(x, axis=-1))


def test_what_cannot_be_computed_again_is_said_with_what_helps() -> None:
    given = keras.Input((3,))
    model = keras.Model(given, _Mixing(name="mix")(given))
    shown = _rng.normal(size=(16, 3)).astype(np.float32)
    runner.save_run(model, shown, Path("run"))
    run = Run.read(Path("run"))
    mixed = "was called on a tensor computed across the samples of a batch, or across axes of var"
    with pytest.raises(InputError, match=f"mix/centred: {mixed}.*; add input to capture.kinds"):
        explain.show(run, "mix/centred", "u0", "1")
    with pytest.raises(
        InputError, match="mix/summed: was called on the result of TensorFlow's Cum"
    ):
        explain.show(run, "mix/summed", "u0", "1")
    runner.save_run(model, shown, Path("whole"), kinds=("activation", "weight", "input"))
    for name in ("mix/centred", "mix/summed"):
        check(Run.read(Path("whole")), name)


def test_what_cannot_be_spelled_out_says_why() -> None:
    given = keras.Input((4, 3))
    hidden = layers.LSTM(3, return_sequences=True, name="lstm")(given)
    hidden = layers.Dense(2, name="dense")(hidden)
    model = keras.Model(given, hidden)
    values = _rng.normal(size=(2, 4, 3)).astype(np.float32)
    runner.save_run(model, values, Path("run"), exclude=("lstm",))
    run = Run.read(Path("run"))
    with pytest.raises(InputError, match="dense: was called on 'lstm', which was not captured"):
        explain.show(run, "dense", "u0_0", "1")
    runner.save_run(model, values, Path("whole"))
    with pytest.raises(InputError, match="lstm: LSTM layers are not covered yet"):
        explain.show(Run.read(Path("whole")), "lstm", "u0_0", "1")
    runner.save_run(model, values, Path("reduced"), reduce={"dense": "mean"})
    with pytest.raises(InputError, match="dense: was stored reduced to its mean"):
        explain.show(Run.read(Path("reduced")), "dense", "u0", "1")


def test_batch_statistics_and_drawn_numbers_cannot_be_told_from_one_sample() -> None:
    given = keras.Input((3,))
    hidden = layers.BatchNormalization(name="norm")(given)
    model = keras.Model(given, layers.Dropout(0.5, name="drop")(hidden))
    runner.save_run(model, np.ones((4, 3), np.float32), Path("run"), training=True)
    run = Run.read(Path("run"))
    with pytest.raises(InputError, match="norm: batch statistics, which depend on the other"):
        explain.show(run, "norm", "u0", "1")
    with pytest.raises(InputError, match="drop: random numbers drawn in training"):
        explain.show(run, "drop", "u0", "1")


def test_the_units_of_a_large_map_are_not_all_listed() -> None:
    given = keras.Input((80, 80, 2))
    model = keras.Model(given, layers.ReLU(name="made")(given))
    run = saved(model, np.zeros((1, 80, 80, 2), np.float32))
    with pytest.raises(InputError, match="no unit 'u80_0_0'; they go from u0_0_0 to u79_79_1"):
        explain.show(run, "made", "u80_0_0", "0")
