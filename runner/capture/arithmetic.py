"""The operations on tensors from which changes of a pass are built, in any framework."""

from __future__ import annotations

from typing import Any, Protocol


class Arithmetic(Protocol):
    """The operations that a library of models offers beside ``+`` and ``*`` of its tensors."""

    def where(self, condition: Any, one: Any, other: Any) -> Any:
        """Return `one` where a condition holds, and `other` elsewhere, broadcast to one shape."""

    def clip(self, tensor: Any, low: Any, high: Any) -> Any:
        """Return the values of a tensor, limited to `low` and `high`, which are tensors."""

    def like(self, values: Any, tensor: Any) -> Any:
        """Return values in the dtype of a tensor."""
