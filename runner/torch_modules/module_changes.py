"""The tensors of a pass over a module that changes replace by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree

from runner.capture.arithmetic import Arithmetic
from runner.capture.call import Leaf
from runner.torch_modules.module_calls import leaves_of
from runner.torch_modules.tensors import OPERATIONS, Value, Values


class ChangedOfTorch:
    """The tensors of one pass (see `runner.capture.changing.ChangedTensors`).

    Parameters
    ----------
    values
        The values of the tensors of the pass.
    """

    ops: Arithmetic = OPERATIONS

    def __init__(self, values: Values) -> None:
        self._values = values
        self._kept: list[torch.Tensor] = []

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value of a call's outputs is that of a tensor."""
        return isinstance(value, Value)

    def mapped(self, change: Callable[[Any], Any], structure: Any) -> Any:
        """Return a structure with a function applied to its tensors."""
        return _pytree.tree_map_only(torch.Tensor, change, structure)

    def leaves(self, structure: Any) -> list[Leaf]:
        """Return the leaves of a structure, with the values of its tensors."""
        return [
            (place, self._values.of(leaf) if isinstance(leaf, torch.Tensor) else leaf)
            for place, leaf in leaves_of(structure)
        ]

    def take(self, changed: torch.Tensor, own: torch.Tensor, *, as_own: bool) -> None:
        """Take note of a tensor that goes on in place of another."""
        self._kept.append(changed)  # so that no other tensor gets its identity
        if as_own:
            self._values.add(changed, self._values.of(own))

    def own(self, given: list[Leaf]) -> list[Leaf]:
        """Return the inputs of a call: their values are those of the own tensors already."""
        return given

    def like(self, values: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        """Return values in the dtype of a tensor, never the given tensor itself."""
        return values.to(dtype=tensor.dtype, device=tensor.device, copy=True)
