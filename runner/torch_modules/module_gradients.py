"""The gradient of a loss with respect to the outputs of modules."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from runner.capture.call import Call, Observer
from runner.torch_modules.module_calls import leaves_of
from runner.torch_modules.tensors import Value, Values


class Marked(Observer):
    """Marks every module's output, so that the gradient of a loss can be taken there.

    The tensor that goes on from every call is a copy of the one that the module returned: a module
    may return its input unchanged, and a later one may overwrite it.

    Parameters
    ----------
    values
        The values of the tensors of the pass, to which the copies are added.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._marks: dict[int, torch.Tensor] = {}
        self._places: list[tuple[Call, list[tuple[str | None, torch.Tensor | None]]]] = []
        self._kept: list[torch.Tensor] = []

    def ended(self, call: Call, returned: Any) -> Any:
        """Return copies of the tensors that a call returned, except the model's own."""
        if call.parent is None:
            return returned
        returned = _pytree.tree_map_only(torch.Tensor, self._copied, returned)
        found = [(place, self._marks.get(id(leaf))) for place, leaf in leaves_of(returned)]
        self._places.append((call, found))
        return returned

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.is_floating_point() and tensor.layout == torch.strided):
            return tensor
        mark = tensor.clone() if tensor.requires_grad else tensor.detach().clone()
        if not mark.requires_grad:
            mark.requires_grad_()
        copied = mark.clone()
        self._marks[id(copied)] = mark
        self._kept.append(copied)  # so that no other tensor gets its identity
        self._values.add(copied, self._values.of(tensor))
        return copied

    def set_gradients(self, loss: torch.Tensor) -> None:
        """Set the gradients of every call with respect to its outputs."""
        marks = list(self._marks.values())
        found: list[torch.Tensor | None] = [None] * len(marks)
        if marks and loss.requires_grad:
            found = list(torch.autograd.grad(loss, marks, allow_unused=True))
        by_mark = {id(mark): one for mark, one in zip(marks, found, strict=True)}
        for call, places in self._places:
            for place, mark in places:
                gradient = None if mark is None else by_mark[id(mark)]
                if gradient is not None:
                    value = Value(gradient)
                    value.keep(gradient, copied=False)
                    call.gradients.append((place, value))
                elif mark is None:
                    call.no_gradient[place] = (
                        "no gradient: its output is not a floating-point tensor of this pass"
                    )
                else:
                    call.no_gradient[place] = "no gradient: the loss does not depend on it"


def total_loss(loss: Callable[..., Any], targets: torch.Tensor, output: Any) -> torch.Tensor:
    """Return the sum of the losses of all samples.

    The gradient of the sum with respect to a sample is that of the sample's own loss: unlike the
    gradient of a batch mean, it does not depend on the batch size.

    Parameters
    ----------
    loss
        A loss of ``torch.nn``, whose reduction is ignored, or a function of the output and the
        targets: it returns a loss for each sample, or their mean.
    targets
        Shape (sample, ...).
    output
        What the model returned.
    """
    function: Any = loss
    if isinstance(loss, nn.Module) and isinstance(getattr(loss, "reduction", None), str):
        function = copy(loss)
        function.reduction = "none"
    losses: torch.Tensor = function(output, targets)
    if losses.ndim == 0:
        return losses * len(targets)
    return losses.reshape(len(losses), -1).mean(dim=1).sum()
