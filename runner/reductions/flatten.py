"""All values of a sample as units, in one axis."""

from __future__ import annotations

from typing import Any

from runner.capture.arithmetic import Arithmetic
from runner.capture.reduction import OfFlattened


class Flatten(OfFlattened):
    """All values of a sample as units."""

    order = 40

    def compute(self, ops: Arithmetic, flat: Any, name: str) -> Any:  # noqa: ARG002
        """Return the flattened samples."""
        return flat
