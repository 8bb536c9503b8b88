"""The plain forward pass that everything is compared with: the framework's own, without Runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Pass = Callable[[np.ndarray], np.ndarray]

PASSES = {
    "tensorflow": "tf.function(model)",
    "jax": "jax.jit of model.stateless_call, block_until_ready",
    "torch": "the model under torch.no_grad",
}
"""The pass on each backend, in words."""


def plain_pass(model: Any, shape: tuple[int, ...], backend: str) -> Pass:
    """Return a function that shows a batch to a model, and returns the model's output.

    Parameters
    ----------
    model
        A Keras model, or a module of PyTorch.
    shape
        Axes of one sample.
    backend
        The framework that computes.
    """
    makers = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}
    return makers[backend](model, shape)


def _on_tensorflow(model: Any, shape: tuple[int, ...]) -> Pass:
    import tensorflow as tf

    forward = tf.function(lambda inputs: model(inputs, training=False))
    forward = forward.get_concrete_function(tf.TensorSpec((None, *shape), "float32"))
    return lambda batch: np.asarray(memoryview(forward(tf.convert_to_tensor(batch))))


def _on_jax(model: Any, shape: tuple[int, ...]) -> Pass:  # noqa: ARG001
    import jax

    trained, others = (
        [variable.value for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )
    forward = jax.jit(lambda *values: model.stateless_call(*values, training=False)[0])
    return lambda batch: np.asarray(jax.block_until_ready(forward(trained, others, batch)))


def _on_torch(model: Any, shape: tuple[int, ...]) -> Pass:  # noqa: ARG001
    import torch

    def forward(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(batch)))

    return forward
