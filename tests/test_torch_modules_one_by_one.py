"""Channels of modules of PyTorch changed one at a time, held to hooks that are written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.file_names import LOG

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
nn = torch.nn

CHANNELS = 40


class _Inverted(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(8, CHANNELS, 1)
        self.deep = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU6(inplace=True),
        )
        self.shrink = nn.Conv2d(CHANNELS, 8, 1)

    def forward(self, x: Any) -> Any:
        return x + self.shrink(self.deep(nn.functional.hardswish(self.grow(x))))


def network() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), _Inverted(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    model(torch.randn(16, 3, 6, 6))  # sets the running statistics
    return model.eval()


def pictures() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 3, 6, 6)).astype("float32")


def test_channels_are_changed_where_each_still_stands_alone(tmp_path: Path) -> None:
    model, x = network(), pictures()
    what = {"1/grow": {"units": "each", "set": 0.5}}
    run = runner.save_run(model, x, tmp_path / "run", intervene=what)
    assert (
        "'1/grow' was changed in '1/deep/2', for 50 of 50 samples" in (run.path / LOG).read_text()
    )
    found = run.effects.set_index("unit")["mean_abs"]
    assert len(found) == CHANNELS
    with torch.no_grad():
        before = model(torch.from_numpy(x))
        for unit in (0, 7, CHANNELS - 1):

            def changed(_: Any, __: Any, output: Any, unit: int = unit) -> Any:
                output = output.clone()
                output[:, unit] = 0.5
                return output

            with model[1].grow.register_forward_hook(changed):
                change = (model(torch.from_numpy(x)) - before).abs().mean()
            np.testing.assert_allclose(found[unit], float(change), rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_normalization_changes_its_statistics_in_training_alone(*, training: bool) -> None:
    capture = Capture(network(), pictures(), Selection(), training=training)
    assert capture.carries_state is training
