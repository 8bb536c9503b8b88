"""Decoding and resizing of pictures as in Keras, with TensorFlow; imports it."""

from __future__ import annotations

import functools
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from runner.errors import InputError

Fit = Literal["stretch", "crop", "pad"]

# The formats of `keras.utils.image_dataset_from_directory`, by Pillow's name, and the numbers
# of channels that TensorFlow supports. (BMP is left to Pillow, since it stores plain pixels.)
_DECODED: dict[str, tuple[int, ...]] = {
    "JPEG": (1, 3),
    "MPO": (1, 3),  # a JPEG followed by further pictures
    "PNG": (1, 3, 4),
    "GIF": (3,),
}

# These do not change a picture that already has the size; the others blur or sharpen it.
_KEEPING = ("bilinear", "nearest", "area")


def decoded(data: bytes, kind: str, mode: str, channels: int) -> np.ndarray | None:
    """Return the pixels of a picture, decoded as in Keras.

    Parameters
    ----------
    data
        Content of the file.
    kind, mode
        Format and colour mode, by Pillow's names.
    channels
        Number of channels: 1, 3 or 4.

    Returns
    -------
    ndarray or None
        Shape (height, width, channels), uint8; ``None`` if Keras does not support the format.

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
    """Return a picture resized as by `keras.utils.image_dataset_from_directory`.

    Parameters
    ----------
    picture
        Shape (height, width, channels), uint8.
    height, width
        New size.
    interpolation
        One of Keras's methods.
    fit
        How to fit a picture of other proportions: stretch it, crop it about its centre, or
        pad it with black.

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
    """Return a traced function that resizes pictures of any size, as Keras's does."""
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
