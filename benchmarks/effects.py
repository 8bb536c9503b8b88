"""Measure a run of `units: each` against a loop of ``predict``; ``python -m benchmarks.effects``.

MobileNetV2 with random weights, 256 random images of 96 x 96, batches of 256. The loop edits what
the layer returns and calls ``predict`` once for each unit, of which a few are measured; the run is
a whole ``save_run``, until its effects are on disk. The floor is a compiled call for each unit,
nothing else, of the layers after the last one that still computes each unit by itself, in batches
of 256, 144 and 48: the fastest of them. Ratios of CPU seconds say the same where other processes
run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import runner
from benchmarks.timing import Times, Way, timed

# Each with the last layer after it that still computes each unit by itself.
_LAYERS = {
    "block_6_expand": "block_6_depthwise_relu",
    "block_13_expand": "block_13_depthwise_relu",
    "block_16_expand": "block_16_depthwise_relu",
    "Conv_1": "global_average_pooling2d",
}
_ROWS = 256


class _Edited(keras.layers.Layer):
    """Switches units off."""

    def build(self, shape: Any) -> None:
        self.mask = self.add_weight(shape=(shape[-1],), initializer="ones", trainable=False)

    def call(self, inputs: Any) -> Any:
        return inputs * self.mask


def loop(model: keras.Model, layer: keras.Layer, images: np.ndarray) -> Callable[[int], Any]:
    """Return a function that switches one unit off and predicts."""
    edited = _Edited()
    before = keras.Model(model.inputs, layer.output)
    after = keras.Model(layer.output, model.output)
    whole = keras.Model(model.inputs, after(edited(before(model.inputs))))
    units = layer.output.shape[-1]

    def predict(unit: int) -> Any:
        edited.mask.assign(np.arange(units) != unit)
        return whole.predict(images, batch_size=_ROWS, verbose=0)

    return predict


def rest(model: keras.Model, layer: keras.Layer, values: np.ndarray, size: int) -> Way:
    """Return a function that calls the layers after one of them, in batches of a size."""
    after = keras.Model(layer.output, model.output)
    call = tf.function(lambda batch: after(batch, training=False), autograph=False)
    batches = [tf.constant(values[at : at + size]) for at in range(0, len(values), size)]
    return lambda: [call(batch).numpy() for batch in batches]


def best(way: Way, times: int = 3) -> Times:
    """Return what a warm way takes where it takes least."""
    way()
    found = [timed(way) for _ in range(times)]
    return Times(min(one.wall for one in found), min(one.cpu for one in found))


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effects", description=__doc__)
    parser.add_argument("--layers", default=",".join(_LAYERS), help="names, separated by commas")
    names = parser.parse_args().layers.split(",")
    if unknown := sorted({*names} - {*_LAYERS}):
        parser.error(f"--layers: unknown: {', '.join(unknown)}; known: {', '.join(_LAYERS)}")
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(input_shape=(96, 96, 3), weights=None)
    images = np.random.default_rng(0).random((_ROWS, 96, 96, 3), "float32")
    head = (
        "layer",
        "units",
        "loop s/unit",
        "run s",
        "times",
        "CPU",
        "floor s",
        "times",
        "CPU",
        "load",
    )
    rows = [head]
    for name in names:
        layer = model.get_layer(name)
        units = layer.output.shape[-1]
        predict = loop(model, layer, images)
        each = best(lambda predict=predict: predict(0))
        last = model.get_layer(_LAYERS[name])
        values = keras.Model(model.inputs, last.output).predict(images, batch_size=48, verbose=0)
        floors = [best(rest(model, last, values, size)) for size in (_ROWS, 144, 48)]
        floor = Times(min(one.wall for one in floors), min(one.cpu for one in floors))
        with tempfile.TemporaryDirectory() as folder:
            took = timed(
                lambda name=name, folder=folder: runner.save_run(
                    model,
                    images,
                    Path(folder, "run"),
                    include=["predictions"],
                    batch_size=_ROWS,
                    intervene={name: {"units": "each", "set": 0}},
                )
            )
        after = best(lambda predict=predict: predict(1))
        each = Times(min(each.wall, after.wall), min(each.cpu, after.cpu))
        found = [name, units, each.wall, took.wall]
        found += [units * each.wall / took.wall, units * each.cpu / took.cpu]
        found += [units * floor.wall, each.wall / floor.wall, each.cpu / floor.cpu]
        found += [os.getloadavg()[0]]
        rows.append(tuple(f"{one:.3g}" if isinstance(one, float) else str(one) for one in found))
        sys.stdout.write("".join(f"{cell:>16}" for cell in rows[-1]) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")


if __name__ == "__main__":
    main()
