"""Decoding of pictures with Pillow, to the pixels that Keras reads on TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.probe.jpeg import jpeg_pixels
from runner.probe.picture_work import check_work

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's colour mode by the number of channels."""

GRAYS = ("1", "L", "LA", "I", "I;16")
"""Pillow's colour modes of pictures without colours."""

_GRAY = (9797, 19234, 3737)  # shares of red, green and blue in brightness, in 32768ths
_SRGB = 0.45455


def decoded(opened: Any, channels: int) -> np.ndarray | None:
    """Return the pixels of a picture.

    Formats of `keras.utils.image_dataset_from_directory` have the pixels that it reads, others
    those of Pillow.

    Parameters
    ----------
    opened
        The picture, from `PIL.Image.open`; not loaded yet.
    channels
        Number of channels: 1, 3 or 4.

    Returns
    -------
    ndarray or None
        Shape (height, width, channels), uint8; ``None`` if its numbers have more than 8 bits,
        of which Pillow would clip those above 255.

    Raises
    ------
    ValueError
        If it takes far more work than its pixels suggest.
    """
    check_work(opened)
    pixels = None
    if opened.format in ("JPEG", "MPO"):
        pixels = jpeg_pixels(opened, channels)
    elif opened.format == "PNG":
        pixels = _png_pixels(opened, channels)
    elif opened.format == "GIF" and channels == 3:
        shown = np.asarray(opened.convert("RGBA"))
        pixels = np.where(shown[..., 3:] > 0, shown[..., :3], np.uint8(0))
    if pixels is None:
        if opened.mode.startswith(("I", "F")):
            return None
        pixels = np.asarray(opened.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _png_pixels(opened: Any, channels: int) -> np.ndarray | None:
    if opened.mode.startswith("I"):  # two bytes, of which the upper one counts
        gray = (np.asarray(opened) >> 8).astype("uint8")[..., None]
        opaque = np.full_like(gray, 255)
        return np.concatenate([gray, gray, gray, opaque], -1)[..., :channels]
    if channels > 1 or opened.mode in GRAYS:
        return None
    gamma = _SRGB if "srgb" in opened.info else opened.info.get("gamma", 1.0)
    return _brightness(np.asarray(opened.convert("RGB")), gamma)


def _brightness(rgb: np.ndarray, gamma: float) -> np.ndarray:
    """Return the brightness of colours as libpng computes it: of light, if the gamma is known."""
    levels = np.arange(256) / 255
    half, curves = 0, [np.arange(256)] * 2
    if abs(gamma - 1) >= 0.05:
        half = 1 << 14
        curves = [np.floor(255 * levels**power + 0.5).astype(int) for power in (1 / gamma, gamma)]
    light = curves[0][rgb] @ np.array(_GRAY) + half >> 15
    is_gray = (rgb == rgb[..., :1]).all(-1)
    return np.where(is_gray, rgb[..., 0], curves[1][light]).astype("uint8")
