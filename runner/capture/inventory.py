"""What there is to capture in one forward pass, and what is kept of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from runner.tensors import Kind, LeftOut, TensorSpec
from runner.wiring import CallWiring

_NOT_SELECTED = "left out by the selection"
_LACKING: dict[Kind, str] = {
    "gradient": "no gradient: it runs inside a loop",
    "input": "it was called on no tensor",
    "pre_activation": "its output is not what an activation function was called for",
}


@dataclass(frozen=True)
class Layer:
    """One layer of a captured model.

    Attributes
    ----------
    path
        Its layer path.
    layer_class
        Name of its class.
    order
        Position of its first call among all calls; ``None`` if it was never called.
    reason
        Why nothing that it put out was captured; ``None`` where something was.
    no_gradient
        Why an output has no gradient, where gradients were asked for.
    arguments
        What it was made with (see `runner.capture.connections.arguments_of`).
    calls
        What it was called on, call by call.
    left_out
        Each of its tensors that was asked for and has no table, with the reason.
    """

    path: str
    layer_class: str
    order: int | None
    reason: str | None
    no_gradient: str | None = None
    arguments: dict[str, Any] | None = None
    calls: tuple[CallWiring, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass
class Entry:
    """A layer of which not everything is known yet."""

    layer: Layer
    kept: set[tuple[Kind, str]] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)


class Inventory:
    """Every layer and tensor of a model, sorted into kept and left out.

    What becomes of a tensor is decided once, for the tensor: the layers that hand on the very
    same one share its table, or the reason why it has none.

    Parameters
    ----------
    kinds
        The kinds of tensors that were asked for.

    Attributes
    ----------
    tensors : list[TensorSpec]
        What is kept, in call order; shapes are filled in when values are there.
    aliases : list[tuple[TensorSpec, int]]
        What would have been kept but is the very same tensor as one of `tensors`:
        each with the position of that one.
    weights : list[tuple[TensorSpec, variable]]
        Every kept weight with its ``keras.Variable``, or ``tf.Variable``.
    plain_variables : list[tf.Variable]
        Those of all layers that are no weights of Keras, kept or not.
    weight_aliases : list[tuple[TensorSpec, TensorSpec]]
        Kept weights that an earlier layer path has already, each with that one.
    candidates : list[TensorSpec]
        All that a selection can choose from.
    refused : list[tuple[TensorSpec, str]]
        All that it cannot, with the reason.
    outputs : tuple[str, ...]
        Names of the activations that the model itself returns.
    entries : dict[str, Entry]
        What is known of each layer so far, by its path.
    """

    def __init__(self, kinds: frozenset[Kind] = frozenset()) -> None:
        self.tensors: list[TensorSpec] = []
        self.aliases: list[tuple[TensorSpec, int]] = []
        self.weights: list[tuple[TensorSpec, Any]] = []
        self.weight_aliases: list[tuple[TensorSpec, TensorSpec]] = []
        self.plain_variables: list[tf.Variable] = []
        self.candidates: list[TensorSpec] = []
        self.refused: list[tuple[TensorSpec, str]] = []
        self.outputs: tuple[str, ...] = ()
        self.entries: dict[str, Entry] = {}
        # Those that count as what a layer put out.
        self._kinds: frozenset[Kind] = kinds & {"activation"} or kinds - {"weight"}

    @property
    def layers(self) -> dict[str, Layer]:
        """Every layer by its path: the called ones in call order, then the others."""
        return {path: self._settled(entry) for path, entry in self.entries.items()}

    def leave_out(self, position: int, reason: str) -> None:
        """Note why one of `tensors` is not captured after all, under all of its names."""
        names = [self.tensors[position], *(spec for spec, at in self.aliases if at == position)]
        for spec in names:
            entry = self.entries[spec.layer_path]
            entry.kept.discard((spec.kind, spec.name))
            entry.left_out.append(LeftOut(spec.name, spec.kind, reason))

    def why_nothing(self, found: set[Kind]) -> str:
        """Return why nothing is captured of a call that gave tensors of some kinds, all fit."""
        if "activation" not in found:
            return "it returned nothing"
        lacking = self._kinds - found
        return _LACKING[min(lacking)] if lacking and lacking == self._kinds else _NOT_SELECTED

    def _settled(self, entry: Entry) -> Layer:
        reason: str | None = None
        if not any(kind in self._kinds for kind, _ in entry.kept):
            asked = [one.reason for one in entry.left_out if one.kind in self._kinds]
            reason = next(iter(asked), entry.layer.reason)
        return dataclasses.replace(entry.layer, reason=reason, left_out=tuple(entry.left_out))


def value_of(variable: Any) -> np.ndarray:
    """Return the value of a ``keras.Variable`` or ``tf.Variable``, in its own dtype and shape."""
    value = variable.value() if isinstance(variable, tf.Variable) else variable.value
    return np.asarray(tf.convert_to_tensor(value).numpy())
