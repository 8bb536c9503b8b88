"""Tensors of PyTorch: their value at one moment, which have a table, and what is stored of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from runner.capture.arithmetic import Arithmetic, LackingError
from runner.capture.reductions import reduced
from runner.engines.torch.origins import Origin, name_of, version_of
from runner.tensors import TensorSpec, unit_axis_of


class Value:
    """The value of a tensor at one moment of a pass.

    A later operation may overwrite a tensor (``ReLU(inplace=True)``), so that one tensor can have
    several values in a pass.

    Attributes
    ----------
    shape, dtype
        Those of the tensor.
    data
        A tensor with the value; ``None`` if the value is not kept.
    origin
        Where it came from, if that is known.
    """

    def __init__(self, tensor: torch.Tensor, origin: Origin | None = None) -> None:
        self._holders = [(weakref.ref(tensor), version_of(tensor))]
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.opaque = _opaque(tensor)
        self.data: torch.Tensor | None = None
        self.origin = origin
        self._shared: tuple[torch.Tensor, int] | None = None

    def is_of(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is the one of this value, and still has it."""
        version = version_of(tensor)
        return version != -1 and any(
            held() is tensor and known == version for held, known in self._holders
        )

    def also_of(self, copied: torch.Tensor) -> None:
        """Note that a copy of the tensor has this value too."""
        self._holders.append((weakref.ref(copied), version_of(copied)))

    def keep(self, tensor: torch.Tensor, *, copied: bool) -> None:
        """Keep the value of a tensor that has it, as a copy or sharing its memory."""
        if self.data is None and self.opaque is None:
            version = version_of(tensor)
            copied = copied or version == -1
            data = tensor.detach() if tensor.requires_grad else tensor
            self.data = data.clone() if copied else data
            self._shared = None if copied else (tensor, version)

    @property
    def is_overwritten(self) -> bool:
        """Whether an operation has overwritten the kept value since."""
        return self._shared is not None and version_of(self._shared[0]) != self._shared[1]


class Values:
    """The values of the tensors of one pass: one object for each value of a tensor.

    Parameters
    ----------
    origin_of
        Function that returns where the present value of a tensor came from, if it is known.
    """

    def __init__(self, origin_of: Callable[[torch.Tensor], Origin | None]) -> None:
        self._origin_of = origin_of
        self._known: dict[int, Value] = {}

    def of(self, tensor: torch.Tensor) -> Value:
        """Return the present value of a tensor."""
        value = self._known.get(id(tensor))
        if value is None or not value.is_of(tensor):
            value = self._known[id(tensor)] = Value(tensor, self._origin_of(tensor))
        return value

    def add(self, copied: torch.Tensor, value: Value) -> None:
        """Take a copy of a tensor for the same value."""
        self._known[id(copied)] = value
        value.also_of(copied)


def is_tensor(value: Any) -> bool:
    """Return whether a value of a pass is a tensor, dense or not."""
    return isinstance(value, Value)


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:  # noqa: ARG001
    """Return why a value of a pass has no table, or ``None``."""
    if not isinstance(tensor, Value):
        return f"opaque: {it} is a {type(tensor).__name__}, not a tensor"
    if tensor.opaque is not None:
        return f"opaque: {it} is {tensor.opaque}"
    if not tensor.shape:
        return f"no sample axis: {it} has shape ()"
    return None


def stored(tensor: Any, spec: TensorSpec, dtype: str | None) -> torch.Tensor:
    """Return the data of a value reduced as `spec` says and cast to a dtype, if it is floating."""
    return stored_data(tensor.data, spec, dtype)


def stored_data(data: torch.Tensor, spec: TensorSpec, dtype: str | None) -> torch.Tensor:
    """Return data reduced as `spec` says and cast to a dtype, if it is floating."""
    if spec.reduction is not None:
        unit_axis = unit_axis_of(spec.axes, data.ndim - 1)
        data = reduced(data, spec.reduction, spec.name, unit_axis, OPERATIONS)
    cast = dtype is not None and data.dtype.is_floating_point
    return data.to(getattr(torch, str(dtype))) if cast else data


