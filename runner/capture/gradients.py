"""The gradient of a loss with respect to the outputs of layers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from runner.capture.calls import Call, Leaf, Observer, leaves
from runner.model.keras_internals import copy_notes, has_logits


class Gradients(Observer):
    """Prepares a forward pass for the gradient of a loss at every layer's output.

    A layer may return its input tensor unchanged (Dropout outside training), and a tensor
    may be used in other places too. Its gradient would include them all. The value passed
    on from every call is therefore a new tensor, equal to the one that the layer returned.
    The calls keep the layers' own tensors, so that identical tensors stay identical.

    Parameters
    ----------
    tape
        The tape that records the pass.
    """

    def __init__(self, tape: tf.GradientTape) -> None:
        self._tape = tape
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._stands_for: dict[int, tuple[Any, Any]] = {}
        self._apart: list[tuple[Call, list[Leaf]]] = []
        self._returned: Any = None
        self._output: Any = None

    def began(self, call: Call) -> None:
        """Note the layers' own tensors as the inputs of the call."""
        call.inputs = self._own(call.inputs)

    def ended(self, call: Call, returned: Any) -> Any:
        """Return a new tensor for every output, except the model's own."""
        call.outputs = self._own(call.outputs)
        if call.parent is None:
            self._returned = returned
            return returned
        if call.loop is not None:
            return returned
        if any(self._differentiable(tensor) for _, tensor in call.outputs):
            returned = keras.tree.map_structure(self._set_apart, returned)
        apart = leaves(returned)
        for _, tensor in apart:
            if self._differentiable(tensor):  # also in a mapping unknown to Keras
                self._tape.watch(tensor)
        self._apart.append((call, apart))
        return returned

    @property
    def output(self) -> Any:
        """The model's output, for a loss.

        Keras computes a crossentropy from the logits of a softmax, which it finds by the
        operation that made its tensor.
        """
        if self._output is None:
            [(_, output)] = leaves(self._returned)
            own = self._stands_for.get(id(output), (None, output))[1]
            by_type = _operation_type(own) in ("Softmax", "Sigmoid")
            self._output = own if by_type and not has_logits(own) else output
        return self._output

    def add(self, loss: Any) -> None:
        """Set the gradients of every call with respect to its outputs.

        Parameters
        ----------
        loss
            The loss, a single number recorded on the tape, which can be used only once.
        """
        sources = {
            id(tensor): tensor
            for _, apart in self._apart
            for _, tensor in (*apart, (None, self.output))
            if self._differentiable(tensor)
        }
        found = dict(zip(sources, self._tape.gradient(loss, list(sources.values())), strict=True))
        returned = {id(own) for _, own in self._own(leaves(self._returned))}
        behind = _operations_behind(loss)
        for call, apart in self._apart:
            for (place, own), (_, tensor) in zip(call.outputs, apart, strict=True):
                gradient = found.get(id(tensor))
                if gradient is None and own is self.output:
                    gradient = found.get(id(own))
                if gradient is not None:
                    call.gradients.append((place, tf.convert_to_tensor(gradient)))
                else:
                    is_output = id(own) in returned
                    call.no_gradient[place] = self._why_none(own, behind, is_output=is_output)

    def _own(self, tensors: list[Leaf]) -> list[Leaf]:
        return [(place, self._stands_for.get(id(t), (t, t))[1]) for place, t in tensors]

    def _set_apart(self, leaf: Any) -> Any:
        if not self._differentiable(leaf):
            return leaf
        apart = tf.identity(leaf)
        copy_notes(apart, leaf)
        self._stands_for[id(apart)] = apart, self._stands_for.get(id(leaf), (leaf, leaf))[1]
        return apart

    def _differentiable(self, tensor: Any) -> bool:
        return (
            isinstance(tensor, tf.Tensor)
            and tensor.dtype.is_floating
            and getattr(tensor, "graph", None) is self._graph
        )

    def _why_none(self, own: Any, behind: set[Any] | None, *, is_output: bool) -> str:
        if not self._differentiable(own):
            return "no gradient: its output is not a floating-point tensor of this graph"
        logits = has_logits(own) or _operation_type(own) in ("Softmax", "Sigmoid")
        if is_output and logits:
            return "no gradient: the loss is computed from the logits before its activation"
        if behind is not None and own.op not in behind:
            return "no gradient: the loss does not depend on it"
        return "no gradient: none is passed back to it from the loss"


def _operation_type(tensor: Any) -> str:
    """Return the type of the graph operation that made a tensor."""
    return "" if tf.executing_eagerly() else str(tensor.op.type)


def _operations_behind(loss: Any) -> set[Any] | None:
    """Return every operation that a loss depends on; ``None`` outside a graph."""
    if tf.executing_eagerly():
        return None
    found, waiting = {loss.op}, [loss.op]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found
