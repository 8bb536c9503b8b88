"""The names of a tensor's axes, inferred from its layer and from the calls before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from runner.capture.call import Call
from runner.capture.changing import Output
from runner.capture.heads import Heads
from runner.model.backend import framework
from runner.model.keras_internals import is_own_layer

Names = tuple[str, ...]

_SPATIAL: dict[int, Names] = {
    0: (),
    1: ("time",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}
_ATTENTION = tuple(
    getattr(keras.layers, name)
    for name in ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
    if hasattr(keras.layers, name)
)
# Keras layers whose output has the same axes as their input, of any length.
_KEEPING = tuple(
    getattr(keras.layers, name)
    for name in (
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Identity", "Masking"),
        *("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        *("BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization"),
        *("RMSNormalization", "SpectralNormalization", "Normalization", "Rescaling"),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
        *("ZeroPadding1D", "Cropping1D", "UpSampling1D"),
    )
    if hasattr(keras.layers, name)
)


def named_axes(calls: Sequence[Call]) -> dict[int, Names | None]:
    """Return the names of the axes of all inputs and outputs of layers.

    Parameters
    ----------
    calls
        All calls of a forward pass, in the order of completion.

    Returns
    -------
    dict
        Identity of a tensor to the names of its axes, without the sample axis: ``height``,
        ``width``, ``depth``, ``time``, ``position``, ``channel``, ``unit``, ``head``,
        ``query``, ``key``; ``i0``, ``i1``... for an unknown axis. ``None`` if no axis is
        known.
    """
    naming = _Naming()
    naming.forward(calls)
    if naming.backward(calls):  # a layer's expected input names its producer's output
        naming.forward(calls)
    return naming.names


class _Naming:
    def __init__(self) -> None:
        self.names: dict[int, Names | None] = {}
        self._nameless: dict[int, Any] = {}  # tensors behind which no name is known

    def _name(self, tensor: Any, names: Names | None) -> None:
        self.names[id(tensor)] = names
        if names is not None:
            self._nameless.clear()

    def forward(self, calls: Sequence[Call]) -> None:
        """Name the axes of outputs from those of inputs."""
        for call in calls:
            if call.loop is not None:
                continue
            for _, tensor in call.inputs:
                rank = _rank(tensor)
                if rank is not None and self.names.get(id(tensor)) is None:
                    self._name(tensor, self._asked(call, rank) or self._behind(tensor))
            for place, tensor in call.outputs:
                rank = _rank(tensor)
                if rank is not None and self.names.get(id(tensor)) is None:
                    self._name(tensor, self._given(call, place, tensor, rank))

    def backward(self, calls: Sequence[Call]) -> bool:
        """Name the axes of inputs from those of outputs, where the layer keeps the axes."""
        found = False
        for call in reversed(calls):
            if not isinstance(call.operation, _KEEPING) or call.loop is not None:
                continue
            names = [self.names.get(id(tensor)) for _, tensor in call.outputs]
            for _, tensor in call.inputs:
                rank = _rank(tensor)
                known = names and names[0] is not None and len(names[0]) == rank
                if known and self.names.get(id(tensor)) is None:
                    self._name(tensor, names[0])
                    found = True
        return found

    def _asked(self, call: Call, rank: int) -> Names | None:
        """Return the names of the axes that a layer expects of its input."""
        layer = call.operation
        if rank == 3 and joins_heads(call):
            return "position", "head", "unit"
        if _of_keras(layer) and not isinstance(layer, (keras.layers.Flatten, keras.layers.RNN)):
            return _by_format(layer, rank)
        return None

    def _given(self, call: Call, place: str | None, tensor: Any, rank: int) -> Names | None:
        """Return the names of the axes of an output."""
        found: Names | None = None
        if _of_keras(call.operation):
            given = tuple(self.names.get(id(t)) for _, t in call.inputs if _rank(t) is not None)
            inside = call.parent is not None and isinstance(call.parent.operation, _ATTENTION)
            found = _by_layer(_Output(call.operation, place, rank, given, inside))
        elif rank > 1:  # a custom layer that has a data format
            found = _by_format(call.operation, rank)
        if found is None:
            found = self._behind(tensor)
        return found if found is not None and len(found) == rank else None

    def _behind(self, tensor: Any) -> Names | None:
        """Return the axes of a tensor in the graph from which this one is made elementwise."""
        if id(tensor) in self._nameless:
            return None
        rank, waiting, seen = _rank(tensor), [tensor], {id(tensor): tensor}
        while waiting:
            for source in reversed(framework().elementwise_sources(waiting.pop())):
                known = id(source) in seen or id(source) in self._nameless
                if known or _rank(source) != rank:
                    continue
                seen[id(source)] = source
                names = self.names.get(id(source))
                if names is not None:
                    return names
                waiting.append(source)
        self._nameless |= seen
        return None


@dataclass(frozen=True)
class _Output:
    """An output of a Keras layer, with the known names of the axes of its inputs."""

    layer: Any
    place: str | None
    rank: int
    given: tuple[Names | None, ...]
    in_attention: bool = False

    def kept(self, rank: int | None = None) -> Names | None:
        """Return the names of the first input of the same rank."""
        rank = self.rank if rank is None else rank
        return next((names for names in self.given if names and len(names) == rank), None)

    def positions(self) -> Names:
        """Return the names of all axes but the last, for a layer that acts on the last axis."""
        known = self.kept()
        if known is not None:
            return known[:-1]
        if self.rank <= 2:
            return ("position",) * (self.rank - 1)
        return tuple(f"i{axis}" for axis in range(self.rank - 1))


def heads_in(calls: Sequence[Call]) -> list[Heads]:
    """Return the heads of all calls of attention layers."""
    found = []
    for call in calls:
        if call.loop is None and joins_heads(call):
            [(_, tensor)] = call.inputs
            assert call.parent is not None
            joined = Output(call.layer_path, call.index, None, "input")
            found.append(Heads.of(call.parent, int(tensor.shape[-2]), joined))
    return found


def joins_heads(call: Call) -> bool:
    """Return whether a call is that of the output projection inside an attention layer."""
    inside = call.parent is not None and isinstance(call.parent.operation, _ATTENTION)
    return inside and call.segment == "attention_output"


def _by_layer(output: _Output) -> Names | None:
    """Return the axes of the output of a Keras layer."""
    for classes, rule in _RULES:
        if isinstance(output.layer, classes):
            return rule(output)
    return _by_format(output.layer, output.rank)


def _by_format(layer: Any, rank: int) -> Names | None:
    """Return the axes of feature maps, by a layer's ``data_format``."""
    data_format = getattr(layer, "data_format", None)
    spatial = _SPATIAL.get(rank - 1)
    if data_format not in ("channels_first", "channels_last") or spatial is None:
        return None
    return ("channel", *spatial) if data_format == "channels_first" else (*spatial, "channel")


