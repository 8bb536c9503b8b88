"""Reductions that make an activation smaller before it leaves the graph."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from runner.tensors import unit_axis_of

_OVER_POSITIONS = {"mean": keras.ops.mean, "max": keras.ops.max, "std": keras.ops.std}


def reduced(activation: Any, reduction: str, name: str, unit_axis: int) -> Any:
    """Reduce one activation.

    Parameters
    ----------
    activation
        Tensor of shape (sample, *axes).
    reduction
        ``mean``, ``max`` or ``std`` over every axis except the sample and unit axes (that is,
        over space or time), giving (sample, unit); ``flatten``, giving (sample, unit);
        ``projection:k``, the flattened activation times a Gaussian matrix of variance
        1/k, giving (sample, k), which keeps the distances between samples (Johnson &
        Lindenstrauss 1984, "Extensions of Lipschitz mappings into a Hilbert space").
    name
        The tensor's name, the seed of its projection: the same name and size give the
        same matrix in every run.
    unit_axis
        Index of the unit axis of a sample, from 0.

    Returns
    -------
    tensor
        Of rank 2; a tensor without axes to reduce over is returned unchanged.
    """
    if reduction in _OVER_POSITIONS:
        axes = range(1, len(activation.shape))
        positions = tuple(axis for axis in axes if axis != unit_axis + 1)
        return _OVER_POSITIONS[reduction](activation, axis=positions) if positions else activation
    units = math.prod(activation.shape[1:])
    flat = keras.ops.reshape(activation, (-1, units))
    if reduction == "flatten":
        return flat
    size = int(reduction.removeprefix("projection:"))
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(name.encode()))))
    matrix = generator.normal(scale=size**-0.5, size=(units, size))
    dtype = keras.backend.standardize_dtype(flat.dtype)
    if not keras.backend.is_float_dtype(dtype):
        dtype = "float32"
    return keras.ops.matmul(keras.ops.cast(flat, dtype), keras.ops.cast(matrix, dtype))


def reduced_axes(axes: tuple[str, ...] | None, reduction: str | None) -> tuple[str, ...] | None:
    """Return the names of a tensor's axes after a reduction, given those before it."""
    if reduction is None:
        return axes
    if reduction not in _OVER_POSITIONS:
        return ("unit",)
    return axes and (axes[unit_axis_of(axes, len(axes))],)
