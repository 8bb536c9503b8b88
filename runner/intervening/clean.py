"""The outputs of the run that a patch takes its values from: how much of them it restores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runner.capture.capture import Capture
from runner.errors import InputError
from runner.intervening.action import Action
from runner.intervening.changed_output import PerSample
from runner.intervening.patch_source import PatchSource


class Clean:
    """The outputs of the run that an action takes values from, if it has them.

    Parameters
    ----------
    capture
        The model without interventions, with what it returns.
    action, place
        The action, and the path of its pattern in the configuration.
    """

    def __init__(self, capture: Capture, action: Action, place: str) -> None:
        self._outputs: list[PerSample | None] = [None] * len(capture.returned)
        if action.from_run is None:
            return
        run, samples = action.from_run
        source = PatchSource(run, f"{place}.{action.name()}", samples)
        for number, at in enumerate(capture.returned):
            try:
                self._outputs[number] = source.values_of(capture.tensors[at])
            except InputError:  # it captured less, or is of another model
                continue

    def of(self, row: int, samples: np.ndarray) -> Sequence[np.ndarray | None]:
        """Return the outputs for samples that begin at a row, given their ids.

        Each has the shape (sample, ...), and is ``None`` if the run does not hold it.
        """
        return [None if output is None else output(row, samples) for output in self._outputs]
