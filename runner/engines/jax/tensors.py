"""Arrays of JAX: their kinds, shapes and values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import JAXSparse

from runner.errors import InputError

_tracing: ContextVar[Any] = ContextVar("_tracing", default=None)


@contextlib.contextmanager
def tracing_with(tracer: Any) -> Iterator[None]:
    """Regard the trace that a tracer belongs to as that of the pass inside the scope."""
    token = _tracing.set(tracer._trace)
    try:
        yield
    finally:
        _tracing.reset(token)


def is_tensor(value: Any) -> bool:
    """Return whether a value is an array of JAX, dense or not."""
    return isinstance(value, (jax.Array, JAXSparse))


def is_passed(value: Any) -> bool:
    """Return whether a value is a tensor of the pass; constants are made before it."""
    return is_tensor(value) and (_tracing.get() is None or not _is_concrete(value))


def is_of_this_trace(value: Any) -> bool:
    """Return whether a tensor is one of the pass, not of a loop or a branch in it."""
    return _is_concrete(value) or value._trace is _tracing.get()


def _is_concrete(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer)


def is_floating(value: Any) -> bool:
    """Return whether a value is a dense array of floating-point numbers."""
    return isinstance(value, jax.Array) and bool(jnp.issubdtype(value.dtype, jnp.floating))


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a dense array; ``None`` for other values."""
    return tuple(value.shape) if isinstance(value, jax.Array) else None


def unfit(tensor: Any, it: str, rows: int | None) -> str | None:  # noqa: ARG001 (no length is open)
    """Return why a value of the pass has no table, or ``None``."""
    if isinstance(tensor, JAXSparse):
        return f"opaque: {it} is a {type(tensor).__name__}"
    if not isinstance(tensor, jax.Array):
        return f"opaque: {it} is a {type(tensor).__name__}, not a tensor"
    if not is_passed(tensor):
        return f"no sample axis: {it} is a constant of shape {tuple(tensor.shape)}"
    if not is_of_this_trace(tensor):
        return "opaque: runs inside a loop or a branch of the graph"
    if not fits_a_table(tensor.dtype):
        return f"opaque: {it} is of type {tensor.dtype}"
    return f"no sample axis: {it} has shape ()" if tensor.ndim == 0 else None


def fits_a_table(dtype: Any) -> bool:
    """Return whether values of a dtype are numbers or truth values, not keys of random streams."""
    return not jnp.issubdtype(dtype, jax.dtypes.extended)


def as_tensor(array: Any) -> Any:
    """Return an array as an array of JAX, which has 32 bits unless JAX is set to 64.

    Raises
    ------
    InputError
        If an integer does not fit into 32 bits.
    """
    given = np.asarray(array)
    dtype = jax.dtypes.canonicalize_dtype(given.dtype)
    if given.dtype.kind in "iu" and dtype != given.dtype and given.size:
        limits = np.iinfo(dtype)
        for number in (given.min(), given.max()):
            if not limits.min <= number <= limits.max:
                raise InputError.of(
                    "probe",
                    f"{number} does not fit into {dtype}, with which JAX computes",
                    "set JAX_ENABLE_X64=1, or backend=tensorflow",
                )
    return jnp.asarray(given, dtype)


def as_array(tensor: Any) -> np.ndarray:
    """Return the values of an array: a view of its memory on the CPU."""
    return np.asarray(tensor)
