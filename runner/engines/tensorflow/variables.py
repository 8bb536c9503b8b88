"""Variables of TensorFlow, and its objects that hold them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.ops import resource_variable_ops

from runner.engines.tensorflow.tensors import fits_a_table
from runner.model.keras_internals import is_of_keras
from runner.patching import patched

_Trackable: Any = tf.__internal__.tracking.AutoTrackable

plain_types: tuple[type, ...] = (tf.Tensor, tf.Variable, tf.DType, tf.TensorShape)
module_types: tuple[type, ...] = (tf.Module,)
wrapping_types: tuple[type, ...] = (tf.types.experimental.PolymorphicFunction,)


def wrapped_by(thing: Any) -> list[Any]:
    """Return what a compiled function or a list of TensorFlow wraps."""
    if hasattr(thing, "python_function"):
        return [thing.python_function]
    return [thing._storage] if hasattr(thing, "_storage") else []


def values_of(variables: Sequence[Any]) -> list[Any]:
    """Return the present values of Keras's variables as tensors."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def name_of(variable: Any) -> str:
    """Return the name of a ``tf.Variable`` without its scopes."""
    return str(variable.name).partition(":")[0].rpartition("/")[2]


def is_variable(value: Any) -> bool:
    """Return whether a value is a ``tf.Variable``."""
    return isinstance(value, tf.Variable)


def value_of(variable: Any) -> np.ndarray:
    """Return the value of a ``keras.Variable`` or ``tf.Variable``, in its own dtype and shape."""
    value = variable.value() if is_variable(variable) else variable.value
    return np.asarray(tf.convert_to_tensor(value).numpy())


def unfit_weight(variable: Any) -> str | None:
    """Return why a variable has no table, or ``None``."""
    dtype = tf.as_dtype(variable.dtype)
    if not fits_a_table(dtype):
        return f"opaque: it is of type {dtype.name}"
    shape = tf.TensorShape(variable.shape)
    return None if shape.is_fully_defined() else f"opaque: its shape {shape} is open"


def plain_variables(
    attributes: Mapping[Any, Any], seen: set[int], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the ``tf.Variable`` objects in an object's attributes, each once, with their names."""
    for key, value in attributes.items():
        # TensorFlow keeps the contents of its checkpoints under such names.
        if not _may_hold(value) or str(key).startswith("_self_") or id(value) in seen:
            continue
        name = f"{prefix}{key}"
        if is_variable(value):
            seen.add(id(value))
            yield name, value
        elif (below := _held_by(value)) is not None:
            seen.add(id(value))
            yield from plain_variables(below, seen, f"{name}.")


@contextlib.contextmanager
def noting_reads(note: Callable[[Any], None]) -> Iterator[None]:
    """Call a function with every ``tf.Variable`` that is read in the scope, in any thread.

    An eager operation is given the variable itself, and reads it without Python.
    """
    accessed, execute = resource_variable_ops.variable_accessed, pywrap_tfe.TFE_Py_FastPathExecute

    def variable_accessed(variable: Any) -> None:
        note(variable)
        accessed(variable)

    def fast_execute(context: Any, operation: str, name: Any, *arguments: Any) -> Any:
        for argument in arguments:
            for value in argument if isinstance(argument, (list, tuple)) else (argument,):
                if is_variable(value):
                    note(value)
        return execute(context, operation, name, *arguments)

    with (
        patched(resource_variable_ops, variable_accessed=variable_accessed),
        patched(pywrap_tfe, TFE_Py_FastPathExecute=fast_execute),
    ):
        yield


_holding: dict[tuple[type, type], bool] = {}


def _may_hold(value: Any) -> bool:
    """Return whether a value is a variable or a container, asked once for each class."""
    key = type(value), value.__class__  # the second is what a wrapper passes itself off as
    if key not in _holding:
        _holding[key] = is_variable(value) or _held_by(value) is not None
    return _holding[key]


def _held_by(value: Any) -> Mapping[Any, Any] | None:
    """Return the contents of a container, ``tf.Module`` or loaded SavedModel, by name."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    tracks = isinstance(value, _Trackable) and not isinstance(value, keras.Layer)
    return vars(value) if tracks and not is_of_keras(type(value)) else None
