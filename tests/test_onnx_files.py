"""Unusual ONNX files, made by hand: data in other files, small types, integers, bodies, sizes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from runner.config.compose import compose_one
from runner.converted_models.loading import data_files_of, load_converted
from runner.experiment.fingerprint import fingerprint_of
from runner.sameness.restated import WHY, restated_in
from runner.sizes import machine_memory

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
MATRIX = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]


def value(name: str, *shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, array: Any, dtype: str | None = None) -> Any:
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def made(
    nodes: Sequence[Any],
    constants: Sequence[Any] = (),
    inputs: Sequence[Any] = (value("x", "n", 4),),
    **options: Any,
) -> None:
    """Write ``m.onnx``, which returns ``y``."""
    outputs = [value("y", "n", "m")]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=10)
    onnx.save(model, "m.onnx", **options)


def node(kind: str, inputs: str, outputs: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs.split(), outputs.split(), outputs.split()[0], **options)


def shown(x: np.ndarray = X) -> runner.Run:
    return runner.save_run(load_converted("m.onnx", "model.path"), x, "run")


def refused() -> str:
    with pytest.raises(runner.InputError) as raised:
        load_converted("m.onnx", "model.path")
    said = str(raised.value)
    assert len(said.splitlines()) == 1
    return said


def test_a_model_without_inputs_is_refused() -> None:
    made([node("Identity", "w", "y")], [constant("w", MATRIX)], [])
    assert refused() == "model.path: m.onnx has no inputs, and no samples can be shown to it"


def product(**options: Any) -> None:
    made([node("MatMul", "x w", "y")], [constant("w", MATRIX)], **options)


OUTSIDE = {"save_as_external_data": True, "location": "m.data", "size_threshold": 0}


def test_data_in_another_file_is_read() -> None:
    product(**OUTSIDE)
    run = shown()
    np.testing.assert_allclose(run.array("y"), X @ MATRIX, rtol=1e-5)
    assert np.array_equal(run.array("y/B"), MATRIX)
    out = run.record.layers[-1]
    assert out.arguments is not None
    assert out.arguments["deployed_difference"] < 1e-5
    assert data_files_of(Path("m.onnx")) == [Path("m.data")]


def test_data_in_another_file_is_part_of_the_fingerprint() -> None:
    product(**OUTSIDE)
    experiment = compose_one(["model=onnx", "model.path=m.onnx"], "0a1b2c3d")[0].experiment
    before = fingerprint_of({}, experiment)
    assert fingerprint_of({}, experiment) == before
    np.fromfile("m.data", np.float32)[::-1].tofile("m.data")
    assert fingerprint_of({}, experiment) != before


def test_the_version_of_the_runtime_is_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product()
    experiment = compose_one(["model=onnx", "model.path=m.onnx"], "0a1b2c3d")[0].experiment
    before = fingerprint_of({}, experiment)
    newer = tmp_path / "newer/onnxruntime-99.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 99\n")
    monkeypatch.syspath_prepend(newer.parent)
    assert fingerprint_of({}, experiment) != before


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"location": "../m.data"}, "lie in '../m.data', outside of the folder of m.onnx"),
        ({"location": "/etc/passwd"}, "lie in '/etc/passwd', outside of the folder of m.onnx"),
        ({"location": "link"}, "lie in 'link', outside of the folder of m.onnx"),
        ({"location": "none.data"}, "model.path: no file 'none.data'"),
        ({"location": "pipe"}, "expected a regular file, 'pipe' is a pipe"),
        ({"offset": "8"}, "'w' declares 48 bytes at 8, m.data holds 48"),
        ({"length": "4000000000000"}, "'w' declares 48 bytes at 0, m.data holds 48"),
    ],
)
def test_data_that_is_not_as_the_model_says_is_refused(changed: dict[str, str], line: str) -> None:
    product(**OUTSIDE)
    Path("link").symlink_to("/etc/passwd")
    os.mkfifo("pipe")
    model = onnx.load("m.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = changed.get(entry.key, entry.value)
    Path("m.onnx").write_bytes(model.SerializeToString())
    assert line in refused()
    held = onnx.helper.make_node("Constant", [], ["w"], value=model.graph.initializer.pop())
    inside = onnx.helper.make_function("own", "W", [], ["w"], [held], model.opset_import)
    model.functions.append(inside)
    model.graph.node.insert(0, onnx.helper.make_node("W", [], ["w"], domain="own"))
    Path("m.onnx").write_bytes(model.SerializeToString())
    assert line in refused()


def test_sizes_are_checked_before_anything_is_read() -> None:
    product(**OUTSIDE)
    model = onnx.load("m.onnx", load_external_data=False)
    model.graph.initializer[0].dims[:] = [1 << 40, 3]
    Path("m.onnx").write_bytes(model.SerializeToString())
    assert "m.onnx declares weights of 13.2 TB, this machine has" in refused()
    one = helper.make_sparse_tensor(constant("w", [1.0], "f4"), constant("i", [0], "i8"), [1 << 42])
    made([helper.make_node("Constant", [], ["w"], sparse_value=one), node("Mul", "x w", "y")])
    assert "m.onnx declares weights of 17.6 TB, this machine has" in refused()
    model = onnx.load("m.onnx")
    model.graph.node[0].attribute[0].sparse_tensor.dims[:] = [1 << 29]
    onnx.save(model, "m.onnx")
    assert ", and its sparse weights declare 2.1 GB" in refused()
    made(
        [
            node("ConstantOfShape", "s", "big"),
            node("ReduceMax", "big", "most", keepdims=0),
            node("Mul", "x most", "y"),
        ],
        [constant("s", [1 << 42])],
    )
    assert "'big' in m.onnx has 17.6 TB, this machine has" in refused()
    made(  # a tensor for each sample, all of which are more than one
        [
            node("Expand", "x s", "big"),
            node("ReduceMax", "big axes", "y", keepdims=0),
        ],
        [constant("s", [machine_memory() // 64, 1, 4]), constant("axes", [0])],
    )
    model = load_converted("m.onnx", "model.path")
    with pytest.raises(runner.InputError, match=r"'big' in m.onnx has .* show fewer samples"):
        runner.save_run(model, X, "run")
    assert not Path("run").exists()
    inside = [node("ConstantOfShape", "s", "big"), node("ReduceMax", "big", "most", keepdims=0)]
    body = helper.make_graph(
        [*inside, node("Add", "a most", "b"), node("Identity", "go", "on")], "body",
        [value("i", kind=TensorProto.INT64), value("go", kind=TensorProto.BOOL),
         value("a", "n", 4)],
        [value("on", kind=TensorProto.BOOL), value("b", "n", 4)],
        [constant("s", [1 << 42])],
    )  # fmt: skip
    made([node("Loop", "once go x", "y", body=body)], [constant("once", 1), constant("go", True)])
    assert "'big' in m.onnx has 17.6 TB, this machine has" in refused()
    made([node("Identity", "x", "y")], inputs=[value("x", 1 << 42, 4)])
    assert "'x' in m.onnx has 70.4 TB, this machine has" in refused()


def function(name: str, inside: Sequence[Any]) -> Any:
    return helper.make_function("own", name, ["x"], ["y"], inside, OPSETS)


def test_functions_that_take_far_more_than_the_file_are_refused() -> None:
    text = helper.make_node("Constant", [], ["c"], value_string="s" * 100_000)
    calls = [
        helper.make_node("F", [f"x{row}"], [f"x{row + 1}"], domain="own") for row in range(1000)
    ]
    made([node("Identity", "x", "x0"), *calls, node("Identity", "x1000", "y")])
    model = onnx.load("m.onnx")
    model.functions.append(function("F", [text, helper.make_node("Neg", ["x"], ["y"])]))
    onnx.save(model, "m.onnx")
    assert "kB, and its operations 100.1 MB with those of its functions" in refused()


@pytest.mark.parametrize("byte", [b"\x80", b"\xff"])
def test_names_that_are_no_text_are_told_in_one_line(
    byte: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in (b"input0", b"output", b"hidden"):
        made(
            [
                node("Neg", "input0", "hidden"),
                node("Neg", "hidden", "y"),
                node("Neg", "y", "output"),
            ],
            inputs=[value("input0", "n", 4)],
        )
        data = Path("m.onnx").read_bytes()
        Path("m.onnx").write_bytes(data.replace(name, byte + name[1:]))
        assert "m.onnx cannot be loaded by ONNX Runtime: " in refused()
    assert capfd.readouterr().out == ""


def test_the_kind_of_an_operation_may_have_any_name() -> None:
    made([helper.make_node("F\0", ["x"], ["y"], domain="own")])
    model = onnx.load("m.onnx")
    model.functions.append(function("F\0", [helper.make_node("Neg", ["x"], ["y"])]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, "m.onnx")
    assert "F\\x00" in [layer.layer_class for layer in shown().record.layers]


def test_functions_are_written_out_before_anything_is_read() -> None:
    made([helper.make_node("F40", ["x"], ["y"], domain="own")])
    model = onnx.load("m.onnx")
    for number in range(41):
        kind = f"F{number - 1}" if number else "Neg"
        twice = [helper.make_node(kind, [one], [other], domain="own" if number else "")
                 for one, other in ("xa", "ay")]  # fmt: skip
        model.functions.append(function(f"F{number}", twice))
    onnx.save(model, "m.onnx")
    assert "m.onnx has more than 100,000 operations, with those of its functions" in refused()
    del model.functions[:]
    model.functions.append(function("F40", [helper.make_node("F40", ["x"], ["y"], domain="own")]))
    onnx.save(model, "m.onnx")
    assert "m.onnx has more than 100,000 operations, with those of its functions" in refused()
    del model.functions[:]
    size = helper.make_node("Constant", [], ["s"], value=constant("s", [1 << 42]))
    inside = [size, node("ConstantOfShape", "s", "big"), node("Add", "x big", "y")]
    model.functions.append(function("F40", inside))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, "m.onnx")
    assert "has 17.6 TB, this machine has" in refused()


def test_bfloat16_is_shown_as_float32() -> None:
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [4], [1.0, 2.0, 0.5, 4.0])
    made(
        [
            node("Cast", "x", "small", to=TensorProto.BFLOAT16),
            node("Cast", "small", "back", to=TensorProto.FLOAT),
            node("Cast", "w", "wide", to=TensorProto.FLOAT),
            node("Mul", "back wide", "y"),
        ],
        [weight],
    )
    run = shown()
    names = [tensor.name for tensor in run.record.tensors if tensor.kind == "activation"]
    assert names == ["small", "back", "y"]
    small = run.array("small")
    assert small.dtype == np.float32
    assert np.array_equal(small, run.array("back"))
    assert 0 < np.abs(small - X).max() < 0.02
    assert np.array_equal(run.array("wide/input"), np.float32([1, 2, 0.5, 4]))
    made(
        [node("Cast", "x", "y", to=TensorProto.FLOAT)],
        inputs=[value("x", "n", 4, kind=TensorProto.BFLOAT16)],
    )
    assert "takes no bfloat16 from an array, as the input 'x' needs; export it with" in refused()


def test_what_a_body_computes_is_listed_without_tables() -> None:
    body = helper.make_graph(
        [node("Identity", "going", "goes"), node("Add", "before before", "after")],
        "body",
        [
            value("step", kind=TensorProto.INT64),
            value("going", kind=TensorProto.BOOL),
            value("before", "n", 4),
        ],
        [value("goes", kind=TensorProto.BOOL), value("after", "n", 4)],
    )
    twice = [constant("times", 2), constant("first", True)]
    made([node("Loop", "times first x", "y", body=body)], twice)
    run = shown()
    np.testing.assert_allclose(run.array("y"), 4 * X)
    why = "opaque: computed in each step of 'y', which returns only the results"
    found = {layer.path: layer.reason for layer in run.record.layers}
    assert found == {"y": None, "y/goes": why, "y/after": why}


def test_an_empty_constant_has_no_table() -> None:
    made(
        [node("Resize", "x roi scales", "y")],
        [constant("roi", [], "float32"), constant("scales", [1, 1], "float32")],
    )
    run = shown()
    assert [one.name for one in run.record.tensors if one.kind == "weight"] == ["y/scales"]
    [lacking] = run.record.layers[0].left_out
    assert (lacking.name, lacking.reason) == (
        "y/roi",
        "it is empty: its table would have no columns",
    )
    assert runner.diff(run, run).same


def quantized(values: np.ndarray) -> tuple[np.ndarray, np.float32, np.uint8]:
    """Return integers of eight bits, their scale and zero point."""
    scale = np.float32((values.max() - values.min()) / 255)
    zero_point = np.uint8(np.rint(-values.min() / scale))
    integers = np.rint(values / scale) + zero_point
    return integers.clip(0, 255).astype(np.uint8), scale, zero_point


def test_integers_of_a_dynamic_quantization_are_real_numbers() -> None:
    integers, scale, zero_point = quantized(MATRIX)
    made(
        [
            node("DynamicQuantizeLinear", "x", "q s z"),
            node("Reshape", "q shape", "moved"),
            node("MatMulInteger", "moved w z wz", "sums"),
            node("Cast", "sums", "cast", to=TensorProto.FLOAT),
            node("Mul", "s ws", "scale"),
            node("Mul", "cast scale", "y"),
        ],
        [
            constant("w", integers),
            constant("ws", scale),
            constant("wz", zero_point),
            constant("shape", [0, 4], "int64"),
        ],
    )
    run = shown()
    step = (X.max() - X.min()) / 255
    np.testing.assert_allclose(run.array("q:0"), X, atol=step)
    assert np.array_equal(run.array("moved"), run.array("q:0"))
    np.testing.assert_allclose(run.array("sums"), run.array("y"), rtol=1e-5)
    np.testing.assert_allclose(run.array("sums/B"), MATRIX, atol=scale)
    unrounded = load_converted("m.onnx", "model.path").unrounded()
    assert unrounded is not None
    found = unrounded.compute([X], ["q", "y"])
    assert np.array_equal(found["q"], X)
    np.testing.assert_allclose(found["y"], X @ run.array("sums/B"), rtol=1e-5, atol=1e-6)


def test_nodes_with_the_same_weight_share_its_real_numbers() -> None:
    made(
        [node("DynamicQuantizeLinear", "x", "q s z")]
        + [node("MatMulInteger", "q w z wz", f"y{number}") for number in range(50)]
        + [node("Sum", " ".join(f"y{number}" for number in range(50)), "y")],
        [constant("w", np.ones((4, 3)), "int8"), constant("wz", np.int8(1))],
    )
    from runner.converted_models.onnx_numbers import with_real_numbers

    graph = onnx.load("m.onnx").graph
    assert with_real_numbers(graph)
    assert {each.input[1] for each in graph.node[1:51]} == {"w/wz/MatMul/numbers"}
    assert len([each for each in graph.initializer if each.name.endswith("/numbers")]) == 1


def test_numbers_that_are_not_rounded_are_cut_off() -> None:
    made(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
        [constant("s", np.float32(0.01)), constant("z", np.int8(-28))],
    )
    unrounded = load_converted("m.onnx", "model.path").unrounded()
    assert unrounded is not None
    [found] = unrounded.compute([X], ["y"]).values()
    np.testing.assert_allclose(found, X.clip(-1.0, 1.55), rtol=1e-6)


def test_integers_of_operations_of_microsoft_are_real_numbers() -> None:
    _, scale, zero_point = quantized(X)
    known = [
        constant("s", scale),
        constant("z", zero_point),
        constant("s2", 2 * scale),
        constant("sig_s", np.float32(1 / 255)),
        constant("sig_z", np.uint8(0)),
    ]
    made(
        [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearAdd", "q s z q s z s2 z", "sum", domain="com.microsoft"),
            node("QLinearConcat", "s z q s z q s z", "both", domain="com.microsoft", axis=1),
            node("QLinearSigmoid", "q s z sig_s sig_z", "sigmoid", domain="com.microsoft"),
            node("DequantizeLinear", "sum s2 z", "y"),
        ],
        known,
    )
    run = shown()
    exact = run.array("q")
    np.testing.assert_allclose(exact, X, atol=scale)
    np.testing.assert_allclose(run.array("sum"), 2 * exact, atol=2 * scale)
    assert np.array_equal(run.array("y"), run.array("sum"))
    np.testing.assert_allclose(run.array("both"), np.concatenate([exact, exact], axis=1))
    np.testing.assert_allclose(run.array("sigmoid"), 1 / (1 + np.exp(-exact)), atol=0.01)
    assert not [tensor for tensor in run.record.tensors if tensor.kind == "weight"]


def test_weights_of_operations_of_microsoft_are_real_numbers() -> None:
    _, scale, zero_point = quantized(X)
    integers, step, middle = quantized(MATRIX)
    bias = np.float32([0.5, -0.25, 1])
    known = {"s": scale, "z": zero_point, "w": integers, "ws": step, "wz": middle}
    known["b"] = np.rint(bias / (scale * step)).astype(np.int32)
    made(
        [
            node("QuantizeLinear", "x s z", "q"),
            node("QGemm", "q s z w ws wz b", "y", domain="com.microsoft"),
        ],
        [constant(name, array) for name, array in known.items()],
    )
    run = shown()
    np.testing.assert_allclose(run.array("y/b"), MATRIX, atol=step)
    np.testing.assert_allclose(run.array("y/c"), bias, atol=1e-3)
    expected = run.array("q") @ run.array("y/b") + run.array("y/c")
    np.testing.assert_allclose(run.array("y"), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "inputs", "argument"),
    [
        ("DynamicQuantizeMatMul", "x w ws wz", "b"),
        ("MatMulIntegerToFloat", "q w s ws z wz", "b"),
        ("QGemm", "q s z w ws wz", "b"),
        ("QAttention", "q w bias s ws none z wz", "weight"),
    ],
)
def test_kernels_of_integers_are_real_numbers_in_each_column(
    kind: str, inputs: str, argument: str
) -> None:
    shape, matrix = (4,), np.tile(MATRIX, (1, 4)) * np.linspace(0.2, 2, 12, dtype=np.float32)
    options = {}
    if kind == "QAttention":
        shape, options = (2, 4), {"num_heads": 2}
    x = np.random.default_rng(3).normal(size=(6, *shape)).astype(np.float32)
    _, scale, zero_point = quantized(x)
    steps = np.abs(matrix).max(axis=0) / np.float32(127)
    known = {"s": scale, "z": zero_point, "w": np.rint(matrix / steps).astype(np.int8)}
    known |= {"ws": steps, "wz": np.zeros(12, np.int8), "bias": np.zeros(12, np.float32)}
    last = node(kind, inputs, "y", domain="com.microsoft", **options)
    for place, name in enumerate(last.input):
        if name == "none":
            last.input[place] = ""
    nodes = [node("QuantizeLinear", "x s z", "q"), last]
    made(nodes, [constant(*each) for each in known.items()], [value("x", "n", *shape)])
    run = shown(x)
    np.testing.assert_allclose(run.array(f"y/{argument}"), matrix, atol=steps.max())
    assert not np.array_equal(run.array(f"y/{argument}"), known["w"])


def test_the_runtime_prints_nothing_of_a_file_that_it_refuses(
    capfd: pytest.CaptureFixture[str],
) -> None:
    made([node("MatMul", "x w", "y")], [constant("w", MATRIX.T)])
    assert "m.onnx cannot be loaded by ONNX Runtime" in refused()
    Path("m.onnx").write_bytes(b"\x08\x07nothing")
    assert "m.onnx cannot be loaded by ONNX Runtime" in refused()
    assert capfd.readouterr().err == ""


def test_a_signal_ends_a_loop_without_end() -> None:
    body = helper.make_graph(
        [node("Identity", "go", "still"), node("Identity", "v", "next")],
        "body",
        [
            value("turn", kind=TensorProto.INT64),
            value("go", kind=TensorProto.BOOL),
            value("v", "n", 4),
        ],
        [value("still", kind=TensorProto.BOOL), value("next", "n", 4)],
    )
    loop = helper.make_node("Loop", ["turns", "start", "x"], ["y"], "loop", body=body)
    made([loop], [constant("turns", 2**62), constant("start", True)])
    model = load_converted("m.onnx", "model.path")
    interrupt = threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        model.compute([X], ["y"])
    # The runtime has ended, too: its thread is free.
    with pytest.raises(Exception, match="invalid dimensions"):
        model.compute([X[:, :3]], ["y"])


def test_the_product_before_its_bias_is_a_step_of_a_convolution() -> None:
    integers, scale, zero_point = quantized(MATRIX[:, :1].reshape(4, 1, 1, 1))
    made(
        [
            node("Reshape", "x square", "maps"),
            node("DynamicQuantizeLinear", "maps", "q s z"),
            node("ConvInteger", "q w z wz", "sums"),
            node("Cast", "sums", "cast", to=TensorProto.FLOAT),
            node("Mul", "s ws", "scale"),
            node("Mul", "cast scale", "product"),
            node("Reshape", "b along", "bias"),
            node("Add", "product bias", "y"),
        ],
        [
            constant("w", integers),
            constant("ws", scale),
            constant("wz", zero_point),
            constant("b", np.ones(4, np.float32)),
            constant("square", [0, 1, 2, 2], "int64"),
            constant("along", [1, 4, 1, 1], "int64"),
        ],
    )
    assert restated_in(shown().record) == {"q:0", "sums", "cast", "product"}


@pytest.mark.parametrize("step", [0.02, 1.5])
def test_a_product_of_integers_is_paired_with_none_rather_than_a_wrong_one(step: float) -> None:
    generator = np.random.default_rng(2)
    matrices = [generator.normal(size=(4, 4)).astype(np.float32) for _ in range(3)]
    named = [constant(f"w{place}", matrix) for place, matrix in enumerate(matrices)]
    named.append(constant("nearly_one", np.float32(1.0005)))
    nodes, given = [], "x"
    for place in range(3):
        nodes += [node("MatMul", f"{given} w{place}", f"product{place}")]
        nodes += [node("Mul", f"product{place} nearly_one", f"almost{place}")]
        nodes += [node("Relu", f"almost{place}", f"layer{place}")]
        given = f"layer{place}"
    made([*nodes, node("Identity", given, "y")], named)
    one = runner.save_run(load_converted("m.onnx", "model.path"), X, "one")
    nodes, given, known = [], "x", []
    for place, matrix in enumerate(matrices):
        integers = np.rint(matrix / np.float32(step)).clip(-127, 127).astype(np.int8)
        known += [constant(f"w{place}", integers), constant(f"ws{place}", np.float32(step))]
        nodes += [
            node("DynamicQuantizeLinear", given, f"q{place} s{place} z{place}"),
            node("MatMulInteger", f"q{place} w{place} z{place}", f"sums{place}"),
            node("Cast", f"sums{place}", f"cast{place}", to=TensorProto.FLOAT),
            node("Mul", f"s{place} ws{place}", f"scale{place}"),
            node("Mul", f"cast{place} scale{place}", f"real{place}"),
            node("Relu", f"real{place}", f"n{place}"),
        ]
        given = f"n{place}"
    made([*nodes, node("Identity", given, "out")], known)
    model = onnx.load("m.onnx")
    model.graph.output[0].name = "out"
    onnx.save(model, "m.onnx")
    two = runner.save_run(load_converted("m.onnx", "model.path"), X, "two")
    found = runner.diff(one, two, align="match", weights=False).tensors
    pairs = {each.tensor: each.other for each in found if each.other is not None}
    right = {(f"layer{place}", f"n{place}") for place in range(3)} | {("y", "out")}
    right |= {(name + str(k), f"real{k}") for name in ("product", "almost") for k in range(3)}
    assert pairs.items() <= right
    assert pairs["y"] == "out"
    restated = [each.tensor for each in found if each.why == WHY]
    assert restated == [
        name for place in range(3) for name in (f"q{place}:0", f"sums{place}", f"cast{place}")
    ]
    assert all(each.why for each in found if each.left_out and each.tensor.startswith("layer"))
