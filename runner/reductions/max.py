"""The largest value over space or time."""

from __future__ import annotations

from typing import Any

from runner.capture.arithmetic import Arithmetic
from runner.capture.reduction import OverPositions


class Max(OverPositions):
    """The largest value over space or time."""

    order = 20

    def compute(self, ops: Arithmetic, tensor: Any, positions: tuple[int, ...]) -> Any:
        """Return it for each unit."""
        return ops.max(tensor, axis=positions)
