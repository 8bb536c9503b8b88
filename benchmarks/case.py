"""What is measured: a model with its probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runner.config.capture_config import CaptureConfig


@dataclass(frozen=True)
class Case:
    """A model to be measured.

    Attributes
    ----------
    name
        What it is called in the table.
    build
        Makes the model, with the same weights each time, ready to be called.
    shape
        Axes of one sample.
    rows, quick_rows
        Samples to show it, in full and in a quick run.
    batch_size
        Samples shown at once.
    capture
        What is captured.
    others
        Whether the bare writer and the ways of a sub-model are measured too.
    csv
        Whether CSV is measured too, which has no room for the maps of a picture.
    memory
        Whether peak memory is measured.
    """

    name: str
    build: Callable[[], Any]
    shape: tuple[int, ...]
    rows: int
    quick_rows: int
    batch_size: int = 256
    capture: CaptureConfig = field(default_factory=CaptureConfig)
    others: bool = False
    csv: bool = False
    memory: bool = False

    @property
    def options(self) -> CaptureConfig:
        """The capture options, with the case's batch size and without a limit of size."""
        return self.capture.model_copy(update={"batch_size": self.batch_size, "max_bytes": 2**40})

    def probe(self, rows: int) -> np.ndarray:
        """Return samples of shape (rows, *shape), float32."""
        return np.random.default_rng(0).normal(size=(rows, *self.shape)).astype("float32")
