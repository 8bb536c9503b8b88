"""Variables of Keras on JAX, which has none of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from runner.engines.engine import Resource
from runner.engines.jax.tensors import fits_a_table

plain_types: tuple[type, ...] = (jax.Array, np.dtype)
module_types: tuple[type, ...] = ()
wrapping_types: tuple[type, ...] = (type(jax.jit(lambda: None)),)


def wrapped_by(thing: Any) -> list[Any]:
    """Return what a compiled function wraps."""
    return [vars(thing)["__wrapped__"]] if isinstance(thing, wrapping_types) else []


def values_of(variables: Sequence[Any]) -> list[Any]:
    """Return the present values of Keras's variables as arrays of JAX."""
    return [jnp.asarray(variable.value, variable.value.dtype) for variable in variables]


def name_of(variable: Any) -> str:
    """Return the name of a variable."""
    return str(variable.name)


def is_variable(value: Any) -> bool:  # noqa: ARG001
    """Return whether a value is a variable of JAX: it has none."""
    return False


def value_of(variable: Any) -> np.ndarray:
    """Return a copy of the value of a ``keras.Variable``: training gives its memory away."""
    return np.array(variable.value)


def unfit_weight(variable: Any) -> str | None:
    """Return why a variable has no table, or ``None``."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    return None if fits_a_table(jnp.dtype(dtype)) else f"opaque: it is of type {dtype}"


def plain_variables(
    attributes: Mapping[Any, Any],  # noqa: ARG001
    seen: set[int],  # noqa: ARG001
) -> Iterator[tuple[str, Any]]:
    """Yield the variables of JAX in an object's attributes: it has none."""
    return iter(())


@contextlib.contextmanager
def noting_changes(
    note: Callable[[Resource], None],  # noqa: ARG001
    *,
    every_thread: bool = False,  # noqa: ARG001
    is_quiet: bool = False,  # noqa: ARG001
) -> Iterator[Mapping[int, Any]]:
    """Note every resource that is changed in the scope: arrays of JAX never change."""
    yield {}


def random_streams() -> Callable[[], None]:
    """Return a function that restores the random streams of JAX: it has none of its own."""
    return lambda: None
