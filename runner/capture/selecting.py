"""Selects the tensors of every call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runner.capture.calls import Call, Leaf, Observer
from runner.capture.selection import Selection
from runner.model.backend import framework
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
        Its description, without its shape and its place among all calls, named by the call
        path with the index of every call in it: ``block@0/dense@1``.
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


class Selecting(Observer):
    """Selects from the tensors that a call was given, and from those that it returned.

    Parameters
    ----------
    selection
        Which tensors to keep.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._found: dict[Call, list[Found]] = {}

    def ended(self, call: Call, returned: Any) -> Any:
        """Select from the tensors of a call. Its gradients are not known yet."""
        if call.parent is None:  # the model's own
            return returned
        given = [leaf for leaf in call.inputs if framework().is_tensor(leaf[1])]
        if len(given) == 1:
            given = [(None, given[0][1])]
        before = [] if call.pre_activation is None else [(None, call.pre_activation)]
        self._found[call] = [
            *self._select(call, "activation", call.outputs),
            *self._select(call, "pre_activation", before),
            *self._select(call, "input", given),
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
            yield Found(spec, tensor, selection.keeps(spec), selection.reduction(spec))
