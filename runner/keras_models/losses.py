"""The sum of the losses of single samples."""

from __future__ import annotations

from typing import Any

import keras

from runner.model.keras_internals import mask_of


def total_loss(loss: Any, targets: Any, output: Any) -> Any:
    """Return the sum of the losses of all samples.

    The gradient of the sum with respect to a sample is that of the sample's own loss: unlike
    the gradient of a batch mean, it does not depend on the batch size. The reduction of the
    loss is therefore ignored, and so are sample weights, class weights, and the losses that
    layers add for a batch, such as regularizers.

    Parameters
    ----------
    loss
        As given to ``compile``: an object, a function or a name.
    targets
        Shape (sample, ...), as required by the loss.
    output
        The model's output, shape (sample, ...).

    Returns
    -------
    tensor
        A single number. The loss of a sample is the mean over all remaining axes except the
        sample axis, as for a batch of this one sample.
    """
    function = keras.losses.get(loss) if isinstance(loss, str) else loss
    mask = mask_of(output)
    if isinstance(function, keras.losses.Loss):
        # As in its __call__, before the reduction.
        given = keras.ops.convert_to_tensor(targets, dtype=function.dtype)
        losses = function.call(given, keras.ops.convert_to_tensor(output, dtype=function.dtype))
    else:
        losses = function(targets, output)
    counted = mask_of(losses)
    if counted is not None:
        mask = counted if mask is None else keras.ops.logical_and(mask, counted)
    if len(losses.shape) == 0:  # the function returns a mean over the batch
        return losses * keras.ops.cast(keras.ops.shape(output)[0], losses.dtype)
    if mask is None:
        mask = keras.ops.ones_like(losses)
    mask = keras.ops.broadcast_to(keras.ops.cast(mask, losses.dtype), keras.ops.shape(losses))
    rest = tuple(range(1, len(losses.shape)))
    count = keras.ops.maximum(keras.ops.sum(mask, axis=rest), 1) if rest else 1
    return keras.ops.sum(keras.ops.sum(losses * mask, axis=rest) / count)
