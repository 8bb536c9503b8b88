"""Resizing of pictures: the arithmetic of TensorFlow's operations, in NumPy.

All is computed in float32 and summed in the same order, so that a picture has the same values
whatever framework a model runs on.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np

Fit = Literal["stretch", "crop", "pad"]
"""How a picture of other proportions is fitted."""

Interpolation = Literal[
    "bilinear",
    "nearest",
    "bicubic",
    "area",
    "lanczos3",
    "lanczos5",
    "gaussian",
    "mitchellcubic",
]
"""The methods of resizing."""

_ONE, _HALF = np.float32(1), np.float32(0.5)
_PI = np.float32(math.pi)
_RADIUS = {"lanczos3": 3.0, "lanczos5": 5.0, "gaussian": 1.5, "mitchellcubic": 2.0}
_KEPT = 64  # pairs of an old and a new length of which the weights are kept
_STEPS = 1024  # of the table from which the weights of `bicubic` are taken


def resized(
    picture: np.ndarray, height: int, width: int, interpolation: Interpolation, fit: Fit
) -> np.ndarray:
    """Return a picture resized as by `keras.utils.image_dataset_from_directory`.

    Parameters
    ----------
    picture
        Shape (height, width, channels), uint8.
    height, width
        New size.
    interpolation
        The method.
    fit
        How to fit a picture of other proportions: stretch it, crop it about its centre, or
        pad it with black.

    Returns
    -------
    ndarray
        Shape (height, width, channels), float32.
    """
    if fit == "crop":
        return _stretched(_cropped(picture, height, width), height, width, interpolation)
    if fit == "stretch":
        return _stretched(picture, height, width, interpolation)
    tall, wide = (np.float32(length) for length in picture.shape[:2])
    ratio = max(wide / np.float32(width), tall / np.float32(height))
    padded = np.zeros((height, width, picture.shape[2]), "float32")
    (rows, top), (columns, left) = (
        (max(int(length / ratio), 1), max(int((np.float32(new) - length / ratio) / 2), 0))
        for length, new in ((tall, height), (wide, width))
    )
    padded[top : top + rows, left : left + columns] = _stretched(
        picture, rows, columns, interpolation
    )
    return padded


def _cropped(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the largest part about the centre that has the proportions of the new size."""
    tall, wide = picture.shape[:2]
    rows = max(min(tall, int(np.float32(wide * height) / np.float32(width))), 1)
    columns = max(min(wide, int(np.float32(tall * width) / np.float32(height))), 1)
    top, left = (tall - rows) // 2, (wide - columns) // 2
    return picture[top : top + rows, left : left + columns]


