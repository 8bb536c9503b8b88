"""What is known of a pass that runs as Python code, for later passes that make the same calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.capture.call import Call, tensors_of
from runner.capture.inventory import Inventory
from runner.capture.selection import Selection
from runner.capture.stocktaking import Stocktaking
from runner.keras_models import tensors
from runner.tensors import TensorSpec

_Place = tuple[int, TensorSpec]  # a tensor: the number of its call, and its description


class KnownPass:
    """A pass with its inventory, which is that of every pass with the same calls and tensors.

    Parameters
    ----------
    calls
        All calls, in the order of completion.
    taking
        The inventory.
    selection
        What is captured; gradients are not known before they are asked for.
    rows
        The number of samples, if the model accepts only batches of that size.

    Attributes
    ----------
    inventory : Inventory
        The layers and tensors of the pass.
    cost : int
        The estimated cost of the pass.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        taking: Stocktaking,
        selection: Selection,
        rows: int,
        cost: int,
    ) -> None:
        self.inventory: Inventory = taking.inventory
        self.cost = cost
        self._dtype, self._rows = selection.dtype, rows
        self._calls = _made(calls)
        numbers = {(call.layer_path, call.index): number for number, call in enumerate(calls)}

        def placed(spec: TensorSpec) -> _Place:
            return numbers[spec.layer_path, spec.call or 0], spec

        self._kept = [placed(spec) for spec in taking.stored]
        self._aliases = [
            (placed(spec), self._kept[position]) for spec, position in self.inventory.aliases
        ]

    def values(self, calls: Sequence[Call]) -> list[Any] | None:
        """Return the kept tensors of another pass in order; ``None`` if it is another one."""
        if _made(calls) != self._calls:
            return None
        found = [(_tensor(calls[number], spec), spec) for number, spec in self._kept]
        apart = {(id(tensor), spec.reduction) for tensor, spec in found}
        if len(apart) < len(found) or not all(self._fits(tensor) for tensor, _ in found):
            return None
        for (number, spec), (other, original) in self._aliases:
            if _tensor(calls[number], spec) is not _tensor(calls[other], original):
                return None
        return [tensors.stored(tensor, spec, self._dtype) for tensor, spec in found]

    def _fits(self, tensor: Any) -> bool:
        return tensor is not None and tensors.unfit(tensor, "", self._rows) is None


def _made(calls: Sequence[Call]) -> list[tuple[str, list[str | None]]]:
    """Return the calls of a pass and the places of what they returned."""
    return [(call.indexed, [place for place, _ in call.outputs]) for call in calls]


def _tensor(call: Call, spec: TensorSpec) -> Any:
    return dict(tensors_of(call, spec.kind, tensors.is_tensor)).get(spec.output)
