"""Selects the tensors of every call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from runner.capture.call import Call, Leaf, Observer, tensors_of
from runner.capture.selection import Selection
from runner.tensors import Kind, TensorSpec


@dataclass(frozen=True)
class Absent:
    """A placeholder for a missing tensor, with the reason."""

    reason: str


@dataclass(frozen=True, eq=False)
class Found:
    """A tensor of a call.

    Attributes
    ----------
    spec
        Its description; its shape and its place among all calls are not known yet. Its name
        has the index of every call: ``block@0/dense@1``.
    tensor
        The tensor, or `Absent`.
    kept
        Whether it is selected.
    reduction
        How it is reduced; ``None`` if it is stored whole.
    """

    spec: TensorSpec
    tensor: Any
    kept: bool
    reduction: str | None


_BEFORE_GRADIENTS: tuple[Kind, ...] = ("activation", "pre_activation", "input")


class Selecting(Observer):
    """Selects from the tensors that a call was given, and from those that it returned.

    Parameters
    ----------
    selection
        Which tensors to keep.
    is_tensor
        Function that returns whether a value is a tensor.
    """

    def __init__(self, selection: Selection, is_tensor: Callable[[Any], bool]) -> None:
        self._selection = selection
        self._is_tensor = is_tensor
        self._found: dict[Call, list[Found]] = {}

    def ended(self, call: Call, returned: Any) -> Any:
        """Select from the tensors of a call. Its gradients are not known yet."""
        if not call.layer_path:  # the model's own
            return returned
        self._found[call] = [
            found
            for kind in _BEFORE_GRADIENTS
            for found in self._select(call, kind, tensors_of(call, kind, self._is_tensor))
        ]
        return returned

    def of(self, call: Call) -> list[Found]:
        """Return the tensors of a call, once its gradients are known."""
        gradients = [
            *call.gradients,
            *((place, Absent(reason)) for place, reason in call.no_gradient.items()),
        ]
        found, count = self._found[call], len(call.outputs)
        return [*found[:count], *self._select(call, "gradient", gradients), *found[count:]]

    def _select(self, call: Call, kind: Kind, tensors: Iterable[Leaf]) -> Iterable[Found]:
        for output, tensor in tensors:
            spec = TensorSpec(
                name=call.indexed if output is None else f"{call.indexed}:{output}",
                kind=kind,
                layer_path=call.layer_path,
                layer_class=type(call.operation).__name__,
                call=call.index,
                output=output,
                shape=(),
                dtype="",
                order=0,  # not known yet
            )
            selection = self._selection
            is_output = selection.outputs and kind == "activation" and call.parent is None
            kept = is_output or selection.keeps(spec)
            yield Found(spec, tensor, kept, selection.reduction(spec))
