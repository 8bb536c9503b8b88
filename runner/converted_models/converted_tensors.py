"""Tensors and weights of converted models: arrays of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.capture.arithmetic import Arithmetic, LackingError
from runner.capture.reductions import reduced
from runner.converted_models.graph import Constant
from runner.tensors import TensorSpec, unit_axis_of

_NUMBERS = "biufc"


def is_tensor(value: Any) -> bool:
    """Return whether a value of a pass is a tensor."""
    return isinstance(value, np.ndarray)


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:  # noqa: ARG001
    """Return why a value of a pass has no table, or ``None``."""
    if not is_tensor(tensor):
        return f"opaque: {it} is a {type(tensor).__name__}, not a tensor"
    if tensor.dtype.kind not in _NUMBERS:
        return f"opaque: {it} is of type {tensor.dtype.name}"
    if not tensor.shape:
        return f"no sample axis: {it} has shape ()"
    return None


def stored(tensor: Any, spec: TensorSpec, dtype: str | None) -> np.ndarray:
    """Return a tensor reduced as `spec` says and cast to a dtype, if it is floating."""
    values: np.ndarray = tensor
    if spec.reduction is not None:
        unit_axis = unit_axis_of(spec.axes, values.ndim - 1)
        values = reduced(values, spec.reduction, spec.name, unit_axis, OPERATIONS)
    return values.astype(dtype) if dtype is not None and values.dtype.kind == "f" else values


def unfit_weight(variable: Constant) -> str | None:
    """Return why a weight has no table, or ``None``."""
    dtype = variable.value.dtype
    return None if dtype.kind in _NUMBERS else f"opaque: it is of type {dtype.name}"


def is_plain(variable: Constant) -> bool:  # noqa: ARG001
    """Return whether a weight is unknown to its library: none is."""
    return False


def described(variable: Constant) -> tuple[tuple[int, ...], str]:
    """Return the shape of a weight, and NumPy's name of its dtype."""
    return variable.value.shape, variable.value.dtype.name


class _Operations:
    """NumPy's functions, which have the names of those of ``keras.ops``."""

    @staticmethod
    def cast(values: np.ndarray, dtype: str) -> np.ndarray:
        return values.astype(dtype)

    def __getattr__(self, name: str) -> Any:
        if not hasattr(np, name):
            raise LackingError(name, "converted models")
        return getattr(np, name)


OPERATIONS: Arithmetic = _Operations()
"""The operations of converted models."""
