"""The tutorial's probe: the three rows of the identity matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

if TYPE_CHECKING:
    from runner.probe.probe import Probe


class TutorialConfig(ProbeSource):
    """The tutorial's three samples and targets."""

    order = 0

    source: Literal["tutorial"]

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the rows of the identity matrix, and their targets."""
        import numpy as np

        from runner.probe.memory_sources import array_probe

        identity = np.eye(3, dtype="float32")
        return array_probe(
            "the tutorial's identity matrix", identity, targets=np.array([[0], [1], [1]])
        )