def _stretched(picture: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    sizes = dict(enumerate(zip(picture.shape, (height, width), strict=False)))
    if interpolation == "bilinear":
        for axis in (1, 0):
            picture = _between(picture, axis, *_neighbours(*sizes[axis]))
    elif interpolation == "nearest":
        for axis in (0, 1):
            picture = picture.take(_nearest(*sizes[axis]), axis)
    elif interpolation == "area":
        for axis in (1, 0):
            picture = _summed(picture, axis, *_covered(*sizes[axis]))
        scales = (np.float32(old) / np.float32(new) for old, new in sizes.values())
        picture = picture * np.float32(1 / float(np.prod([*scales])))
    else:
        weights = _cubic if interpolation == "bicubic" else _kernel
        for axis in (0, 1):
            picture = _summed(picture, axis, *weights(*sizes[axis], interpolation))
    return picture.astype("float32")


def _summed(picture: np.ndarray, axis: int, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted sums along an axis; places and weights have shape (terms, new length)."""
    total: np.ndarray | np.float32 = np.float32(0)
    for place, weight in zip(places, weights, strict=True):
        total = total + picture.take(place, axis) * _along(axis, weight)
    return np.asarray(total)


def _between(
    picture: np.ndarray, axis: int, lower: np.ndarray, upper: np.ndarray, share: np.ndarray
) -> np.ndarray:
    before, after = (picture.take(place, axis).astype("float32") for place in (lower, upper))
    return np.asarray(before + (after - before) * _along(axis, share))


def _along(axis: int, numbers: np.ndarray) -> np.ndarray:
    """Return numbers in the shape that multiplies a picture's rows (axis 0) or columns (1)."""
    return numbers.reshape(-1, *(1, 1)[axis:])


def _centres(old: int, new: int) -> np.ndarray:
    """Return where the centres of the new pixels lie, in old pixels."""
    return (np.arange(new, dtype="float32") + _HALF) * (np.float32(old) / np.float32(new))


@functools.lru_cache(_KEPT)
def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place = _centres(old, new) - _HALF
    lower = np.floor(place)
    places = (lower.astype(int).clip(0), np.ceil(place).astype(int).clip(None, old - 1))
    return *places, place - lower


@functools.lru_cache(_KEPT)
def _nearest(old: int, new: int) -> np.ndarray:
    places: np.ndarray = np.floor(_centres(old, new)).astype(int)
    return places.clip(None, old - 1)


@functools.lru_cache(_KEPT)
def _covered(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the old pixels that each new one covers, and how much of each."""
    scale = np.float32(old) / np.float32(new)
    begin, end = (np.arange(shift, new + shift, dtype="float32") * scale for shift in (0, 1))
    first = np.floor(begin)
    terms = np.arange((np.ceil(end) - first).max(), dtype="float32")[:, None]
    place = first + terms
    inside = np.where(place + _ONE > end, end - place, _ONE)
    at_begin = np.where(place + _ONE > end, scale, place + _ONE - begin)
    weights = np.where(place < begin, at_begin, inside)
    weights[place >= np.ceil(end)] = 0
    return place.astype(int).clip(0, old - 1), weights.astype("float32")


@functools.lru_cache(_KEPT)
def _cubic(old: int, new: int, _: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and weights of Keys' cubic convolution (a = -1/2)."""
    centre = _centres(old, new) - _HALF
    first = np.floor(centre)
    step = np.rint((centre - first) * np.float32(_STEPS)).astype(int)
    x = np.arange(_STEPS + 1) / _STEPS
    near = ((1.5 * x - 2.5) * x * x + 1).astype("float32")
    x += 1
    far = (((-0.5 * x + 2.5) * x - 4) * x + 2).astype("float32")
    weights = np.stack([far[step], near[step], near[_STEPS - step], far[_STEPS - step]])
    places = first.astype(int) + np.arange(-1, 3)[:, None]
    weights[(places < 0) | (places >= old)] = 0
    return places.clip(0, old - 1), weights * (_ONE / functools.reduce(np.add, weights))


@functools.lru_cache(_KEPT)
def _kernel(old: int, new: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and weights of a kernel that is as wide as in the old picture."""
    radius = np.float32(_RADIUS[interpolation])
    scale = np.float32(1 / float(np.float32(new) / np.float32(old)))
    centre = (np.arange(new, dtype="float32") + _HALF) * scale
    first = np.ceil(centre - radius - _HALF).clip(0, old - 1)
    last = np.floor(centre + radius - _HALF).clip(0, old - 1)
    terms = np.arange((last - first).max() + 1, dtype="float32")[:, None]
    places = first + terms
    weights = _weight(np.abs(places + _HALF - centre), interpolation, radius)
    weights[places > last] = 0
    weights = weights * (_ONE / functools.reduce(np.add, weights))
    return places.astype(int).clip(0, old - 1), weights


def _weight(x: np.ndarray, interpolation: str, radius: np.float32) -> np.ndarray:
    """Return the weights of a kernel at distances from its centre, in old pixels."""
    if interpolation == "gaussian":  # with a deviation of 1/2
        bell = np.exp((-x * x).astype("float64") / 0.5).astype("float32")
        return np.where(x >= radius, np.float32(0), bell)
    if interpolation == "mitchellcubic":
        a, b, c, d, e, f = (
            np.float32(n) / np.float32(m)
            for n, m in ((-7, 18), (10, 3), (16, 9), (7, 6), (8, 9), (2, 1))
        )
        outer = ((a * x + f) * x - b) * x + c
        inner = ((d * x - f) * x) * x + e
        return np.where(x >= 2, np.float32(0), np.where(x >= 1, outer, inner))
    near = np.maximum(x, np.float32(1e-3))
    weights = radius * _sine(_PI * near) * _sine(_PI * near / radius) / (_PI * _PI * near * near)
    return np.where(x > radius, np.float32(0), np.where(x <= np.float32(1e-3), _ONE, weights))


def _sine(x: np.ndarray) -> np.ndarray:
    """Return the sine as the C library computes it; for float32, NumPy has one of its own."""
    return np.asarray(np.sin(x.astype("complex64")).real)
