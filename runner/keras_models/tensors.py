"""Tensors and variables of Keras models: which have a table, and what is stored of them."""

from __future__ import annotations

from typing import Any

import keras

from runner.capture.reductions import reduced
from runner.model.backend import framework
from runner.tensors import TensorSpec, unit_axis_of


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, dense or not."""
    return framework().is_tensor(value)


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:
    """Return why a value of a pass has no table, or ``None``."""
    return framework().unfit(tensor, it, rows)


def stored(tensor: Any, spec: TensorSpec, dtype: str | None) -> Any:
    """Return a tensor reduced as `spec` says and cast to a dtype, if it is floating."""
    if spec.reduction is not None:
        unit_axis = unit_axis_of(spec.axes, len(tensor.shape) - 1)
        tensor = reduced(tensor, spec.reduction, spec.name, unit_axis, keras.ops)
    cast = dtype is not None and framework().is_floating(tensor)
    return keras.ops.cast(tensor, dtype) if cast else tensor


def unfit_weight(variable: Any) -> str | None:
    """Return why a variable has no table, or ``None``."""
    return framework().unfit_weight(variable)


def is_plain(variable: Any) -> bool:
    """Return whether a variable is one of the framework, unknown to Keras."""
    return framework().is_variable(variable)


def described(variable: Any) -> tuple[tuple[int, ...], str]:
    """Return the shape of a variable, and NumPy's name of its dtype."""
    return tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype)
