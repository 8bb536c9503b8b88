"""Forged arguments of layers: the arithmetic of a value is refused before it takes memory."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

import runner
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.spelling import spell_out
from runner.runs.published_run import Run

HUGE = 10**9


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of one layer and one operation of `keras.ops` on images."""
    given = keras.Input((4, 4, 2))
    pooled = keras.layers.MaxPooling2D(2, name="layer")(given)
    model = keras.Model(given, keras.ops.pad(pooled, [[0, 0], [1, 1], [0, 0], [0, 0]]))
    path = tmp_path_factory.mktemp("runs") / "run"
    runner.save_run(model, np.arange(64, dtype=np.float32).reshape(2, 4, 4, 2), path)
    return runner.open_run(path)


def refused(call: LayerCall) -> str:
    """Return why the arithmetic of a value is refused, which takes no time and no memory."""
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(runner.InputError) as caught:
            spell_out(call, (0,) * call.output.ndim)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 2
    return str(caught.value)


def forged(run: Run, name: str, layer_class: str = "", **arguments: Any) -> LayerCall:
    call = LayerCall.read(run, name, 0)
    layer_class = layer_class or call.layer.layer_class
    return replace(call, layer=replace(call.layer, layer_class=layer_class, arguments=arguments))


def test_the_layer_itself_is_explained(run: Run) -> None:
    call = LayerCall.read(run, "layer", 0)
    assert [
        spell_out(call, place).value for place in np.ndindex(2, 2, 2)
    ] == call.output.ravel().tolist()
    [operation] = [name for name in run if name != "layer"]
    call = LayerCall.read(run, operation, 0)
    assert [
        spell_out(call, place).value for place in np.ndindex(4, 2, 2)
    ] == call.output.ravel().tolist()


@pytest.mark.parametrize(
    ("layer_class", "arguments"),
    [
        ("ZeroPadding2D", {"padding": HUGE}),
        ("ZeroPadding2D", {"padding": [[HUGE, 0], [0, HUGE]]}),
        ("UpSampling2D", {"size": HUGE}),
        ("UpSampling2D", {"size": [1, HUGE]}),
        ("UpSampling2D", {"size": [1] * 10**5}),
        ("RepeatVector", {"n": HUGE}),
        ("MaxPooling2D", {"pool_size": [2, 2], "strides": -1}),
        ("MaxPooling2D", {"pool_size": [2, 2], "dilation_rate": -1}),
        ("MaxPooling2D", {"pool_size": [2] * 10**5}),
        ("LayerNormalization", {"axis": [-1] * 10**5}),
        ("Permute", {"dims": list(range(1, 10**5))}),
        ("GroupNormalization", {"groups": HUGE, "epsilon": 0.1}),
    ],
)
def test_a_layer_that_makes_more_than_its_output_is_refused(
    layer_class: str, arguments: dict[str, Any], run: Run
) -> None:
    line = refused(forged(run, "layer", layer_class, **arguments))
    assert line.startswith("layer: ")
    assert len(line) <= 500


def test_a_window_larger_than_its_input_is_as_fast_as_one_that_fits(run: Run) -> None:
    start = time.process_time()
    call = forged(run, "layer", pool_size=[HUGE, HUGE], strides=1, padding="same")
    assert spell_out(call, (1, 1, 0)).value == 30.0
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ({"operation": "pad", "pad_width": HUGE}, {}),
        ({"operation": "pad", "pad_width": [[0, 0], [HUGE, 0], [0, 0], [0, 0]]}, {}),
        ({"operation": "pad", "pad_width": [[0, 0]] * 10**5}, {}),
        ({"operation": "repeat", "repeats": HUGE, "axis": 1}, {}),
        ({"operation": "repeat", "repeats": [HUGE, HUGE], "axis": 1}, {}),
        ({"operation": "repeat", "repeats": HUGE, "axis": None}, {}),
        ({"operation": "tile", "repeats": HUGE}, {}),
        ({"operation": "tile", "repeats": [1, HUGE, HUGE]}, {}),
        ({"operation": "take", "axis": 1}, {"indices": [0] * 10**5}),
        ({"operation": "get_item"}, {"key": ["...", [0] * 10**5]}),
        ({"operation": "split", "indices_or_sections": HUGE, "axis": 1}, {}),
        ({"operation": "power"}, {"x2": 10**400}),
    ],
)
def test_an_operation_that_makes_more_than_its_output_is_refused(
    arguments: dict[str, Any], settings: dict[str, Any], run: Run
) -> None:
    [name] = [name for name in run if name != "layer"]
    call = forged(run, name, **arguments)
    line = refused(replace(call, wiring=replace(call.wiring, settings=settings)))
    assert line.startswith(f"{name}: ")
    assert len(line) <= 500


def test_an_einsum_of_more_terms_than_there_could_be_is_refused(run: Run) -> None:
    [name] = [name for name in run if name != "layer"]
    call = forged(run, name, operation="einsum", subscripts="abcd,efgh,ijkl,mnop->a")
    settings = {f"x{number}": np.zeros((20, 20, 20, 1)).tolist() for number in (2, 3, 4)}
    assert refused(replace(call, wiring=replace(call.wiring, settings=settings)))
