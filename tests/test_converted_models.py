"""Models in LiteRT and ONNX files: every operation, against the runtimes and arithmetic here."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from command import in_process
from keras import layers

import runner
from runner.command_line.commands import main
from runner.converted_models.loading import load_converted
from runner.errors import InputError, RunError
from runner.model.exporting import export_model

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="LiteRT is not installed"
)
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="ONNX Runtime is not installed"
)
needs_tf2onnx = pytest.mark.skipif(
    importlib.util.find_spec("tf2onnx") is None, reason="tf2onnx is not installed"
)
_rng = np.random.default_rng(0)


def convolutional(*before: keras.Layer) -> keras.Model:
    """Return a model whose convolution, normalization and activation LiteRT fuses."""
    maps = given = keras.Input((8, 8, 3))
    for layer in before:
        maps = layer(maps)
    maps = layers.Conv2D(4, 3, padding="same", name="conv")(maps)
    maps = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(maps))
    vector = layers.GlobalAveragePooling2D(name="pool")(maps)
    return keras.Model(given, layers.Dense(5, "softmax", name="out")(vector), name="net")


def shown(words: str) -> runner.Run:
    """Return the run of a command line on ten samples in ``x.npy``."""
    in_process(*words.split(), "probe=npy", "probe.path=x.npy")
    return runner.open_run()


@pytest.fixture
def samples() -> np.ndarray:
    values = _rng.normal(size=(10, 8, 8, 3)).astype(np.float32)
    np.save("x.npy", values)
    return values


def litert(model: keras.Model, **settings: Any) -> None:
    """Write a model as ``m.tflite``."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    Path("m.tflite").write_bytes(converter.convert())


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
def test_every_operation_of_litert_has_a_table(samples: np.ndarray) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = convolutional()
    litert(model)
    run = shown("model=litert model.path=m.tflite")
    named = [
        (tensor.name, tensor.layer_class) for tensor in run.record.tensors if tensor.per_sample
    ]
    assert [kind for _, kind in named] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    fused = named[0][0]
    assert "relu" in fused
    hidden = keras.Model(model.inputs, model.get_layer("relu").output)
    np.testing.assert_allclose(run.array(fused), hidden.predict(samples, verbose=0), atol=1e-5)
    assert run.tensor(fused).axes == ("height", "width", "channel")
    interpreter = Interpreter("m.tflite")
    interpreter.resize_tensor_input(0, samples.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(0, samples)
    interpreter.invoke()
    deployed = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(run.array(named[-1][0]), deployed, atol=1e-6)
    out = run.record.layers[-1]
    assert out.arguments is not None
    assert out.arguments["deployed_difference"] <= 1e-6
    weights = {
        tensor.name: tensor.shape for tensor in run.record.tensors if tensor.kind == "weight"
    }
    assert weights[f"{fused}/kernel"] == (4, 3, 3, 3)
    assert run.record.backend is not None
    assert run.record.backend.name == "litert"


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
def test_integers_are_shown_as_the_numbers_they_stand_for(samples: np.ndarray) -> None:
    import tensorflow as tf

    model = convolutional()
    litert(
        model,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([row[None]] for row in samples),
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )
    run = shown("model=litert model.path=m.tflite")
    layer = run.record.layers[0]
    assert layer.arguments is not None
    assert layer.arguments["stored_as"] == "int8"
    values = run.array(layer.path)
    assert values.dtype == np.float32
    (scale,), (zero_point,) = layer.arguments["scale"], layer.arguments["zero_point"]
    integers = values / np.float32(scale) + zero_point
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-3)
    hidden = keras.Model(model.inputs, model.get_layer("relu").output).predict(samples, verbose=0)
    error = np.abs(values - hidden).max()
    assert 0 < error < 0.05
    from runner.converted_models.litert_numbers import with_real_numbers

    unrounded = load_converted("m.tflite", "model.path").unrounded()
    assert unrounded is not None
    assert [each.path for each in unrounded.operations] == [each.path for each in run.record.layers]
    [numbers] = unrounded.compute([samples], unrounded.operations[0].outputs).values()
    assert 0 < np.abs(numbers - hidden).max() < error / 2  # what is left is that of the weights
    assert with_real_numbers(_with_shared_integers(Path("m.tflite").read_bytes())) is None
    kernel = run.array(f"{layer.path}/kernel")
    assert kernel.dtype == np.float32
    assert 0 < np.abs(kernel).max() < 3


