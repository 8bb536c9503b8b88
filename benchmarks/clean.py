"""Convert models of ``keras.applications``: no layer may be blamed; ``python -m benchmarks.clean``.

Each has random weights, and statistics that vary. It is converted to LiteRT and ONNX, and run by
Keras on PyTorch. Every layer has to be paired with an operation, or it is said why it has none.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import runner
from benchmarks.fault_models import vary
from benchmarks.page import table
from runner.errors import RunnerError
from runner.runs.published_run import Run
from runner.sameness.difference import Difference
from runner.sameness.floors import reference_for
from runner.sameness.repetition import prepared, weights_for
from runner.screen.diff import verdict

MODELS = {
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "DenseNet121": 64,
    "NASNetMobile": 64,
    "Xception": 96,
}
"""Names of models, each with the height and width of its inputs."""

_ROWS = 3

ELSEWHERE: dict[str, dict[str, Any]] = {
    "litert": {"convert": "litert"},
    "onnx": {"convert": "onnx"},
    "torch": {"overrides": ["backend=torch"]},
}
"""By name: where the model is made again, as `runner rerun` does."""


def differences(name: str, size: int, where: list[str]) -> Iterator[tuple[str, Difference | str]]:
    """Yield what differs in each place, or why the model cannot be made there."""
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)
    vary(model)
    with tempfile.TemporaryDirectory() as folder:
        file, images = Path(folder, "m.keras"), Path(folder, "x.npy")
        model.save(file)
        np.save(images, np.random.default_rng(0).uniform(-1, 1, (_ROWS, *shape)).astype("float32"))
        words = ["model=saved", f"model.path={file}", "probe=npy", f"probe.path={images}"]
        run = runner.run(*words, f"hydra.run.dir={folder}/run")
        weights = weights_for(run)
        with reference_for(run, weights) as reference:
            for each in where:
                try:
                    again = prepared(run, **ELSEWHERE[each])
                    made = again.make(Path(folder, each), weights, reference)
                    yield each, runner.diff(run, Run.read(made), weights=False)
                except RunnerError as error:
                    yield each, str(error)


def row(name: str, where: str, found: Difference | str) -> list[str]:
    """Return a row of the table."""
    if isinstance(found, str):
        return [name, where, "", "", "", found]
    own = [
        each for each in found.tensors if each.kind == "activation" and each.other != each.tensor
    ]
    told = [each for each in own if each.left_out and each.why]
    silent = [each for each in own if each.left_out and not each.why]
    counts = len(found.compared), len(told), len(silent)
    return [name, where, *map(str, counts), verdict(found)]


def main() -> None:
    """Print a row for each model and place."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clean", description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    parser.add_argument("--where", default=",".join(ELSEWHERE), help="names, separated by commas")
    arguments = parser.parse_args()
    head = ["model", "where", "paired", "told why not", "not told", "verdict"]
    rows = []
    for name in arguments.models.split(","):
        for where, found in differences(name, MODELS[name], arguments.where.split(",")):
            rows.append(row(name, where, found))
            sys.stdout.write(" | ".join(rows[-1]) + "\n")
            sys.stdout.flush()
    sys.stdout.write("\n" + table(head, rows))


if __name__ == "__main__":
    main()
