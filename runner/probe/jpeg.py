"""Pixels of JPEG pictures as TensorFlow decodes them, with Pillow.

Both use libjpeg-turbo, TensorFlow with its faster transform. With that, Pillow repeats the colours
of a picture that stores them at a lower resolution: they are interpolated here, as libjpeg-turbo
does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# What a colour adds to brightness, in 65536ths (ITU-R BT.601), by the number that is stored.
_COLOUR = np.arange(256, dtype="int32") - 128
_HALF = 1 << 15
_RED, _BLUE = (((share * _COLOUR + _HALF) >> 16).astype("int16") for share in (91881, 116130))
_GREEN_OF_RED, _GREEN_OF_BLUE = -46802 * _COLOUR, -22554 * _COLOUR + _HALF
# As Pillow's draft mode, at full size: libjpeg-turbo's faster transform, no interpolation.
_FAST = (1, 1)


def jpeg_pixels(opened: Any, channels: int) -> np.ndarray | None:
    """Return the pixels of a JPEG.

    Parameters
    ----------
    opened
        The picture, from `PIL.Image.open`; not loaded yet.
    channels
        Number of channels: 1, 3 or 4.

    Returns
    -------
    ndarray or None
        Shape (height, width) or (height, width, 3), uint8; ``None`` if TensorFlow does not
        decode it so.
    """
    factors = [tuple(layer[1:3]) for layer in opened.layer]
    is_subsampled = len(set(factors)) > 1
    if channels == 4 or (opened.mode, channels) == ("CMYK", 1):
        return None
    if opened.mode == "CMYK":
        if not is_subsampled:
            opened.decoderconfig = _FAST
        inks = np.asarray(opened).astype("int32")
        rgb = (255 - inks[..., 3:]) * (255 - inks[..., :3]) // 255
        return np.asarray(rgb, "uint8")
    if channels == 1:
        opened.draft("L", None)
    elif is_subsampled and not _holds_rgb(opened):
        return _interpolated(opened, factors)
    if not is_subsampled or channels == 1:
        opened.decoderconfig = _FAST
    return np.asarray(opened.convert("L" if channels == 1 else "RGB"))


def _holds_rgb(opened: Any) -> bool:
    """Return whether a JPEG holds red, green and blue rather than brightness and colours."""
    names = bytes(layer[0] for layer in opened.layer)
    told = opened.info.get("adobe_transform")
    return "jfif" not in opened.info and (names == b"RGB" if told is None else told == 0)


def _interpolated(opened: Any, factors: list[tuple[int, int]]) -> np.ndarray:
    """Return red, green and blue, from colours of a lower resolution that are interpolated."""
    opened.draft("YCbCr", None)
    opened.decoderconfig = _FAST
    shown = np.asarray(opened)
    across, down = (max(sizes) for sizes in zip(*factors, strict=True))
    blue, red = (
        _enlarged(shown[..., place], across // factors[place][0], down // factors[place][1])
        for place in (1, 2)
    )
    luma = shown[..., 0].astype("int16")
    added = (_RED[red], (_GREEN_OF_BLUE[blue] + _GREEN_OF_RED[red]) >> 16, _BLUE[blue])
    rgb = np.empty_like(shown)
    for place, share in enumerate(added):
        rgb[..., place] = (luma + share).clip(0, 255)
    return rgb


def _enlarged(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    """Return a plane whose pixels were repeated, interpolated where libjpeg-turbo does so."""
    tall, wide = plane.shape
    small = plane[::down, ::across].astype("int16")
    if (across, down) == (1, 2):
        larger = _doubled(small, 0, (1, 2), 2)
    elif small.shape[1] < 3 or (across, down) not in ((2, 1), (2, 2)):
        return plane
    elif down == 1:
        larger = _doubled(small, 1, (1, 2), 2)
    else:
        larger = _doubled(_doubled(small, 0, (0, 0), 0), 1, (8, 7), 4)
    return larger[:tall, :wide].astype("uint8")


def _doubled(plane: np.ndarray, axis: int, extra: tuple[int, int], shift: int) -> np.ndarray:
    """Return twice as many numbers along an axis, each 3 times the nearer plus the next one.

    The first and the second of two get something extra, so that they are rounded differently
    when their last bits are shifted out.
    """
    places = np.arange(plane.shape[axis])
    sides = [
        (3 * plane + plane.take((places + step).clip(0, len(places) - 1), axis) + more) >> shift
        for step, more in zip((-1, 1), extra, strict=True)
    ]
    shape = [*plane.shape]
    shape[axis] *= 2
    return np.stack(sides, axis + 1).reshape(shape)
