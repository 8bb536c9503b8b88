"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from runner.config.strict import RECORDED, Length
from runner.probe.scikit_learn import data_set
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

if TYPE_CHECKING:
    from runner.probe.probe import Probe


class DigitsConfig(ProbeSource):
    """The first `rows` of the 1,797 handwritten digits that come with scikit-learn."""

    order = 70
    packages = ("scikit-learn",)
    examples: ClassVar[dict[str, str]] = {"rows": "probe=digits probe.rows=100"}

    source: Literal["digits"]
    rows: Annotated[Length | None, RECORDED] = None
    """Number of samples; `null`: all."""

    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return the digits, scaled to 0 to 1, in the shape of the model's input."""
        from runner.probe.memory_sources import array_probe

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
