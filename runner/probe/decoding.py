"""Pictures decoded and resized as Keras does it: by TensorFlow. Imports it."""

from __future__ import annotations

import functools
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from runner.errors import InputError

Fit = Literal["stretch", "crop", "pad"]

# The formats that `keras.utils.image_dataset_from_directory` takes, by Pillow's name, and
# the channels that TensorFlow can give. (A BMP holds its pixels as they are.)
_DECODED: dict[str, tuple[int, ...]] = {
    "JPEG": (1, 3),
    "MPO": (1, 3),  # a JPEG with further pictures behind it
    "PNG": (1, 3, 4),
    "GIF": (3,),
}

# These leave a picture as it is that has the size already; the others blur or sharpen it.
_KEEPING = ("bilinear", "nearest", "area")


def decoded(data: bytes, kind: str, mode: str, channels: int) -> np.ndarray | None:
    """Decode a picture as Keras does.

    Parameters
    ----------
    data
        The file's content.
    kind, mode
        Its format and its colours, by Pillow's names.
    channels
        1, 3 or 4.

    Returns
    -------
    ndarray or None
        Shape (height, width, channels), uint8; ``None`` for what Keras does not read.

    Raises
    ------
    ValueError
        If the picture is damaged.
    """
    if channels not in _DECODED.get(kind, ()) or (mode, channels) == ("CMYK", 1):
        return None
    try:
        with tf.device("CPU:0"):
            pixels = tf.io.decode_image(data, channels=channels, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("TensorFlow cannot decode it") from error
    return np.asarray(pixels)


def resized(
    picture: np.ndarray, height: int, width: int, interpolation: str, fit: Fit
) -> np.ndarray:
    """Resize a picture as `keras.utils.image_dataset_from_directory` does.

    Parameters
    ----------
    picture
        Shape (height, width, channels), uint8.
    height, width
        The new size.
    interpolation
        One of Keras's methods.
    fit
        What becomes of a picture of other proportions: it is stretched, cropped about its
        centre, or padded with black.

    Returns
    -------
    ndarray
        Shape (height, width, channels), float32.

    Raises
    ------
    InputError
        If Keras cannot crop with that interpolation.
    """
    if picture.shape[:2] == (height, width) and interpolation in _KEEPING:
        return picture.astype("float32")
    resize = _resize(picture.shape[-1], height, width, interpolation, fit)
    with tf.device("CPU:0"):
        return np.asarray(resize(picture), dtype="float32")


@functools.cache
def _resize(channels: int, height: int, width: int, interpolation: str, fit: Fit) -> Any:
    """Return the function of a graph that resizes; its input's size is open, as Keras's is."""
    size = (height, width)

    def resize(picture: Any) -> Any:
        if fit == "crop":
            return keras.preprocessing.image.smart_resize(
                picture, size, interpolation=interpolation
            )
        if fit == "pad":
            return tf.image.resize_with_pad(picture, *size, method=interpolation)
        return tf.image.resize(picture, size, method=interpolation)

    traced = tf.function(resize, autograph=False)
    try:
        return traced.get_concrete_function(tf.TensorSpec((None, None, channels), tf.uint8))
    except ValueError as error:
        raise InputError.of(
            "probe.interpolation",
            f"Keras does not crop with {interpolation}",
            "use bilinear, nearest, bicubic, lanczos3 or lanczos5",
        ) from error
