"""Takes values from the same output in another run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from runner.capture.arithmetic import Arithmetic
from runner.config.references import EarlierRun
from runner.intervening.action import Action
from runner.intervening.changed_output import ChangedOutput, Numbers

# YAML reads an id that is a number as a number.
_SampleId = Annotated[str, BeforeValidator(lambda one: str(one) if type(one) is int else one)]


class Patch(Action):
    """Takes the values of another run."""

    order = 50
    examples: ClassVar[dict[str, str]] = {
        "patch": "intervene.hidden.patch=clean",
        "samples": "intervene.hidden.patch=clean intervene.hidden.samples={0:1,1:0}",
    }

    patch: EarlierRun
    """A run whose values of the same output are taken, sample by sample: its folder, or its name or
    the beginning of its id below `outputs`.
    """
    samples: dict[_SampleId, _SampleId] = Field(default={})
    """Which sample of `patch` each sample takes its values from; samples that are not named take
    those of the same id.
    """

    @property
    def from_run(self) -> tuple[str, Mapping[str, str]]:
        """The run, and the samples."""
        return self.patch, self.samples

    @property
    def did(self) -> str:
        """What was done, after ``was``."""
        return f"taken from run {self.patch}"

    def numbers(self, output: ChangedOutput) -> Numbers:
        """Return the values of the run."""
        return {"value": output.of_run(self.patch, output.place("patch"), self.samples)}

    def changed(self, tensor: Any, numbers: Mapping[str, Any], arithmetic: Arithmetic) -> Any:  # noqa: ARG002
        """Return the values of the run."""
        return numbers["value"]
