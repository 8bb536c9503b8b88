"""Tensors of TensorFlow: their kinds, shapes and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, dense or not."""
    return bool(tf.is_tensor(value))


def is_passed(value: Any) -> bool:
    """Return whether a value is a tensor of the pass; constants are made before it."""
    return is_tensor(value) and (tf.executing_eagerly() or not hasattr(value, "numpy"))


def is_floating(value: Any) -> bool:
    """Return whether a value is a dense tensor of floating-point numbers."""
    return isinstance(value, tf.Tensor) and bool(value.dtype.is_floating)


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a dense tensor; ``None`` for other values and unknown ranks."""
    known = isinstance(value, tf.Tensor) and value.shape.rank is not None
    return tuple(value.shape) if known else None


def current_graph() -> Any:
    """Return the graph that is being traced, or ``None``."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:
    """Return why a value of the pass has no table, or ``None``."""
    graph = current_graph()
    if isinstance(tensor, (tf.SparseTensor, tf.RaggedTensor)):
        return f"opaque: {it} is a {type(tensor).__name__}"
    if not isinstance(tensor, tf.Tensor):
        return f"opaque: {it} is a {type(tensor).__name__}, not a tensor"
    if not is_passed(tensor):
        return f"no sample axis: {it} is a constant of shape {tuple(tensor.shape)}"
    if graph is not None and tensor.graph is not graph:
        return "opaque: runs inside a loop or a branch of the graph"
    if not fits_a_table(tensor.dtype):
        return f"opaque: {it} is of type {tensor.dtype.name}"
    if tensor.shape.rank == 0 or (
        graph is not None and tensor.shape[:1].is_fully_defined() and tensor.shape[0] != rows
    ):
        return f"no sample axis: {it} has shape {tuple(tensor.shape)}"
    return None


def fits_a_table(dtype: tf.DType) -> bool:
    """Return whether values of a dtype are numbers or truth values."""
    return bool(dtype != tf.string and (dtype.is_bool or dtype.is_numpy_compatible))


def as_tensor(array: Any) -> Any:
    """Return an array as a tensor."""
    return tf.convert_to_tensor(array)


def as_array(tensor: Any) -> np.ndarray:
    """Return the values of a tensor: a view of its memory, where NumPy has its dtype."""
    if np.dtype(tensor.dtype.as_numpy_dtype).isbuiltin != 1:  # bfloat16, float8: no buffer format
        return np.asarray(tensor.numpy())
    return np.asarray(memoryview(tensor))
