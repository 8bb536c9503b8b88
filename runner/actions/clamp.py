"""Limits values to a range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from runner.capture.arithmetic import Arithmetic
from runner.config.cheap_keys import CHEAP
from runner.config.strict import checked
from runner.errors import Problem
from runner.intervening.action import Action, Finite
from runner.intervening.changed_output import ChangedOutput, Numbers


def _problems(limits: list[float]) -> Iterator[Problem]:
    if len(limits) != 2:
        yield Problem("", f"expected two numbers, found {len(limits)}", "such as clamp=[0,1]")
    elif not limits[0] <= limits[1]:
        yield Problem("", f"the lower limit {limits[0]} is above the upper limit {limits[1]}")


class Clamp(Action):
    """Limits values to a range."""

    order = 20
    examples: ClassVar[dict[str, str]] = {"clamp": "intervene.hidden.clamp=[0,1]"}

    clamp: Annotated[list[Finite], checked(_problems), CHEAP]
    """The smallest and the largest value; values beyond are set to the nearer one."""

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        return f"limited to the range from {self.clamp[0]:g} to {self.clamp[1]:g}"

    def numbers(self, output: ChangedOutput) -> Numbers:  # noqa: ARG002
        """Return the limits."""
        low, high = self.clamp
        return {"low": low, "high": high}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:
        """Return the values within the limits."""
        return arithmetic.minimum(arithmetic.maximum(tensor, numbers["low"]), numbers["high"])
