"""The loss that every sample has by itself."""

from __future__ import annotations

from typing import Any

import keras


def total_loss(loss: Any, targets: Any, output: Any) -> Any:
    """Return the losses of all samples, added up.

    The gradient of the sum is, for a sample, that of its own loss: it does not depend on
    how many others it is shown with, as that of a batch's mean would. The reduction of the
    loss is therefore left aside, and so are weights of samples and classes, and what
    layers add to the loss of a batch, such as regularizers.

    Parameters
    ----------
    loss
        As given to ``compile``: an object, a function or a name.
    targets
        Shape (sample, ...), as the loss takes them.
    output
        The model's output, shape (sample, ...).

    Returns
    -------
    tensor
        A single number. The loss of a sample is the mean over whatever axes the loss has
        left beside that of the samples, as it would be in a batch of this one sample.
    """
    function = keras.losses.get(loss) if isinstance(loss, str) else loss
    mask = getattr(output, "_keras_mask", None)
    if isinstance(function, keras.losses.Loss):
        # As its __call__ does before it reduces.
        given = keras.ops.convert_to_tensor(targets, dtype=function.dtype)
        losses = function.call(given, keras.ops.convert_to_tensor(output, dtype=function.dtype))
    else:
        losses = function(targets, output)
    counted = getattr(losses, "_keras_mask", None)
    if counted is not None:
        mask = counted if mask is None else keras.ops.logical_and(mask, counted)
    if len(losses.shape) == 0:  # a function that is a mean over the batch already
        return losses * keras.ops.cast(keras.ops.shape(output)[0], losses.dtype)
    if mask is None:
        mask = keras.ops.ones_like(losses)
    mask = keras.ops.broadcast_to(keras.ops.cast(mask, losses.dtype), keras.ops.shape(losses))
    rest = tuple(range(1, len(losses.shape)))
    count = keras.ops.maximum(keras.ops.sum(mask, axis=rest), 1) if rest else 1
    return keras.ops.sum(keras.ops.sum(losses * mask, axis=rest) / count)
