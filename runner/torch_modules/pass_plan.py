"""What passes that make the same calls have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from runner.capture.call import Call
from runner.capture.inventory import Inventory
from runner.capture.selection import Selection
from runner.capture.stocktaking import Stocktaking
from runner.tensors import PER_SAMPLE
from runner.torch_modules import tensors
from runner.torch_modules.keeping import Key, key_of
from runner.torch_modules.module_contents import Contents
from runner.torch_modules.repetition import Repetition
from runner.torch_modules.tensors import Value

Passed = tuple[Inventory, list[torch.Tensor]]
"""What a pass has, and the values of the kept tensors in order."""


class Plan:
    """What passes that make the same calls have in common.

    Parameters
    ----------
    selection
        What is captured.
    taking
        The inventory of one of them.
    calls
        Its calls.

    Attributes
    ----------
    keys : set
        The tensors to keep.
    repetition : Repetition or None
        Repeats the pass, where that is possible.
    """

    def __init__(self, selection: Selection, taking: Stocktaking, calls: list[Call]) -> None:
        self._inventory = taking.inventory
        self._specs = [(key_of(spec), spec) for spec in taking.stored]
        self.keys = {key for key, _ in self._specs}
        self._calls = _made(calls)
        self._of_outputs = not selection.kinds & PER_SAMPLE - {"activation"}
        self.repetition: Repetition | None = None

    def repeat(self, calls: list[Call], contents: Contents) -> None:
        """Repeat a pass from now on, if only what its calls return is selected.

        The modules that it calls must exist before it.
        """
        known = {id(module) for module, _ in contents.modes}
        if self._of_outputs and all(id(call.operation) in known for call in calls):
            self.repetition = Repetition(calls, self.keys, contents)

    def values(
        self,
        calls: list[Call],
        kept: Mapping[Key, Value],
        dtype: str | None,
        without: Collection[str] = (),
    ) -> Passed | None:
        """Return what a pass has, given its calls; ``None`` for other calls.

        Those whose indexed path is in `without` are not made.
        """
        if _made(calls) != [made for made in self._calls if made[0] not in without]:
            return None
        found = {key: value.data for key, value in kept.items()}
        for call in calls:
            for place, gradient in call.gradients:
                found[call.layer_path, call.index, "gradient", place] = gradient.data
        return self.picked(found, dtype)

    def picked(self, kept: Mapping[Key, torch.Tensor | None], dtype: str | None) -> Passed | None:
        """Return the inventory and the kept values in order; ``None`` if one has no value."""
        values = []
        for key, spec in self._specs:
            if (data := kept.get(key)) is None:
                return None
            values.append(tensors.stored_data(data, spec, dtype))
        return self._inventory, values


def _made(calls: list[Call]) -> list[tuple[str, list[str | None]]]:
    """Return the calls of a pass and the places of what they returned."""
    return [(call.indexed, [place for place, _ in call.outputs]) for call in calls]
