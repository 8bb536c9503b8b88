"""The heads of attention, and the tensor that holds their values before they are joined."""

from __future__ import annotations

from dataclasses import dataclass

from runner.capture.call import Call
from runner.capture.changing import Output
from runner.tensors import TensorSpec


@dataclass(frozen=True)
class Heads:
    """The heads of one call of an attention layer.

    Attributes
    ----------
    name
        The path of the call.
    layer
        The output of the layer, named as in `runner.capture.selecting.Found`.
    count
        The number of heads.
    joined
        The tensor that holds the heads one after another: the input of the layer's output
        projection, or the layer's output if it has none. The heads are its axis ``head``, or equal
        parts of its units.
    """

    name: str
    layer: TensorSpec
    count: int
    joined: Output

    @classmethod
    def of(cls, call: Call, count: int, joined: Output) -> Heads:
        """Return the heads of a call."""
        return cls(call.name, layer_of(call), count, joined)


def layer_of(call: Call) -> TensorSpec:
    """Return the output of an attention layer, as a pattern of interventions names it."""
    return TensorSpec(
        name=call.indexed,
        kind="activation",
        layer_path=call.layer_path,
        layer_class=type(call.operation).__name__,
        call=call.index,
        output=None,
        shape=(),
        dtype="",
        order=0,
    )
