"""The gradient of a loss with respect to what layers put out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from runner.capture.calls import Call


def add_gradients(calls: list[Call], loss: Any, tape: tf.GradientTape) -> None:
    """Give every call the gradients of a loss with respect to its outputs.

    Parameters
    ----------
    calls
        All calls of a forward pass that was recorded on the tape, the model's own the last.
    loss
        A single number, recorded too.
    tape
        Has watched all outputs of floating point; it is used up.
    """
    *calls, root = calls
    graph = getattr(loss, "graph", None)
    sources = {
        id(tensor): tensor
        for call in calls
        for _, tensor in call.outputs
        if call.loop is None and _has_gradient(tensor, graph)
    }
    found = tape.gradient(loss, list(sources.values()))
    gradients = {
        key: None if gradient is None else tf.convert_to_tensor(gradient)
        for key, gradient in zip(sources, found, strict=True)
    }
    returned = {id(tensor) for _, tensor in root.outputs}
    for call in calls:
        for place, tensor in call.outputs:
            gradient = gradients.get(id(tensor))
            if gradient is not None:
                call.gradients.append((place, gradient))
            elif call.loop is None:
                call.no_gradient = _why_none(tensor, graph, is_output=id(tensor) in returned)


def _has_gradient(tensor: Any, graph: Any) -> bool:
    return (
        isinstance(tensor, tf.Tensor)
        and tensor.dtype.is_floating
        and getattr(tensor, "graph", None) is graph
    )


def _why_none(tensor: Any, graph: Any, *, is_output: bool) -> str:
    if not _has_gradient(tensor, graph):
        return "no gradient: its output is no floating-point tensor of this graph"
    operation = "" if tf.executing_eagerly() else tensor.op.type
    if is_output and (hasattr(tensor, "_keras_logits") or operation in ("Softmax", "Sigmoid")):
        return "no gradient: the loss is computed from the logits that its activation was given"
    return "no gradient: the loss does not depend on it"
