"""Tensors of PyTorch: their kinds, shapes and values."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

# Dtypes of NumPy that PyTorch knows under another type, and the integers that hold their bits.
_OF_ML_DTYPES: dict[str, tuple[torch.dtype, torch.dtype, type]] = {
    name: (getattr(torch, name), bits, getattr(ml_dtypes, name))
    for name, bits in (
        ("bfloat16", torch.int16),
        ("float8_e4m3fn", torch.int8),
        ("float8_e5m2", torch.int8),
    )
}
_BACK = {dtype: (bits, kind) for dtype, bits, kind in _OF_ML_DTYPES.values()}


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, dense or not."""
    return isinstance(value, torch.Tensor)


def is_passed(value: Any) -> bool:
    """Return whether a value is a tensor of the pass; which are constants is not known."""
    return is_tensor(value)


def is_floating(value: Any) -> bool:
    """Return whether a value is a dense tensor of floating-point numbers."""
    return _is_dense(value) and bool(value.is_floating_point())


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a dense tensor; ``None`` for other values."""
    return tuple(value.shape) if _is_dense(value) else None


def _is_dense(value: Any) -> bool:
    return is_tensor(value) and value.layout is torch.strided and not value.is_nested


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:  # noqa: ARG001 (no length is open)
    """Return why a value of the pass has no table, or ``None``."""
    if not is_tensor(tensor):
        return f"opaque: {it} is a {type(tensor).__name__}, not a tensor"
    if tensor.is_nested:
        return f"opaque: {it} is a nested tensor"
    if tensor.layout is not torch.strided:
        return f"opaque: {it} is a sparse tensor"
    if not fits_a_table(tensor):
        return f"opaque: {it} is of type {_name_of(tensor.dtype)}"
    return f"no sample axis: {it} has shape ()" if tensor.ndim == 0 else None


def fits_a_table(tensor: torch.Tensor) -> bool:
    """Return whether the values of a tensor are numbers or truth values that NumPy knows."""
    if tensor.is_quantized:
        return False
    name = _name_of(tensor.dtype)
    return name in _OF_ML_DTYPES or hasattr(np, "bool_" if name == "bool" else name)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def as_tensor(array: Any) -> Any:
    """Return an array as a tensor, on the device that Keras uses by default."""
    given = np.ascontiguousarray(array).reshape(np.shape(array))  # scalars have no axis
    if not given.flags.writeable or given.dtype.byteorder not in "=|":
        given = given.astype(given.dtype.newbyteorder("="))
    if given.dtype.name in _OF_ML_DTYPES:
        dtype, bits, _ = _OF_ML_DTYPES[given.dtype.name]
        name = _name_of(bits)
        return torch.from_numpy(given.view(name)).view(dtype).to(_device())
    return torch.from_numpy(given).to(_device())


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def as_array(tensor: Any) -> np.ndarray:
    """Return the values of a tensor: a view of its memory on the CPU, where NumPy has its dtype."""
    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    if values.dtype in _BACK:
        bits, kind = _BACK[values.dtype]
        return np.asarray(values.contiguous().view(bits).numpy().view(kind))
    return np.asarray(values.numpy())
