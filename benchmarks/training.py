"""Measure what capturing at every epoch adds to a plain ``fit``; ``python -m benchmarks.training``.

The digits MLP and its 1,797 samples, by default 20 epochs, the probe shown 21 times. Each way is
gone in turns, in one process, with its own compiled model; ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from sklearn.datasets import load_digits

from benchmarks.timing import interleaved, ratios
from runner.training.recorder import ActivationRecorder

PLAIN = "plain fit"


def digits_mlp() -> keras.Model:
    """Return 64-32-32-10, compiled."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, "relu") for _ in range(2)]
    model = keras.Sequential(
        [keras.Input((64,)), *layers, keras.layers.Dense(10, "softmax")], name="digits"
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    data = load_digits()
    x, y = (data.images / 16).astype("float32").reshape(-1, 64), data.target
    numbers = itertools.count()

    def fit(*callbacks: keras.callbacks.Callback) -> None:
        keras.backend.clear_session()
        digits_mlp().fit(x, y, epochs=arguments.epochs, verbose=0, callbacks=list(callbacks))

    with tempfile.TemporaryDirectory() as folder:

        def recorder(**how: object) -> ActivationRecorder:
            return ActivationRecorder(x, Path(folder, str(next(numbers))), **how)

        times = interleaved(
            {
                PLAIN: fit,
                "every epoch, parquet": lambda: fit(recorder(every=1)),
                "every epoch, arrow": lambda: fit(recorder(every=1, format="arrow")),
                "the last alone, parquet": lambda: fit(recorder(capture_at=["last"])),
            },
            arguments.repetitions,
        )
    seconds = {name: [one.wall for one in own] for name, own in times.items()}
    found = ratios(seconds, PLAIN)
    for name, own in seconds.items():
        sys.stdout.write(f"{name:26} {np.median(own):6.3f} s  {found[name]}\n")


if __name__ == "__main__":
    main()