def is_storable(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has values that NumPy can hold."""
    return _opaque(tensor) is None


def unfit_weight(variable: torch.Tensor) -> str | None:
    """Return why a parameter or buffer has no table, or ``None``."""
    opaque = _opaque(variable)
    return None if opaque is None else f"opaque: it is {opaque}"


def is_plain(variable: torch.Tensor) -> bool:  # noqa: ARG001
    """Return whether a variable is unknown to its library: none is."""
    return False


def described(variable: torch.Tensor) -> tuple[tuple[int, ...], str]:
    """Return the shape of a parameter or buffer, and NumPy's name of its dtype."""
    return tuple(variable.shape), name_of(variable.dtype)


def as_arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Return the values of tensors, sharing their memory where possible."""
    if any(tensor.is_cuda for tensor in tensors):
        tensors = [tensor.detach().to("cpu", non_blocking=True) for tensor in tensors]
        torch.cuda.synchronize()
    return [_as_array(tensor) for tensor in tensors]


def _as_array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:
        bits = tensor.view(torch.int16).numpy(force=True)
        return np.asarray(bits.view(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy(force=True))


def _opaque(tensor: torch.Tensor) -> str | None:
    """Return what a tensor is if it has no values that NumPy can hold."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return "a sparse tensor"
    if tensor.is_quantized:
        return "a quantized tensor"
    if tensor.is_meta:
        return "a tensor on the device meta, without values"
    return None if tensor.dtype in _WITH_TABLE else f"of type {name_of(tensor.dtype)}"


_WITH_TABLE = {
    getattr(torch, name)
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    )
}


class _Operations:
    """The functions of ``keras.ops`` that modules of PyTorch have, under the same names."""

    def __getattr__(self, name: str) -> Any:
        if name not in _AS_IN_KERAS:
            raise LackingError(name, "modules of PyTorch")
        return getattr(torch, name)

    @staticmethod
    def mean(tensor: torch.Tensor, axis: Any = None, keepdims: bool = False) -> torch.Tensor:
        return _floating(tensor).mean(dim=axis, keepdim=keepdims)

    @staticmethod
    def max(tensor: torch.Tensor, axis: Any = (), keepdims: bool = False) -> torch.Tensor:
        return tensor.amax(dim=axis, keepdim=keepdims)

    @staticmethod
    def min(tensor: torch.Tensor, axis: Any = (), keepdims: bool = False) -> torch.Tensor:
        return tensor.amin(dim=axis, keepdim=keepdims)

    @staticmethod
    def sum(tensor: torch.Tensor, axis: Any = None, keepdims: bool = False) -> torch.Tensor:
        return tensor.sum(dim=axis, keepdim=keepdims)

    @staticmethod
    def std(tensor: torch.Tensor, axis: Any = None, keepdims: bool = False) -> torch.Tensor:
        return _floating(tensor).std(dim=axis, correction=0, keepdim=keepdims)

    @staticmethod
    def cast(values: Any, dtype: str) -> torch.Tensor:
        return torch.as_tensor(values).to(getattr(torch, dtype))


# Those whose results, and positional arguments, are the same in both.
_AS_IN_KERAS = (
    *("abs", "ceil", "clip", "cos", "exp", "floor", "isfinite", "isnan", "log", "logical_and"),
    *("logical_not", "logical_or", "matmul", "maximum", "minimum", "ones_like", "reshape"),
    *("round", "rsqrt", "sigmoid", "sign", "sin", "sqrt", "square", "tanh", "where", "zeros_like"),
)


def _floating(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of integers in floating point, as `keras.ops` does before it divides."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return tensor
    return tensor.to(torch.float32)


OPERATIONS: Arithmetic = _Operations()
"""The operations of modules of PyTorch."""
