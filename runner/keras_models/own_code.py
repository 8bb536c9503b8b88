"""Whether a model of Keras runs Keras's own code alone, which changes no tensor in place."""

from __future__ import annotations

import types
from typing import Any

import keras

from runner.keras_models.attributes import CONTAINERS, Attributes

# Packages whose objects are data to Keras. Of PyTorch's modules, Keras has some that only hold
# others.
_DATA = frozenset(("builtins", "collections", "keras", "numpy", "torch", "ml_dtypes", "inspect"))
_HOLDING = "torch.nn.modules.container"


def runs_keras_alone(attributes: Attributes) -> bool:
    """Return whether all objects that a model refers to are of Keras, or data.

    Functions of others may do anything, and so may layers of others, their hooks, and the code
    that a `keras.layers.Lambda` was loaded with.
    """
    for thing, _, held in attributes.notes.values():
        members = held.values() if isinstance(held, dict) else held
        has_members = isinstance(held, CONTAINERS)
        if not _is_of_keras(thing) or (has_members and not all(map(_is_of_keras, members))):
            return False
    return True


def _is_of_keras(thing: Any) -> bool:
    cls = type(thing)
    if cls in _FUNCTIONS:
        return _package(thing) == "keras"
    if isinstance(thing, type):
        return _package(thing) in _DATA
    if not callable(thing):
        return _package(cls) in _DATA
    is_holding = cls.__module__ == _HOLDING
    return is_holding or (_package(cls) == "keras" and not isinstance(thing, keras.layers.Lambda))


_FUNCTIONS = (types.FunctionType, types.MethodType)


def _package(thing: Any) -> str:
    return (thing.__module__ or "").partition(".")[0]
