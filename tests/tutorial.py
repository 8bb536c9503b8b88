"""The tutorial's run, made from its printed figures without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from making import make_run

from runner.runs.published_run import Run

FIGURES: dict[str, list[Any]] = {
    "hidden": [
        [0, 0, 0.0655309, 0.1134268],
        [0, 0.5699866, 0, 0.9223561],
        [0.36428273, 0, 0.38850498, 0.30073535],
    ],
    "hidden/kernel": [
        [-0.3851872, -0.54333335, 0.0655309, 0.1134268],
        [-0.15428883, 0.5699866, -0.01254469, 0.9223561],
        [0.36428273, -0.6936733, 0.38850498, 0.30073535],
    ],
    "hidden/bias": [0, 0, 0, 0],
    "output": [[0.45516008, 0.5448399], [0.18469977, 0.8153002], [0.4541021, 0.5458979]],
    # The page does not print this one; it is what its seed draws.
    "output/kernel": [
        [0.11082816, -0.55741405],
        [0.7298498, 0.5545671],
        [0.29023337, 0.060724497],
        [-0.971118, 0.74701834],
    ],
    "output/bias": [0, 0],
}


def tutorial_config(**hidden: Any) -> dict[str, Any]:
    """Return the tutorial's configuration, arguments of its hidden layer changed."""
    return {
        "seed": 0,
        "model": {
            "input_shape": [3],
            "seeding": "tf_global",
            "layers": {
                "hidden": {"class_name": "Dense", "units": 4, "activation": "relu", **hidden},
                "output": {"class_name": "Dense", "units": 2, "activation": "softmax"},
            },
        },
        "probe": {"source": "tutorial"},
        "loss": {"class_name": "MeanSquaredError"},
        "optimizer": {"class_name": "Adam", "learning_rate": 0.001},
    }


def tutorial_run(path: Path | str = "outputs/run", **changes: Any) -> Run:
    """Publish the tutorial's run; `changes` are arguments of `make_run`, or figures."""
    figures = {**FIGURES, **{key: changes.pop(key) for key in FIGURES if key in changes}}
    tensors = {name: np.array(value, np.float32) for name, value in figures.items()}
    known = {"config": tutorial_config(), "seeding": "tf_global", **changes}
    return Run.read(make_run(Path(path), tensors, **known))
