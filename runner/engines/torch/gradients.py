"""Gradients in PyTorch, recorded while a pass runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from runner.engines.engine import Marks, Result
from runner.engines.torch.noting import depends_on
from runner.engines.torch.tensors import is_floating


def differentiated(run: Callable[[Marks], tuple[Any, Result]]) -> tuple[Result, _Gradients]:
    """Run a pass that records its operations; the gradients of its loss can be asked for once."""
    with torch.enable_grad():
        loss, result = run(_Marks())
    return result, _Gradients(loss)


def shows_logits(tensor: Any) -> bool:  # noqa: ARG001
    """Return whether Keras finds the logits of a tensor by the operation that made it."""
    return False


class _Marks:
    def fits(self, value: Any) -> bool:
        return is_floating(value)

    def apart(self, tensor: Any) -> Any:
        # The weights have no gradient, so that the first marked tensors begin the recording.
        return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()

    def mark(self, tensor: Any) -> None:
        """Do nothing: a tensor that was set apart takes part in the recording."""


class _Gradients:
    def __init__(self, loss: Any) -> None:
        self._loss = loss

    def at(self, tensors: Sequence[Any]) -> list[Any]:
        recorded = [tensor for tensor in tensors if tensor.requires_grad]
        if not recorded or not self._loss.requires_grad:
            return [None] * len(tensors)
        with torch.enable_grad():
            found = iter(torch.autograd.grad(self._loss, recorded, allow_unused=True))
        return [next(found) if tensor.requires_grad else None for tensor in tensors]

    def depends_on(self, tensor: Any) -> bool:
        return depends_on(self._loss, tensor)
