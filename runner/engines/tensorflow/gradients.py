"""Gradients in TensorFlow, recorded on a tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from runner.engines.engine import Marks, Result
from runner.engines.tensorflow.tensors import current_graph, is_floating


def differentiated(run: Callable[[Marks], tuple[Any, Result]]) -> tuple[Result, _Gradients]:
    """Run a pass on a tape; the gradients of its loss can be asked for once."""
    tape = tf.GradientTape(watch_accessed_variables=False)
    marks = _Marks(tape)
    with tape:
        loss, result = run(marks)
    return result, _Gradients(tape, loss)


def shows_logits(tensor: Any) -> bool:
    """Return whether Keras finds the logits of a tensor by the operation that made it."""
    return not tf.executing_eagerly() and tensor.op.type in ("Softmax", "Sigmoid")


class _Marks:
    def __init__(self, tape: tf.GradientTape) -> None:
        self._tape = tape
        self._graph = current_graph()

    def fits(self, value: Any) -> bool:
        return is_floating(value) and getattr(value, "graph", None) is self._graph

    def apart(self, tensor: Any) -> Any:
        return tf.identity(tensor)

    def mark(self, tensor: Any) -> None:
        self._tape.watch(tensor)


class _Gradients:
    def __init__(self, tape: tf.GradientTape, loss: Any) -> None:
        self._tape = tape
        self._loss = loss
        self._behind = None if tf.executing_eagerly() else _operations_behind(loss)

    def at(self, tensors: Sequence[Any]) -> list[Any]:
        found = self._tape.gradient(self._loss, list(tensors))
        return [None if one is None else tf.convert_to_tensor(one) for one in found]

    def depends_on(self, tensor: Any) -> bool:
        return self._behind is None or tensor.op in self._behind


def _operations_behind(loss: Any) -> set[Any]:
    """Return every operation of the graph that a loss depends on."""
    found, waiting = {loss.op}, [loss.op]
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in found:
                found.add(tensor.op)
                waiting.append(tensor.op)
    return found
