"""What every engine must do, asked of the one of Keras's backend."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

from runner.capture.call import Call, Observer
from runner.engines.engine import Engine, Marks, Pass
from runner.errors import InputError
from runner.keras_models.calls import watch
from runner.model.backend import framework

X = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own words")


def test_tracing_returns_the_function_and_what_was_found() -> None:
    def forward(values: list[Any], batch: Any) -> Pass[str]:
        inputs, targets = batch
        assert targets is None
        return Pass([inputs["x"] * values[0]], {1: values[1] + 1}, "found")

    engine = framework()
    values = [engine.as_tensor(np.float32(3)), engine.as_tensor(np.float32(5))]
    traced = engine.trace(forward, values, ({"x": X}, None))
    if traced is None:
        assert BACKEND == "torch"  # which compiles nothing
        return
    assert traced.rows == (2 if BACKEND == "jax" else None)
    for rows in (2, 1)[: 1 if traced.rows else 2]:
        passed = traced(values, ({"x": engine.as_tensor(X[:rows])}, None))
        np.testing.assert_array_equal(engine.as_array(passed.tensors[0]), 3 * X[:rows])
        assert {place: float(value) for place, value in passed.updates.items()} == {1: 6.0}
        assert passed.found == "found"
    assert (traced.resources, traced.runs_python) == ((), False)
    assert traced.fixed_axes == (frozenset({0}) if traced.rows else frozenset())
    with pytest.raises(dataclasses.FrozenInstanceError):
        traced.example.found = "another"  # type: ignore[misc]


def test_a_gradient_is_that_at_the_marked_tensor() -> None:
    engine = framework()
    tensors: list[Any] = []

    def run(marks: Marks) -> tuple[Any, str]:
        marked: list[Any] = []
        x = engine.as_tensor(X)
        assert marks.fits(x)
        assert not marks.fits(engine.as_tensor(np.array([1])))
        for _ in range(2):
            marked.append(marks.apart(x))
            assert marked[-1] is not x
            marks.mark(marked[-1])
        tensors[:] = tensors or marked  # those of the first run
        return keras.ops.sum(marked[0] * marked[0]), "result"

    result, gradients = engine.differentiated(run)
    used, unused = gradients.at(tensors)
    assert result == "result"
    np.testing.assert_array_equal(engine.as_array(used), 2 * X)
    assert unused is None


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "bool"])
def test_values_keep_every_bit(dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    array = np.array([[0, 1, -3]], "float32").astype(kind)
    if BACKEND == "jax" and dtype.endswith("64"):
        array = array.astype(kind := np.dtype(dtype.replace("64", "32")))  # unless it is set to 64
    tensor = framework().as_tensor(array)
    found = framework().as_array(tensor)
    assert (found.dtype, found.shape, found.tobytes()) == (kind, (1, 3), array.tobytes())
    assert framework().shape_of(tensor) == (1, 3)
    assert framework().is_floating(tensor) == ("float" in dtype)


@pytest.mark.skipif(BACKEND != "jax", reason="the other frameworks compute with 64 bits")
def test_an_integer_of_more_than_32_bits_is_refused() -> None:
    with pytest.raises(InputError, match="3000000000 does not fit into int32, with which JAX"):
        framework().as_tensor(np.array([3_000_000_000]))


def test_an_engine_has_what_the_protocol_names_and_no_more() -> None:
    named = {*vars(Engine), *Engine.__annotations__}
    named = {name for name in named if not name.startswith("_")}
    assert {*framework().__all__} == named  # type: ignore[attr-defined]
    for name in named - {*Engine.__annotations__}:
        wanted = [*inspect.signature(getattr(Engine, name)).parameters][1:]
        given = [*inspect.signature(getattr(framework(), name)).parameters]
        assert given[: len(wanted)] == wanted, name


@on_tensorflow
def test_an_error_says_what_is_wrong_and_no_more() -> None:
    engine = framework()
    with pytest.raises(Exception, match=r"\[Op:MatMul\]") as error:
        keras.ops.matmul(X, X[:1])
    message = engine.message_of(error.value)
    assert message.startswith("Matrix size-incompatible: ")
    assert "[Op" not in message
    assert engine.index_outside(error.value) is None
    layer = keras.layers.Embedding(5, 2)
    with pytest.raises(Exception, match="not in") as error:
        layer(np.array([7]))
    assert engine.index_outside(error.value) == (7, 0, 4)


class _Begun(Observer):
    def __init__(self) -> None:
        self.found: list[tuple[str, int, str]] = []

    def began(self, call: Call) -> None:
        self.found.append((call.layer_path, call.index, call.name))


def test_a_call_knows_its_path_and_index_when_it_begins() -> None:
    inputs, shared = keras.Input((2,)), keras.layers.Dense(2, name="shared")
    model = keras.Model(inputs, shared(shared(inputs)))
    begun = _Begun()
    calls = watch(lambda: model(X), [begun])
    assert begun.found == [("", 0, ""), ("shared", 0, ""), ("shared", 1, "")]
    assert [call.name for call in calls] == ["shared@0", "shared@1", ""]
