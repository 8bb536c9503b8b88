"""The layers and tensors of one forward pass, and which of them are kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from runner.capture.heads import Heads
from runner.tensors import KINDS, PER_SAMPLE, Kind, LeftOut, TensorSpec
from runner.wiring import CallWiring

NOT_SELECTED = "left out by the selection"
"""Why a layer has no tensor that could have been kept."""


@dataclass(frozen=True)
class Layer:
    """One layer of a captured model.

    Attributes
    ----------
    path
        Layer path.
    layer_class
        Name of the layer's class.
    order
        Position of its first call among all calls; ``None`` if it was never called.
    reason
        Why no output of it was captured; ``None`` if one was.
    no_gradient
        Why an output has no gradient, if gradients were requested.
    arguments
        Arguments of the layer (see `runner.keras_models.connections.arguments_of`).
    calls
        The inputs of each of its calls.
    left_out
        Its requested tensors that have no table, each with the reason.
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
    """A layer whose record is not complete yet."""

    layer: Layer
    kept: set[tuple[Kind, str]] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)


class Inventory:
    """Every layer and tensor of a model, sorted into kept and left out.

    Whether a tensor is kept is decided once per tensor: the layers that return the same
    tensor share its table, or the reason why it has none.

    Parameters
    ----------
    kinds
        The requested kinds of tensors.

    Attributes
    ----------
    tensors : list[TensorSpec]
        The kept tensors, in call order; shapes are set once values are available.
    aliases : list[tuple[TensorSpec, int]]
        Selected tensors that are identical to one of `tensors`, each with the position of
        that one.
    weights : list[tuple[TensorSpec, variable]]
        Every kept weight with its ``keras.Variable``, or the framework's.
    plain_variables : list[Any]
        Variables of all layers that are not weights of Keras, kept or not.
    weight_aliases : list[tuple[TensorSpec, TensorSpec]]
        Kept weights that belong to an earlier layer path too, each with that one.
    candidates : list[TensorSpec]
        All tensors that a selection can choose from, those of calls named as in
        `runner.capture.selecting.Found`.
    refused : list[tuple[TensorSpec, str]]
        All tensors that it cannot choose, with their names and the reason in words.
    outputs : tuple[str, ...]
        Names of the activations that the model itself returns.
    entries : dict[str, Entry]
        The incomplete record of each layer, by its path.
    returned : list[int]
        Positions in `tensors` of what the model itself returns, if that is selected.
    heads : list[Heads]
        The heads of all calls of attention layers.
    refused_heads : list[tuple[TensorSpec, str]]
        The layers whose heads cannot be changed, and the reason in words.
    """

    def __init__(self, kinds: frozenset[Kind] = frozenset()) -> None:
        self.tensors: list[TensorSpec] = []
        self.aliases: list[tuple[TensorSpec, int]] = []
        self.weights: list[tuple[TensorSpec, Any]] = []
        self.weight_aliases: list[tuple[TensorSpec, TensorSpec]] = []
        self.plain_variables: list[Any] = []
        self.candidates: list[TensorSpec] = []
        self.refused: list[tuple[TensorSpec, str]] = []
        self.returned: list[int] = []
        self.outputs: tuple[str, ...] = ()
        self.heads: list[Heads] = []
        self.refused_heads: list[tuple[TensorSpec, str]] = []
        self.entries: dict[str, Entry] = {}
        # Kinds that count as outputs of a layer.
        self._kinds: frozenset[Kind] = kinds & {"activation"} or kinds & PER_SAMPLE

    @property
    def layers(self) -> dict[str, Layer]:
        """Every layer by its path: those called in call order, then the others."""
        return {path: self._settled(entry) for path, entry in self.entries.items()}

    def leave_out(self, position: int, reason: str) -> None:
        """Note why one of `tensors` is not captured after all, under all of its names."""
        names = [self.tensors[position], *(spec for spec, at in self.aliases if at == position)]
        for spec in names:
            entry = self.entries.get(spec.layer_path)
            if entry is None:  # what the model itself returns
                continue
            entry.kept.discard((spec.kind, spec.name))
            entry.left_out.append(LeftOut(spec.name, spec.kind, reason))

    def why_nothing(self, found: set[Kind]) -> str:
        """Return why no tensor of a call is captured, given the kinds of its valid tensors."""
        if "activation" not in found:
            return "it returned nothing"
        lacking = self._kinds - found
        if lacking and lacking == self._kinds:
            return KINDS[min(lacking)].lacking
        return NOT_SELECTED

    def _settled(self, entry: Entry) -> Layer:
        reason: str | None = None
        if not any(kind in self._kinds for kind, _ in entry.kept):
            asked = [one.reason for one in entry.left_out if one.kind in self._kinds]
            reason = next(iter(asked), entry.layer.reason)
        return dataclasses.replace(entry.layer, reason=reason, left_out=tuple(entry.left_out))