def _with_shared_integers(content: bytes) -> bytes:
    """Give many tensors of a LiteRT model the same integers: a megabyte in a file of 100 kB."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tensors = model.subgraphs[0].tensors
    kernel = next(
        each for each in tensors if each.type == 9 and model.buffers[each.buffer].data is not None
    )
    model.buffers[kernel.buffer].data = np.zeros(100_000, np.uint8)
    model.subgraphs[0].tensors = [*tensors, *[kernel] * 20]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def onnx_file(path: str, *, rows: Any = "rows") -> dict[str, np.ndarray]:
    """Write an ONNX model by hand; return its weights."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    weights = {
        "filter": _rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": _rng.normal(size=4).astype(np.float32),
        "matrix": _rng.normal(size=(4, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "filter", "bias"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flat"),
        helper.make_node("Split", ["flat"], ["left", "right"], "split", axis=1, num_outputs=2),
        helper.make_node("Concat", ["right", "left"], ["joined"], "join", axis=1),
        helper.make_node("MatMul", ["joined", "matrix"], ["y"], "out"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 5])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(model)
    save(model, path)
    return weights


@needs_onnx
def test_every_operation_of_onnx_has_a_table() -> None:
    weights = onnx_file("m.onnx")
    given = _rng.normal(size=(10, 3, 8, 8)).astype(np.float32)
    np.save("x.npy", given)
    run = shown("model=onnx model.path=m.onnx")
    names = [tensor.name for tensor in run.record.tensors if tensor.kind == "activation"]
    assert names == ["conv", "rectified", "pool", "flat", "split:0", "split:1", "join", "out"]
    maps = run.array("conv")
    assert run.tensor("conv").axes == ("channel", "height", "width")
    around = np.pad(given, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, weights["filter"])
    np.testing.assert_allclose(maps, expected + weights["bias"][:, None, None], atol=1e-4)
    assert np.array_equal(run.array("rectified"), np.maximum(maps, 0))
    flat = run.array("flat")
    assert np.array_equal(run.array("join"), np.concatenate([flat[:, 2:], flat[:, :2]], axis=1))
    np.testing.assert_allclose(run.array("out"), run.array("join") @ weights["matrix"], atol=1e-5)
    assert np.array_equal(run.array("conv/W"), weights["filter"])
    layer = run.record.layers[0]
    assert layer.arguments is not None
    assert layer.arguments["pads"] == [1, 1, 1, 1]
    assert layer.calls[0].wires[0].model_input == "input"


@needs_onnx
def test_a_batch_size_in_the_file_is_kept() -> None:
    onnx_file("m.onnx", rows=2)
    np.save("x.npy", _rng.normal(size=(4, 3, 8, 8)).astype(np.float32))
    run = shown("model=onnx model.path=m.onnx")
    assert run["out"].shape == (4, 5)


@needs_onnx
def test_unusual_graphs_are_taken() -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    given, returned = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
        for names, shape in ((["x"], ["n", 4]), (["y", "w"], None))
    )
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    nodes = [
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Mul", ["x", "half"], ["scaled"], "scale"),
        helper.make_node("SplitToSequence", ["scaled"], ["pieces"], "pieces", axis=1),
        helper.make_node("Add", ["scaled", "w"], ["y"], "add"),
    ]
    graph = helper.make_graph(nodes, "net", given, returned, [weight])
    opsets = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=10), "m.onnx")
    values = _rng.normal(size=(3, 4)).astype(np.float32)
    np.save("x.npy", values)
    run = shown("model=onnx model.path=m.onnx")
    assert np.array_equal(run.array("add"), values * np.float32(0.5) + 1)
    reasons = {layer.path: layer.reason for layer in run.record.layers}
    assert reasons["pieces"] == "opaque: its output is a list, not a tensor"


