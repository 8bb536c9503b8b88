"""Keeps the values of the selected tensors before a later operation overwrites them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from runner.capture.call import Call, Observer
from runner.tensors import Kind, TensorSpec
from runner.torch_modules.module_calls import leaves_of
from runner.torch_modules.tensors import Value

Key = tuple[str, int, Kind, str | None]
"""A tensor of a pass: layer path, index of the call, kind and place; the same in every pass."""


def key_of(spec: TensorSpec) -> Key:
    """Return the key of a tensor of a call."""
    return spec.layer_path, spec.call or 0, spec.kind, spec.output


class Keeping(Observer):
    """Keeps the values of the selected inputs and outputs of every call.

    A value shares the memory of its tensor, unless that is known to be overwritten.

    Parameters
    ----------
    selected
        Function that returns the selected tensors of a call that has ended.
    inputs
        Whether inputs may be selected.
    copied
        The tensors to copy: those that were overwritten in an earlier pass.
    existed
        Function that returns whether a tensor shares memory that is restored after the pass, and
        therefore has to be copied too.

    Attributes
    ----------
    values : dict[Key, Value]
        The kept values.
    """

    def __init__(
        self,
        selected: Callable[[Call], set[Key]],
        *,
        inputs: bool,
        copied: set[Key],
        existed: Callable[[torch.Tensor], bool],
    ) -> None:
        self._selected = selected
        self._inputs = inputs
        self._copied = copied
        self._existed = existed
        self.values: dict[Key, Value] = {}

    def began(self, call: Call) -> None:
        """Keep all inputs of a call, before it can overwrite them."""
        if self._inputs:
            tensors = [leaf for _, leaf in leaves_of(call.given) if isinstance(leaf, torch.Tensor)]
            values = [leaf for leaf in call.inputs if isinstance(leaf[1], Value)]
            for (place, value), tensor in zip(values, tensors, strict=True):
                key: Key = (call.layer_path, call.index, "input", place if values[1:] else None)
                self._keep(key, value, tensor)

    def ended(self, call: Call, returned: Any) -> Any:
        """Keep the selected outputs of a call."""
        selected = self._selected(call)
        if selected:
            for (place, value), (_, tensor) in zip(call.outputs, leaves_of(returned), strict=True):
                key: Key = (call.layer_path, call.index, "activation", place)
                if key in selected:
                    self._keep(key, value, tensor)
        return returned

    def overwritten(self) -> set[Key]:
        """Return the tensors that were overwritten after they were kept."""
        return {key for key, value in self.values.items() if value.is_overwritten}

    def _keep(self, key: Key, value: Any, tensor: Any) -> None:
        if isinstance(value, Value):
            value.keep(tensor, copied=key in self._copied or self._existed(tensor))
            self.values[key] = value
