"""The dtype of a model's layers and its quantization, for every kind of model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from packaging.version import Version

import runner
from runner.command_line.entry import main
from runner.config.model_config import ApplicationModel, SavedModel
from runner.config.precision import PRECISION_KEYS
from runner.errors import InputError
from runner.model.model_files import load_saved
from runner.model.precision import quantize

NETS = """
import keras

def heeding():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])

def own():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="float32")])

def without():
    return keras.Sequential([keras.Input((3,)), keras.layers.LayerNormalization()])
"""


def saved(*layers: Any, path: str = "m.keras") -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(list(layers))
    model.save(path)
    return model


KINDS = {
    "declared": ["experiment=iris_mlp"],
    "saved": ["model=saved", "model.path=m.keras"],
    "function": ["model=function", "model.function=precise_nets:heeding"],
    "application": [
        "model=application", "model.class_name=MobileNetV2", "+model.input_shape=[32,32,3]",
        "+model.classes=5", "+model.alpha=0.35",
    ],
}  # fmt: skip


@pytest.fixture
def nets() -> None:
    Path("precise_nets.py").write_text(NETS)
    saved(keras.Input((3,)), keras.layers.Dense(2, activation="relu", name="a"))


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_has_a_dtype_and_is_quantized(kind: str) -> None:
    words = [*KINDS[kind], *([] if kind == "declared" else ["probe=random"]), "probe.rows=4"]
    run = runner.run(*words, "model.dtype=mixed_bfloat16", "model.quantize=int8")
    assert run.config["model"]["dtype"] == "mixed_bfloat16"
    assert run.config["model"]["quantize"] == "int8"
    kernels = [t for t in run.record.tensors if t.name.endswith("/kernel")]
    assert "int8" in {tensor.dtype for tensor in kernels}
    last = run.tensor(run.layer_outputs[-1])
    assert last.dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_a_key_of_every_model_needs_no_plus_and_takes_one() -> None:
    assert PRECISION_KEYS == ("model.dtype", "model.quantize")
    for plus in ("", "+", "++"):
        run = runner.run(f"{plus}model.dtype=float64")
        assert run.tensor("hidden").dtype == "float64"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["model.dtype=bfloat61"],
            "model.dtype: expected one of float16, bfloat16, float32, float64, mixed_float16, "
            "mixed_bfloat16, found 'bfloat61'; did you mean 'bfloat16'?",
        ),
        (
            ["model.quantize=int16"],
            "model.quantize: expected one of int8, int4, float8, found 'int16'; did you mean "
            "'int8'?",
        ),
        (
            ["model.quantise=int8"],
            "model.quantise: unknown key; did you mean 'quantize'?",
        ),
        (
            ["experiment=iris_mlp", "train=fit", "model.quantize=int8"],
            "model.quantize: a quantized model is not trained; set train=none",
        ),
        (
            ["model.quantize=int8", "model.dtype=float16"],
            "model.quantize: Keras cannot do it: Quantization mode='int8' doesn't work well with "
            "compute_dtype='float16'. Consider loading model/layer with another dtype policy such "
            "as 'mixed_bfloat16' or 'mixed_float16' before calling `quantize()`.",
        ),
        (
            [*KINDS["function"][:1], "model.function=precise_nets:without", "probe=random",
             "model.quantize=int8"],
            "model.quantize: the model has no layer that Keras can quantize; it quantizes Dense, "
            "EinsumDense and embeddings, and what is made of them",
        ),
        (
            [*KINDS["function"][:1], "model.function=precise_nets:own", "probe=random",
             "model.dtype=bfloat16"],
            "model.dtype: no layer of the model that the function returned has the policy "
            "bfloat16; let the function make its layers without a dtype of their own, or leave "
            "out model.dtype",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("nets")
def test_what_cannot_be_is_told_in_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "hydra.run.dir=mine"]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"
    assert not Path("mine").exists()


@pytest.mark.parametrize("path", ["m.keras", "m.h5"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "mixed_float16"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_model_from_a_file_is_rebuilt_with_its_weights(path: str, dtype: Any) -> None:
    model = saved(
        keras.Input((4, 3)),
        keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True)),
        keras.Sequential([keras.layers.Dense(3), keras.layers.BatchNormalization()]),
        path=path,
    )
    loaded = load_saved(SavedModel(path=path, dtype=dtype))
    policies = {layer.dtype_policy.name for layer in loaded._flatten_layers() if layer.weights}
    assert policies <= {dtype, "float32"}
    assert loaded.layers[0].forward_layer.dtype_policy.name == dtype
    assert loaded.layers[0].variable_dtype == keras.DTypePolicy(dtype).variable_dtype
    assert [tensor.dtype for tensor in loaded.inputs] == ["float32"]
    for mine, own in zip(loaded.weights, model.weights, strict=True):
        rounded = keras.ops.cast(own, loaded.layers[0].variable_dtype)
        np.testing.assert_array_equal(
            np.asarray(keras.ops.convert_to_numpy(mine), "float64"),
            np.asarray(keras.ops.convert_to_numpy(rounded), "float64"),
        )


def test_what_a_file_holds_beside_weights_stays() -> None:
    words = keras.layers.TextVectorization(output_sequence_length=2, name="words")
    words.adapt(["red green", "green"])
    model = saved(
        keras.Input((), dtype="string"), words, keras.layers.Embedding(9, 2, name="embedding")
    )
    loaded = load_saved(SavedModel(path="m.keras", dtype="float64"))
    assert loaded.get_layer("words").get_vocabulary() == words.get_vocabulary()
    assert loaded.get_layer("embedding").compute_dtype == "float64"
    x = keras.ops.convert_to_tensor(["green red"])
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(model(x)))


def test_a_quantized_file_keeps_its_dtype_and_is_not_quantized_again() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    quantize(model, "int8")
    model.save("m.keras")
    with pytest.raises(InputError, match=r"^model.dtype: layer 'a' is quantized, and its dtype s"):
        load_saved(SavedModel(path="m.keras", dtype="bfloat16"))
    loaded = load_saved(SavedModel(path="m.keras"))
    with pytest.raises(InputError, match=r"^model.quantize: Keras cannot do it: Layer 'a' is a"):
        quantize(loaded, "int8")


def test_an_application_has_no_such_arguments_of_its_own() -> None:
    model = ApplicationModel(class_name="MobileNetV2", dtype="float64", quantize="int8")
    assert model.arguments == {}


KNOWS_INT4 = Version(keras.__version__) >= Version("3.12")


@pytest.mark.slow
def test_a_sweep_over_quantizations_draws_the_same_weights() -> None:
    modes = ["int8", "float8", *(["int4"] if KNOWS_INT4 else [])]
    words = ["experiment=iris_mlp", f"model.quantize=null,{','.join(modes)}", "seed=0,1"]
    assert main(["-m", *words, "hydra.sweep.dir=all"]) == 0
    runs = runner.open_runs("all")
    assert {run.config["model"].get("quantize") for run in runs} == {None, *modes}
    plain, *others = (run for run in runs if run.seed == 1)
    assert plain.record.own_build_because is None
    for run in others:
        assert run.record.own_build_because == "its weights are quantized after they are drawn"
        apart = np.abs(run.array("hidden") - plain.array("hidden")).max()
        assert 0 < apart < 0.5