@needs_onnx
def test_an_operation_that_fails_is_one_line() -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    given, returned = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("x", ["n", 4]), ("y", None))
    )
    shape = numpy_helper.from_array(np.array([5, 7]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], "cut")]
    graph = helper.make_graph(nodes, "net", given, returned, [shape])
    opsets = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=10), "m.onnx")
    np.save("x.npy", np.ones((3, 4), np.float32))
    words = ("model=onnx", "model.path=m.onnx", "probe=npy", "probe.path=x.npy")
    with pytest.raises(RunError, match=r"^the model cannot be called on the probe: .*Reshape node"):
        runner.run(*words)


@needs_onnx
@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("model.path=none.onnx", "model.path: no file 'none.onnx'"),
        ("model.path=bad.onnx", "model.path: bad.onnx cannot be loaded by ONNX Runtime:"),
        ("model.path=m.onnx model.dtype=float16", "model.dtype: a .onnx file is used as it is"),
        (
            "model.path=m.onnx capture.kinds=[gradient]",
            "capture.kinds: gradient: a converted model",
        ),
        ("model.path=m.onnx capture.training=true", "capture.training: a converted model has no"),
    ],
)
def test_a_mistake_is_one_line(words: str, line: str) -> None:
    onnx_file("m.onnx")
    Path("bad.onnx").write_bytes(b"\x08\x07nothing")
    np.save("x.npy", np.zeros((2, 3, 8, 8), np.float32))
    said = in_process("model=onnx", *words.split(), "probe=npy", "probe.path=x.npy", code=2).stderr
    assert line in said, said
    assert len(said.splitlines()) == 1
    assert not Path("outputs").exists()


def function_as_litert(function: Any) -> None:
    """Write a traced function as ``m.tflite``."""
    import tensorflow as tf

    traced = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], function)
    Path("m.tflite").write_bytes(converter.convert())


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
def test_a_model_without_inputs_is_refused() -> None:
    import tensorflow as tf

    function_as_litert(tf.function(lambda: tf.random.uniform((2, 3)), input_signature=[]))
    words = ["model=litert", "model.path=m.tflite", "probe=random"]
    said = in_process(*words, code=2).stderr
    assert said == (
        "error: model.path: m.tflite has no inputs, and no samples can be shown to it\n"
    )


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
def test_the_body_of_a_loop_is_listed_without_tables() -> None:
    import tensorflow as tf

    def looped(x: Any) -> Any:
        step = tf.constant(0)
        return tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x * 2.0), (step, x))[1]

    signature = [tf.TensorSpec((None, 3), tf.float32)]
    function_as_litert(tf.function(looped, input_signature=signature))
    values = _rng.normal(size=(4, 3)).astype(np.float32)
    np.save("x.npy", values)
    run = shown("model=litert model.path=m.tflite")
    reasons = {layer.path: layer.reason for layer in run.record.layers}
    [body] = [path for path in reasons if path.endswith("/body")]
    assert body.removesuffix("/body") in reasons
    assert reasons[body] == (
        "opaque: LiteRT does not tell the operations inside, only what they return"
    )


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
@pytest.mark.parametrize(
    ("damage", "why"),
    [("rest", "is no file of LiteRT, or is damaged"), ("name", "cannot be loaded by LiteRT: ")],
)
def test_a_damaged_litert_file_is_one_line(damage: str, why: str) -> None:
    content = b"\x1c\0\0\0TFL3" + bytes(100)
    if damage == "name":
        litert(keras.Sequential([keras.Input((3,), name="marked"), layers.Dense(2)]))
        content = Path("m.tflite").read_bytes().replace(b"marked", b"\xff" * 6)
    Path("bad.tflite").write_bytes(content)
    np.save("x.npy", np.zeros((2, 3), np.float32))
    words = ["model=litert", "model.path=bad.tflite", "probe=npy", "probe.path=x.npy"]
    said = in_process(*words, code=2).stderr
    assert f"model.path: bad.tflite {why}" in said
    assert len(said.splitlines()) == 1


