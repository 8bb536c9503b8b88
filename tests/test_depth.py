"""What is done for each layer does not grow with how many there are."""

from __future__ import annotations

import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import runner
from runner.config.parsing import parse
from runner.model.building import build_model
from runner.record.layer_record import LayerRecord
from runner.report.network import layer_tree

OURS = str(Path(runner.__file__).parent)
X = np.ones((8, 3), "float32")


def chain(depth: int) -> keras.Model:
    """A chain of operations, of layers and of one shared layer, alike but in its depth."""
    x = h = keras.Input((3,))
    shared = layers.ReLU(name="shared")
    for position in range(depth):
        h = shared(h * 2.0)
        h = layers.Dense(3, name=f"dense{position}")(h)
    return keras.Model(x, h)


def lines_run(action: Callable[[], Any]) -> Counter[str]:
    """Count the lines of this package that run, module by module, loops turn by turn."""
    found: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            found[frame.f_code.co_filename.removeprefix(OURS)] += 1
        return trace

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("kind", ["capture", "save", "gradient"])
def test_four_times_as_many_layers_take_four_times_as_many_lines(kind: str) -> None:
    found = []
    for depth in (12, 48):
        model = chain(depth)
        model.compile("sgd", "mse")
        run = {
            "capture": lambda model=model: runner.capture_activations(model, X),
            "gradient": lambda model=model: runner.capture_activations(
                model, X, kind="gradient", targets=X
            ),
            "save": lambda model=model, depth=depth: runner.save_run(model, X, f"run{depth}"),
        }[kind]
        found.append(lines_run(run))
    few, many = found
    assert many.total() < 4 * few.total()
    # A layer whose values change by rounding takes some lines more; quadratic would be 16 times.
    grown = {name: (few[name], lines) for name, lines in many.items() if lines > 4.5 * few[name]}
    assert not {name: lines for name, lines in grown.items() if lines[1] > 500}


def test_a_report_groups_a_thousand_levels() -> None:
    paths = ["/".join(["level"] * depth) for depth in range(1200, 0, -1)]
    records = [LayerRecord(path, "Own", 0, (), None) for path in paths]
    parts, depth = layer_tree(records), 0
    while not isinstance(parts[0], LayerRecord):
        parts, depth = parts[0].parts, depth + 1
    assert 10 < depth < 100
    assert len(parts) > 1000


def test_a_declared_chain_may_be_longer_than_the_stack_is_deep() -> None:
    layer = {"class_name": "Activation", "activation": "relu"}
    declared = {f"d{place}": layer for place in range(300)}
    config = parse(
        {
            "model": {"inputs": {"x": {"shape": [2]}}, "layers": declared},
            "probe": {"source": "random", "rows": 2},
        }
    )
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 250)
    try:
        lowered = sys.getrecursionlimit()
        model = build_model(config)
        assert sys.getrecursionlimit() == lowered
    finally:
        sys.setrecursionlimit(before)
    assert len(model.layers) == 301
