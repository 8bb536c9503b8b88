"""Multiplies values by a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from runner.capture.arithmetic import Arithmetic
from runner.config.cheap_keys import CHEAP
from runner.intervening.action import Action, Finite
from runner.intervening.changed_output import ChangedOutput, Numbers


class Scale(Action):
    """Multiplies values by a number; 0 switches them off."""

    order = 10
    examples: ClassVar[dict[str, str]] = {"scale": "intervene.hidden.scale=0.5"}

    scale: Annotated[Finite, CHEAP]
    """A factor."""

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        return f"multiplied by {self.scale:g}"

    def numbers(self, output: ChangedOutput) -> Numbers:  # noqa: ARG002
        """Return the factor."""
        return {"factor": self.scale}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:  # noqa: ARG002
        """Return the product."""
        return tensor * numbers["factor"]
