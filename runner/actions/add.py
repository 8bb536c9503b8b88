"""Adds an array to values, which steers a model along a direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from runner.capture.arithmetic import Arithmetic
from runner.config.cheap_keys import CHEAP
from runner.config.references import InputFile
from runner.config.strict import expecting
from runner.errors import InputError
from runner.intervening.action import Action, Finite, some_of
from runner.intervening.changed_output import ChangedOutput, Numbers
from runner.probe.array_files import mapped

_MOST_BYTES = 2**30


class Add(Action):
    """Adds an array."""

    order = 40
    examples: ClassVar[dict[str, str]] = {
        "add": "intervene.hidden.add=direction.npy",
        "times": "intervene.hidden.add=direction.npy intervene.hidden.times=2",
    }

    add: Annotated[
        InputFile | list[Finite], expecting("the name of a .npy file, or a list of numbers")
    ]
    """A `.npy` file, or a list, with a number to add for each unit; or a file with an array of the
    shape of a sample of the output.
    """
    times: Annotated[Finite, CHEAP] = Field(default=1.0)
    """Factor of what is added."""

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        times = f"{self.times:g} times " if self.times != 1 else ""
        return f"increased by {times}{self.add if isinstance(self.add, str) else some_of(self.add)}"

    def numbers(self, output: ChangedOutput) -> Numbers:
        """Return the array, times its factor."""
        if isinstance(self.add, str):
            added = mapped(self.add, output.place("add"), _MOST_BYTES)
            if added.dtype.kind not in "fiu" or not np.isfinite(added).all():
                raise InputError.of(output.place("add"), "expected an array of finite numbers")
        else:
            added = np.array(self.add)
        if added.shape != output.spec.shape or added.ndim == 1:
            added = output.along_units("add", added)
        return {"added": self.times * added}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:  # noqa: ARG002
        """Return the sum."""
        return tensor + numbers["added"]
