"""What a Keras model requires of the size of its batches."""

from __future__ import annotations

import keras

from runner.model.keras_internals import all_layers


def fixed_batch(model: keras.Model) -> int | None:
    """Return the batch size that the model's inputs require, if they have one."""
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or []} - {None}
    return min(sizes, default=None)


def has_states(model: keras.Model) -> bool:
    """Return whether layers of a model keep a state for each position in a batch."""
    return any(getattr(layer, "stateful", False) for layer in all_layers(model))


def has_fixed_batches(model: keras.Model) -> bool:
    """Return whether a model's tensors require batches of one size."""
    return has_states(model) or fixed_batch(model) is not None
