"""Batches: how many samples are shown at once, and what that must not change."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np

from runner.capture.calls import leaves

LANES = 8
"""Values that a kernel computes side by side; what is left over comes one by one, with other
rounding. In batches of a multiple of it, a sample's values do not depend on its place or on how
many others there are: seen to hold for TensorFlow's kernels on x86, with AVX and oneDNN."""


def count_samples(inputs: Any) -> int:
    """Return how many samples a batch has, however its inputs are structured."""
    return len(leaves(inputs)[0][1])


def padded(inputs: Any, size: int) -> Any:
    """Repeat the last sample of a batch until it has `size` samples.

    Every batch then has the same shape, and the arithmetic of a sample does not
    depend on how many samples happen to come with it.
    """

    def pad(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        missing = size - len(array)
        return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])

    return inputs if count_samples(inputs) >= size else keras.tree.map_structure(pad, inputs)


def has_fixed_batches(model: keras.Model) -> bool:
    """Tell whether a model is made for batches of one size: its tensors say so then."""
    return any(
        tensor.shape[0] is not None for tensor in getattr(model, "inputs", None) or []
    ) or any(getattr(layer, "stateful", False) for layer in model._flatten_layers())


def fixed_batch(model: keras.Model) -> int | None:
    """Return how many samples a model takes at once, if its inputs are made for one number."""
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or []} - {None}
    return min(sizes, default=None)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two arrays are equal but for rounding that may have grown on its way."""
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "biu":
        return np.array_equal(one, other)
    if one.dtype.kind == "c":
        return alike(one.real, other.real) and alike(one.imag, other.imag)
    tolerance = float(ml_dtypes.finfo(one.dtype).eps) ** 0.5  # type: ignore[no-untyped-call]
    x, y = one.astype("float64"), other.astype("float64")
    scale = np.abs(x, where=np.isfinite(x), out=np.zeros_like(x)).max(initial=0)
    return np.allclose(x, y, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
