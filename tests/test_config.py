"""From plain data to a typed experiment, and what is said when it is not one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from runner.config import catalogue
from runner.config.capture_config import CaptureConfig, CaptureOptions
from runner.config.declared_config import DeclaredModel
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import ApplicationModel, FunctionModel, SavedModel
from runner.config.parsing import parse, parse_capture
from runner.errors import InputError
from runner.sources.csv import CsvConfig
from runner.sources.inline import InlineConfig
from runner.tensors import InputSpec


def dense(**keys: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "units": 4} | keys


def of_layers(**layers: Any) -> dict[str, Any]:
    return {"input_shape": [3], "layers": layers}


def experiment(**keys: Any) -> dict[str, Any]:
    return {"model": of_layers(hidden=dense()), "probe": {"source": "tutorial"}} | keys


def said(**keys: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(experiment(**keys))
    return str(caught.value).splitlines()


def declared(**keys: Any) -> DeclaredModel:
    model = parse(experiment(model=keys)).model
    assert isinstance(model, DeclaredModel)
    return model


def test_an_experiment_is_typed() -> None:
    config = parse(
        experiment(
            seed=7,
            optimizer={"class_name": "Adam", "learning_rate": 1},
            loss={"class_name": "mse"},
            capture={"reduce": {"**": "projection:8"}},
        )
    )
    assert isinstance(config, ExperimentConfig)
    assert (config.seed, config.format, config.name) == (7, "parquet", None)
    assert config.optimizer is not None
    assert config.optimizer.arguments == {"learning_rate": 1}
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (of_layers(a=dense()), DeclaredModel),
        ({"path": "m.keras", "weights": None}, SavedModel),
        ({"class_name": "MobileNetV2", "weights": None, "alpha": 0.5}, ApplicationModel),
        ({"function": "my_package.nets:build"}, FunctionModel),
    ],
)
def test_a_model_is_told_apart_by_its_keys(model: dict[str, Any], kind: type) -> None:
    assert type(parse(experiment(model=model)).model) is kind


def test_keys_of_a_model_that_are_not_known_are_its_parameters() -> None:
    model = declared(**of_layers(a=dense()), hidden_units=4)
    assert model.parameters == {"hidden_units": 4}
    assert model.layers["a"].arguments == {"units": 4}


def test_a_layer_takes_the_one_before_it() -> None:
    model = declared(**of_layers(a=dense(), b=dense(inputs="input"), c=dense(inputs=["a", "b"])))
    assert [model.call_arguments(name) for name in "abc"] == ["input", "input", ["a", "b"]]
    assert model.input_specs() == (InputSpec("input", (3,)),)
    assert model.output_names() == ("c",)
    assert model.call_order() == ("a", "b", "c")


def test_several_inputs_and_outputs_reuse_and_parts() -> None:
    model = declared(
        inputs={"x": {"shape": [None, 2]}, "y": {"shape": [5, 2], "dtype": "int32"}},
        layers={
            "lstm": {"class_name": "LSTM", "units": 3, "return_state": True, "inputs": "x"},
            "again": {"reuse": "lstm", "inputs": "y"},
            "both": {"class_name": "Add", "inputs": ["lstm:0", "again:0"]},
        },
        outputs=["both", "lstm:1"],
    )
    assert model.input_specs() == (
        InputSpec("x", (None, 2)),
        InputSpec("y", (5, 2), "int32"),
    )
    assert model.output_names() == ("both", "lstm:1")
    assert model.layers["again"].reuse == "lstm"


def test_a_layer_called_by_keyword() -> None:
    attention = {
        "class_name": "MultiHeadAttention",
        "num_heads": 2,
        "key_dim": 4,
        "inputs": {"query": "a", "value": "a", "use_causal_mask": True},
    }
    model = declared(**of_layers(a=dense(), b=attention))
    assert model.call_arguments("b") == {"query": "a", "value": "a", "use_causal_mask": True}


def test_probes_are_told_apart_by_their_source() -> None:
    csv = parse(experiment(probe={"source": "csv", "path": "x.csv", "delimiter": ";"})).probe
    assert isinstance(csv, CsvConfig)
    assert (csv.delimiter, csv.header, csv.allow_nan) == (";", None, False)
    inline = parse(experiment(probe={"source": "inline", "inputs": [[1, 2]], "ids": ["a"]})).probe
    assert isinstance(inline, InlineConfig)
    assert inline.ids == ["a"]


# Each line as it is printed behind `error: `.
@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"sed": 1},
            "sed: unknown key; did you mean 'seed'?; put a key of your own below extra: extra.sed",
        ),
        ({"name": False}, "name: expected text, found false; write it in quotes"),
        ({"name": "../x"}, "name: '../x' cannot name a run; use a plain name, without a path"),
        ({"name": "last"}, "name: 'last' already means the latest run; use another name"),
        ({"seed": True}, "seed: expected an integer, found true"),
        ({"seed": 1.0}, "seed: expected an integer, found 1.0"),
        ({"seed": -1}, "seed: must be 0 to 4294967295, found -1"),
        ({"seed": 2**32}, "seed: must be 0 to 4294967295, found 4294967296"),
        (
            {"format": "parqet"},
            "format: expected one of parquet, csv, csv_bom, arrow, xlsx, none, "
            "found 'parqet'; "
            "did you mean 'parquet'?",
        ),
        ({"train": "fit"}, "train: expected a mapping, found 'fit'"),
        ({"train": {"epochs": "3"}}, "train.epochs: expected an integer, found '3'"),
        ({"dry_run": "yes"}, "dry_run: expected true or false, found 'yes'"),
        (
            {"custom_modules": ["a/b.py"]},
            "custom_modules.0: expected a module such as my_package.layers, found 'a/b.py'",
        ),
        ({"capture": {"batch_size": 0}}, "capture.batch_size: must be >= 1, found 0"),
        (
            {"capture": {"batchsize": 1}},
            "capture.batchsize: unknown key; did you mean 'batch_size'?",
        ),
        (
            {"train": {"data": {"source": "digits", "row": 1}}},
            "train.data.row: unknown key; did you mean 'rows'?",
        ),
        # A pattern and an input that are called like a key beside theirs.
        (
            {"intervene": {"noise": {"sett": 0}}},
            "intervene.noise.sett: unknown key; did you mean 'set'?",
        ),
        (
            {"intervene": {"set": {"noise": {"std": 1.0, "sede": 1}}}},
            "intervene.set.noise.sede: unknown key; did you mean 'seed'?",
        ),
        (
            {"model": {"inputs": {"shape": {"shape": [3], "dtyp": "x"}}, "layers": {"a": dense()}}},
            "model.inputs.shape.dtyp: unknown key; did you mean 'dtype'?",
        ),
        (
            {"capture": {"kinds": ["weigth"]}},
            "capture.kinds.0: expected one of activation, weight, pre_activation, input, gradient, "
            "found 'weigth'; did you mean 'weight'?",
        ),
        (
            {"capture": {"reduce": {"conv*": "maen"}}},
            "capture.reduce.conv*: unknown reduction 'maen'; did you mean 'mean'?",
        ),
        ({"loss": "mse"}, "loss: expected a mapping, found 'mse'"),
    ],
)
def test_a_wrong_value_is_said(keys: dict[str, Any], line: str) -> None:
    assert said(**keys) == [line]


@pytest.mark.parametrize(
    ("probe", "line"),
    [
        ("tutorial", "probe: expected a mapping, found 'tutorial'"),
        (
            {"path": "x"},
            "probe.source: required, and not given; one of tutorial, inline, csv, npy, ",
        ),
        ({"source": "cvs"}, "probe.source: expected one of tutorial, inline, csv, npy, "),
        ({"source": "csv"}, "probe.path: required, and not given; set probe.path=..."),
        (
            {"source": "csv", "path": "x", "delimeter": ";"},
            "probe.delimeter: unknown key; did you mean 'delimiter'?",
        ),
        (
            {"source": "csv", "path": "x", "delimiter": ";;"},
            "probe.delimiter: expected one character, found ';;'",
        ),
        ({"source": "random", "rows": 0}, "probe.rows: must be >= 1, found 0"),
        (
            {"source": "inline", "inputs": [[1], [2], [3]], "labels": [0, 1]},
            "probe.labels: expected one for each of 3 samples, found 2",
        ),
        (
            {"source": "inline", "inputs": {"x": [[1], [2]], "y": [[1]]}},
            "probe.inputs.y: expected one for each of 2 samples, found 1",
        ),
        (
            {"source": "inline", "inputs": [[1], [2]], "ids": [1, "b"]},
            "probe.ids: expected integers, or texts, found a list",
        ),
        (
            {"source": "function", "function": "data.py"},
            "probe.function: expected package.module:function, found 'data.py'",
        ),
    ],
)
def test_a_wrong_probe_is_said(probe: Any, line: str) -> None:
    [found] = said(probe=probe)
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (
            {"class_name": "Dens"},
            ".class_name: unknown layer class 'Dens'; did you mean 'Dense'? all "
            "are at https://keras.io/api/layers/",
        ),
        ({"class_name": "Lambda"}, ".class_name: Lambda takes Python code, which a configuration"),
        ({"class_name": "Input"}, ".class_name: unknown layer class 'Input'; declare the model's"),
        ({"class_name": 3}, ".class_name: expected text, found 3; write it in quotes"),
        ({"class_name": "Dense"}, ".units: Dense needs it, and it is not given"),
        (
            {"clas_name": "Dense"},
            ".clas_name: expected class_name or reuse, found neither; did you mean 'class_name'?",
        ),
        ("Dense", ": expected a mapping, found 'Dense'"),
        (
            dense(activtion="relu"),
            ".activtion: Dense has no 'activtion'; did you mean 'activation'?",
        ),
        (dense(name="x"), ".name: a layer's name is its key, 'bad'; remove it"),
        (dense(activation="rleu"), ".activation: unknown activation 'rleu'; did you mean 'relu'?"),
        (dense(activation=True), ".activation: unknown activation true"),
        (dense(units=0), ".units: must be >= 1, found 0"),
        (dense(units=True), ".units: expected an integer, found true"),
        (dense(units=None), ".units: expected an integer, found null"),
        (dense(units="four"), ".units: expected an integer, found 'four'"),
        (dense(use_bias="no"), ".use_bias: expected true or false, found 'no'"),
        (dense(dtype="float23"), ".dtype: unknown dtype 'float23'; did you mean 'float"),
        (dense(inputs=3), ".inputs: expected a layer's name, a list of names, or a mapping from"),
        (dense(kernel_initializer="glorot"), ".kernel_initializer: unknown initializer 'glorot'"),
        (dense(kernel_regularizer="l3"), ".kernel_regularizer: unknown regularizer 'l3'; all are"),
        (
            dense(kernel_initializer={"class_name": "HeNormal", "sed": 1}),
            ".kernel_initializer.sed: HeNormal has no 'sed'; did you mean 'seed'?",
        ),
        (
            dense(bias_constraint={"class_name": "MaxNrom"}),
            ".bias_constraint.class_name: unknown constraint 'MaxNrom'; did you mean 'MaxNorm'?",
        ),
        (
            {"class_name": "TimeDistributed", "layer": dense(units=0)},
            ".layer.units: must be >= 1, found 0",
        ),
        (
            {
                "class_name": "RNN",
                "cell": [{"class_name": "LSTMCell", "units": 2, "activation": "thanh"}],
            },
            ".cell.0.activation: unknown activation 'thanh'; did you mean 'tanh'?",
        ),
        (
            {"class_name": "Conv2D", "filters": 0, "kernel_size": 3},
            ".filters: must be >= 1, found 0",
        ),
        (
            {"class_name": "Conv2D", "filters": 2, "kernel_size": [3, 0]},
            ".kernel_size.1: must be >= 1, found 0",
        ),
        (
            {"class_name": "Conv2D", "filters": 2, "kernel_size": 3, "padding": 1},
            ".padding: expected text, found 1",
        ),
        *(
            (
                {"class_name": "Discretization", "bin_boundaries": boundaries},
                ".bin_boundaries: must be numbers in ascending order, without NaN",
            )
            for boundaries in ([2, 1], [0.0, float("nan")], [float("nan")], ["a"], [10**400, 1])
        ),
        ({"class_name": "Dropout", "rate": 1.5}, ".rate: must be in [0, 1), found 1.5"),
        (
            {"class_name": "LSTM", "units": 2, "dropout": -0.1},
            ".dropout: must be in [0, 1), found -0.1",
        ),
        ({"reuse": "firts"}, ".reuse: layer 'firts' is undefined; did you mean 'first'?"),
        (
            {"reuse": "first", "units": 4},
            ".units: a reused layer keeps its arguments, found 'units'; set it on 'first'",
        ),
        ({"reuse": "bad"}, ".reuse: 'bad' is a reuse of 'bad'"),
        ({"reuse": "first", "class_name": "Dense"}, ": has both class_name and reuse; keep one"),
    ],
)
def test_a_wrong_layer_is_said(layer: Any, line: str) -> None:
    [found] = said(model=of_layers(first=dense(), bad=layer))
    assert found.startswith("model.layers.bad" + line)


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "GroupNormalization", "groups": -1},
        {"class_name": "LSTM", "units": 4, "use_cudnn": False},
        dense(kernel_constraint={"class_name": "MinMaxNorm", "rate": 1.0}),
        dense(bias_constraint={"class_name": "MaxNorm", "max_value": 2.5}),
        dense(activation={"class_name": "LeakyReLU"}),
        dense(activation=None, kernel_initializer="normal"),
        dense(dtype="mixed_float16"),
        {"class_name": "MaxPooling2D", "strides": None},
        {"class_name": "Softmax", "axis": [-1, -2]},
        {"class_name": "AvgPool2D", "pool_size": 2},
    ],
)
def test_an_unusual_layer_is_let_through(layer: dict[str, Any]) -> None:
    parse(experiment(model=of_layers(a=layer)))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"loss": {"class_name": "mes"}},
            "loss.class_name: unknown loss 'mes'; did you mean 'mse'? all are at https://keras.io",
        ),
        (
            {"optimizer": {"class_name": "adma"}},
            "optimizer.class_name: unknown optimizer 'adma'; did you mean 'adam",
        ),
        (
            {"optimizer": {"class_name": "Adam", "lr": 0.1}},
            "optimizer.lr: Adam has no 'lr'; it takes learning_rate, beta_1, ",
        ),
        (
            {"optimizer": {"class_name": "adam", "learning_rate": -1}},
            "optimizer.learning_rate: must be > 0, found -1",
        ),
        (
            {"optimizer": {"class_name": "Adam", "learning_rate": "0.1"}},
            "optimizer.learning_rate: expected a number, found '0.1'",
        ),
        (
            {"optimizer": {"class_name": "Adam", "learning_rate": {"class_name": "CosineDcay"}}},
            "optimizer.learning_rate.class_name: unknown learning rate schedule 'CosineDcay'; did",
        ),
    ],
)
def test_a_wrong_loss_or_optimizer_is_said(keys: dict[str, Any], line: str) -> None:
    [found] = said(**keys)
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            {"layrs": {}},
            "model: expected one of the keys layers, path, class_name, function; did "
            "you mean 'layers'?",
        ),
        ("tutorial", "model: expected a mapping, found 'tutorial'"),
        ({"path": "x", "weigths": "y"}, "model.weigths: unknown key; did you mean 'weights'?"),
        (
            {"class_name": "VGG61"},
            "model.class_name: unknown application 'VGG61'; did you mean 'VGG1",
        ),
        (
            {"class_name": "VGG16", "clases": 3},
            "model.clases: VGG16 has no 'clases'; did you mean 'classes'?",
        ),
        ({"layers": {"a": dense()}}, "model: expected input_shape or inputs, found neither"),
        (
            {"input_shape": [3], "layers": {}},
            "model.layers: expected at least one layer, found none",
        ),
        (
            {"input_shape": [0], "layers": {"a": dense()}},
            "model.input_shape.0: must be >= 1, found 0",
        ),
        (
            {"inputs": {"x": {"shpe": [3]}}, "layers": {"a": dense()}},
            "model.inputs.x.shape: required, and not given; set model.inputs.x.shape=...",
        ),
        (
            {"inputs": {"x": {"shape": [3], "dtype": "int"}}, "layers": {"a": dense()}},
            "model.inputs.x.dtype: unknown dtype 'int'; did you mean 'int",
        ),
        (
            {"inputs": {"x": {"shape": [3]}, "y": {"shape": [3]}}, "layers": {"a": dense()}},
            "model.layers.a.inputs: 'a' has no input; name its input: x, y or a layer",
        ),
        (
            of_layers(input=dense()),
            "model.layers.input: 'input' is also the name of model.input_shape",
        ),
        (
            of_layers(a=dense(), A=dense()),
            "model.layers.A: 'A' and 'a' (model.layers.a) differ only",
        ),
        (
            of_layers(a=dense(inputs="b"), b=dense()),
            "model.layers.a.inputs: the layers form a cycle: a -> b -> a",
        ),
        (
            of_layers(h1=dense(), h2=dense(inputs="zebra")),
            "model.layers.h2.inputs: 'h2': input 'zebra' is undefined; layers are input, h1, h2",
        ),
        (of_layers(a=dense(), b=dense(inputs="input")), "model.layers.a: 'a' feeds no output"),
        (
            of_layers(a=dense()) | {"outputs": ["b"]},
            "model.outputs: 'b' is not a layer; layers are a",
        ),
        (
            of_layers(a=dense()) | {"seeding": "kears"},
            "model.seeding: expected one of keras, tf_global,",
        ),
        (
            of_layers(a=dense()) | {"dtype": "mixed_flaot16"},
            "model.dtype: expected one of float16, bfloat16, float32, float64, mixed_float16, ",
        ),
        (of_layers(**{"a\nb": dense()}), r"model.layers.a\nb: forbidden character '\n' in a name"),
    ],
)
def test_a_wrong_model_is_said(model: Any, line: str) -> None:
    assert said(model=model)[0].startswith(line)


def test_a_name_that_is_no_text_is_said() -> None:
    [found] = said(model={"input_shape": [3], "layers": {1: dense()}})
    assert found == "model.layers.1: expected text, found 1; write it in quotes"


def test_everything_wrong_is_said_together() -> None:
    lines = said(
        seed=-1,
        sed=1,
        model=of_layers(
            a=dense(units=0, activtion="relu"), b={"class_name": "Dens", "inputs": "c"}
        ),
        probe={"source": "csv"},
        optimizer={"class_name": "Adam", "learning_rate": 0},
    )
    assert [line.partition(": ")[0] for line in lines] == [
        "seed",
        "model.layers.a.units",
        "model.layers.a.activtion",
        "model.layers.b.class_name",
        "model.layers.b.inputs",
        "probe.path",
        "optimizer.learning_rate",
        "sed",
    ]


def test_with_custom_modules_an_unknown_name_is_left_to_who_builds() -> None:
    scale = {"class_name": "Scale", "by": {"class_name": "Unheard"}, "activation": "wavy"}
    parse(experiment(model=of_layers(a=scale), custom_modules=["my_package.layers"]))
    [found] = said(
        model=of_layers(a=scale | {"inner": dense(units=0)}), custom_modules=["my_package.layers"]
    )
    assert found == "model.layers.a.inner.units: must be >= 1, found 0"


def test_advice_says_which_keras_the_names_are_of_where_another_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(vars(catalogue.load()), "installed", "3.6.0")
    [found] = said(model=of_layers(a={"class_name": "Dens"}))
    assert found.endswith(f"(names are those of Keras {catalogue.load().keras})")


def test_a_newer_keras_may_know_names_that_the_catalogue_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(vars(catalogue.load()), "complete", False)
    parse(experiment(model=of_layers(a={"class_name": "Denser"}, b=dense(novel=1))))


def test_checking_loads_neither_keras_nor_tensorflow() -> None:
    code = (
        "import sys; from runner.config.parsing import parse; "
        f"parse({json.loads(json.dumps(experiment()))!r}); "
        "print({'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_the_keyword_arguments_of_a_capture_are_the_keys_of_its_configuration() -> None:
    assert CaptureOptions.__annotations__.keys() == CaptureConfig.model_fields.keys()
    assert parse_capture() == CaptureConfig()
    assert parse_capture(include="a", reduce=None) == CaptureConfig(include=["a"])


def test_an_unknown_capture_option_is_refused_in_a_line() -> None:
    wrong: dict[str, Any] = {"batchsize": 4, "dtype": "int8"}
    with pytest.raises(InputError) as caught:
        parse_capture(**wrong)
    assert str(caught.value).splitlines() == [
        "dtype: expected one of float16, bfloat16, float32, float64, found 'int8'",
        "batchsize: unknown key; did you mean 'batch_size'?",
    ]


def test_the_size_of_a_projection_has_a_limit() -> None:
    assert parse_capture(reduce={"**": "projection:65536"})
    with pytest.raises(InputError, match=r"projection\.size: must be <= 65536, found 65537"):
        parse_capture(reduce={"**": "projection:65537"})