@needs_litert
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
@pytest.mark.parametrize("changed", [None, "conv", "out"])
def test_layers_are_matched_with_the_operations_they_became(
    samples: np.ndarray, changed: str | None
) -> None:
    model = convolutional()
    before = runner.open_run(runner.save_run(model, samples, "before").path)
    if changed is not None:
        layer = model.get_layer(changed)
        kernel, *others = layer.get_weights()
        layer.set_weights([kernel * 1.01, *others])
    litert(model)
    in_process(*["model=litert", "model.path=m.tflite", "probe=npy", "probe.path=x.npy"])
    found = runner.diff(before, runner.open_run())
    compared = {each.tensor: each.how for each in found.compared if each.kind == "activation"}
    assert [*compared] == ["relu", "pool", "out"]
    fused = {each.tensor: each.why for each in found.tensors if each.why and each.tensor in WHOLE}
    assert fused == dict.fromkeys(("conv", "norm"), f"fused into {found.compared[0].other}")
    if changed is None:
        assert found.same
        assert compared["relu"] == "name and values"
        return
    wrong = next(each for each in found.compared if not each.within and each.kind != "weight")
    assert wrong.tensor == {"conv": "relu", "out": "out"}[changed]


@needs_onnx
def test_a_run_is_made_again_with_its_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    weights = onnx_file("m.onnx")
    given = keras.Input((3, 8, 8))
    maps = layers.Permute((2, 3, 1), name="last")(given)
    maps = layers.Conv2D(4, 3, padding="same", activation="relu", name="features")(maps)
    vector = layers.GlobalAveragePooling2D(name="average")(maps)
    halves = layers.Lambda(
        lambda x: keras.ops.concatenate([x[:, 2:], x[:, :2]], axis=1), name="swap"
    )(vector)
    model = keras.Model(given, layers.Dense(5, use_bias=False, name="scores")(halves))
    kernel = weights["filter"].transpose(2, 3, 1, 0)
    model.set_weights([kernel, weights["bias"], weights["matrix"]])
    np.save("x.npy", _rng.normal(size=(10, 3, 8, 8)).astype(np.float32))
    Path("made_nets.py").write_text("model = None\ndef build():\n    return model\n")
    sys.path.insert(0, str(Path.cwd()))
    importlib.import_module("made_nets").model = model
    words = "model=function model.function=made_nets:build probe=npy probe.path=x.npy name=base"
    in_process(*words.split())
    again = ["rerun", "base", "model=onnx", "model.path=m.onnx"]
    assert main([*again, "--output", "again"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("with model=onnx model.path=m.onnx\n\na  ")
    assert "no layer differs beyond the tolerance" in said
    record = runner.open_run("again").record
    assert record.weights_of is None
    assert record.backend is not None
    assert record.backend.name == "onnxruntime"
    assert main(["rerun", "again", "model.dtype=float16"]) == 2
    assert "error: model.dtype: a .onnx file is used as it is" in capsys.readouterr().err
    assert main(["rerun", "base", "model=saved"]) == 2
    assert "model: stands for many keys; set one of them" in capsys.readouterr().err


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize(
    ("format", "file"),
    [
        pytest.param("litert", "model.tflite", marks=needs_litert),
        pytest.param("onnx", "model.onnx", marks=[needs_onnx, needs_tf2onnx]),
    ],
)
def test_a_run_is_converted_and_made_again(
    format: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(0)
    held = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], name="held")
    convolutional(held).save("m.keras")
    base = shown("model=saved model.path=m.keras")
    assert main(["rerun", base.id, "--convert", format, "--output", "again"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"with --convert {format}\n\na  {base.id}\n")
    again = runner.open_run("again")
    assert again.config["model"] == {"path": f"again/{file}"}
    assert file in again.record.files
    assert again.record.backend is not None
    assert again.record.backend.name == {"litert": "litert", "onnx": "onnxruntime"}[format]
    found = runner.diff(base, again, weights=False)
    assert found.same
    assert {"relu", "pool", "out"} <= {each.tensor for each in found.compared}
    assert all(each.own_error is not None and not each.adds for each in found.compared)
    assert main(["verify", "again"]) == 0
    assert runner.diff(again, again.rerun(path="third"), exact=True).same


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize(
    ("format", "file"),
    [
        pytest.param("litert", "bad.tflite", marks=needs_litert),
        pytest.param("onnx", "bad.onnx", marks=[needs_onnx, needs_tf2onnx]),
        pytest.param("onnx", "int8.onnx", marks=[needs_onnx, needs_tf2onnx]),
    ],
)
def test_the_operation_that_adds_an_error_is_told_from_those_that_inherit_it(
    format: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(0)
    model = convolutional()
    model.get_layer("norm").gamma.assign([0.5, 1.0, 1.5, 2.0])
    model.save("m.keras")
    base = shown("model=saved model.path=m.keras")
    bias = model.get_layer("conv").bias
    bias.assign(bias + 0.25)
    export_model(model, Path(file))
    if file == "int8.onnx":
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(file, file, reduce_range=True)
    words = ["rerun", base.id, f"model={format}", f"model.path={file}", "--output", "again"]
    assert main(words) == 1
    said = capsys.readouterr().out
    found = runner.diff(base, runner.open_run("again"), weights=False)
    errors = {each.tensor: each for each in found.compared}
    assert not errors["out"].within
    if file == "int8.onnx":
        first, *others = (each.unrounded for each in errors.values() if each.unrounded is not None)
        assert first > max(others)
        assert re.search(r"\n(conv|norm|relu) .*adds ", said)
        return
    assert [name for name, each in errors.items() if each.adds] == [found.compared[0].tensor]
    assert errors["out"].own_error == pytest.approx(0, abs=1e-6)
    if format == "litert":
        assert "\nconv (one operation with relu, norm) adds " in said
    assert " layers behind it inherit\n" in said


@needs_litert
@pytest.mark.usefixtures("samples")
@pytest.mark.filterwarnings("ignore")  # those of TensorFlow's converter
def test_what_cannot_be_converted_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = convolutional()
    model.save("m.keras")
    base = shown("model=saved model.path=m.keras")
    litert(model)
    again = shown("model=litert model.path=m.tflite")
    lines = {
        (again.id, "litert"): "convert: the model is a converted one already; leave it out",
        (base.id, "onxn"): "runner rerun: argument --convert: invalid choice: 'onxn'",
    }
    for (run, format), line in lines.items():
        assert main(["rerun", run, "--convert", format, "--output", "new"]) == 2
        assert capsys.readouterr().err.startswith(f"error: {line}")
    with pytest.raises(InputError, match=r"^convert: expected one of litert, onnx, found 'onxn'"):
        base.rerun(convert="onxn")
    assert not Path("new").exists()


@pytest.mark.skipif(importlib.util.find_spec("tf2onnx") is not None, reason="tf2onnx is installed")
def test_a_package_that_a_conversion_needs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    in_process("experiment=iris_mlp", "probe.rows=3")
    assert main(["rerun", "--convert", "onnx"]) == 2
    assert capsys.readouterr().err == (
        "error: convert: converting a model to ONNX needs tf2onnx; "
        'type: pip install "activation-runner[onnx-export]"\n'
    )


WHOLE = ("conv", "norm", "relu", "pool", "out")
