"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from runner.config.strict import Length
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.probe.scikit_learn import data_set
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec


class DigitsConfig(ProbeSource):
    """The first `rows` handwritten digits from scikit-learn."""

    order = 70
    examples: ClassVar = {"rows": "probe=digits probe.rows=100"}

    source: Literal["digits"]
    rows: Length | None = None
    """Number of samples; `null`: all."""

    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return the digits, scaled to 0 to 1, in the shape of the model's input."""
        data, rows = data_set("digits", self.rows)
        shape = expected[0].shape if expected else (64,)
        pixels = (data.images / 16).astype("float32")
        if len(shape) <= 1:
            pixels = pixels.reshape(len(pixels), 64)
        elif len(shape) == 3:
            pixels = pixels[..., None]
        probe = array_probe(
            "digits (scikit-learn)", pixels[rows], None, data.target[rows], data.target[rows]
        )
        return replace(probe, picture=(8, 8)) if pixels.ndim == 2 else probe
