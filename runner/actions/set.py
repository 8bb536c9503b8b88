"""Sets values: to a number, to a number for each unit, or to a unit's mean or median."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from runner.capture.arithmetic import Arithmetic
from runner.config.cheap_keys import CHEAP
from runner.config.strict import expecting
from runner.intervening.action import Action, Finite, some_of
from runner.intervening.changed_output import ChangedOutput, Numbers


class Set(Action):
    """Sets values."""

    order = 0
    examples: ClassVar[dict[str, str]] = {"set": "intervene.hidden.set=mean"}

    set: Annotated[
        Finite | list[Finite] | Literal["mean", "median"],
        expecting("a number, a list of numbers, mean or median"),
        CHEAP,
    ]
    """The new value: a number, a list with a number for each unit, or the unit's `mean` or `median`
    over the probe.
    """

    @property
    def over_probe(self) -> Literal["mean", "median"] | None:
        """The mean or the median, if values are set to it."""
        return self.set if isinstance(self.set, str) else None

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        if isinstance(self.set, str):
            return f"set to the {self.set} over the probe"
        return f"set to {some_of(self.set) if isinstance(self.set, list) else f'{self.set:g}'}"

    def numbers(self, output: ChangedOutput) -> Numbers:
        """Return the new value."""
        if output.over_probe is not None:
            return {"value": output.along_units("set", output.over_probe)}
        if isinstance(self.set, list):
            return {"value": output.along_units("set", self.set)}
        assert not isinstance(self.set, str)
        return {"value": self.set}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:  # noqa: ARG002
        """Return the new value."""
        return numbers["value"]