def _keeping(output: _Output) -> Names | None:
    if output.in_attention and output.rank == 3:  # its softmax and dropout
        return "head", "query", "key"
    return output.kept() or _by_normalized_axis(output)


def _by_normalized_axis(output: _Output) -> Names | None:
    """Return the axes of feature maps that a normalization layer takes as channels first."""
    normal = keras.layers.BatchNormalization, keras.layers.GroupNormalization
    spatial = _SPATIAL.get(output.rank - 1)
    first = isinstance(output.layer, normal) and output.layer.axis == 1 and output.rank > 1
    return ("channel", *spatial) if first and spatial is not None else None


def _dense(output: _Output) -> Names | None:
    if output.in_attention and output.rank == 3:  # queries, keys and values
        return "position", "head", "unit"
    return (*output.positions(), "unit")


def _embedding(output: _Output) -> Names | None:
    return (*(output.kept(output.rank - 1) or output.positions()), "unit")


def _multi_head_attention(output: _Output) -> Names | None:
    if output.place == "1":
        return ("head", "query", "key") if output.rank == 3 else None
    return (*output.positions(), "unit")


def _attention(output: _Output) -> Names | None:
    if output.place == "1":
        return ("query", "key") if output.rank == 2 else None
    return (*output.positions(), "unit")


def _recurrent(output: _Output) -> Names | None:
    layer = getattr(output.layer, "forward_layer", output.layer)  # in a Bidirectional
    cell = getattr(layer, "cell", None)
    maps = getattr(cell, "rank", 0)
    row = _by_format(cell, maps + 1) if maps else ("unit",)
    return row if row is None or output.rank == len(row) else ("time", *row)


def _distributed(output: _Output) -> Names | None:
    below = tuple(names and names[1:] for names in output.given)
    inner = _Output(output.layer.layer, output.place, output.rank - 1, below)
    names = _by_layer(inner) if _of_keras(inner.layer) else None
    return ("time", *(names or tuple(f"i{axis}" for axis in range(1, output.rank))))


def _permuted(output: _Output) -> Names | None:
    known = output.kept()
    return known and tuple(known[axis - 1] for axis in output.layer.dims)


def _flat(output: _Output) -> Names | None:
    return ("unit",) if output.rank == 1 else None


_RULES: tuple[tuple[Any, Callable[[_Output], Names | None]], ...] = (
    (_ATTENTION, _multi_head_attention),
    ((keras.layers.Attention, keras.layers.AdditiveAttention), _attention),
    (_KEEPING, _keeping),
    ((keras.layers.Dense, keras.layers.EinsumDense), _dense),
    (keras.layers.Embedding, _embedding),
    ((keras.layers.RNN, keras.layers.Bidirectional), _recurrent),
    (keras.layers.TimeDistributed, _distributed),
    (keras.layers.Permute, _permuted),
    ((keras.layers.Flatten, keras.layers.Reshape), _flat),
    (keras.layers.RepeatVector, lambda _: ("time", "unit")),
)


def _of_keras(layer: Any) -> bool:
    """Return whether a layer is one of Keras's own, or wraps one."""
    return any(is_own_layer(cls) for cls in type(layer).__mro__ if cls is not keras.Layer)


def _rank(tensor: Any) -> int | None:
    """Return the rank of one sample; ``None`` if it is no tensor, or has no sample axis."""
    shape = framework().shape_of(tensor)
    return len(shape) - 1 if shape else None
