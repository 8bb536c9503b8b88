"""The inputs of a module as tensors: on its device, and in the dtype of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from runner.torch_modules.module_tree import tensors_in


class Placing(NamedTuple):
    """Where a module computes, and in which numbers.

    Attributes
    ----------
    device
        The device of its first parameter or buffer.
    floating
        The dtype of its first floating-point parameter; ``None`` if it has none: inputs then keep
        their own.
    """

    device: torch.device
    floating: torch.dtype | None

    @classmethod
    def of(cls, model: nn.Module) -> Placing:
        """Return that of a module."""
        found = tensors_in(model)
        device = found[0].device if found else torch.device("cpu")
        own = (one.dtype for one in found if isinstance(one, nn.Parameter))
        return cls(device, next((dtype for dtype in own if dtype.is_floating_point), None))

    def tensors(self, inputs: Any, *, shared: bool = False) -> Any:
        """Return the inputs of a batch as tensors that the module takes.

        Parameters
        ----------
        inputs
            An array, or a list or mapping of arrays. Signed integers become int64, as PyTorch's
            own indices and labels are.
        shared
            Whether tensors may share the memory of the arrays: the module overwrites none.
        """
        if isinstance(inputs, Mapping):
            return {
                name: self._tensor(array, shared)
                for name, array in inputs.items()
                if array is not None
            }
        if isinstance(inputs, (list, tuple)):
            return [self._tensor(array, shared) for array in inputs]
        return self._tensor(inputs, shared)

    def _tensor(self, array: Any, shared: bool) -> torch.Tensor:
        array = np.asarray(array)
        if not (shared and array.flags.c_contiguous and array.flags.writeable):
            array = np.array(array)
        if array.dtype.name == "bfloat16":
            tensor = torch.from_numpy(array.view("int16")).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        if tensor.dtype.is_floating_point and self.floating is not None:
            tensor = tensor.to(self.floating)
        if tensor.dtype in (torch.int8, torch.int16, torch.int32):
            tensor = tensor.to(torch.int64)
        return tensor.to(self.device)
