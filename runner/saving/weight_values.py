"""The values of a model's weights when it is shown a probe."""

from __future__ import annotations

import hashlib

import keras
import numpy as np

from runner.capture.capture import Capture
from runner.model.backend import framework
from runner.tensors import TensorSpec


class WeightValues:
    """The values of all weights of a model at one moment.

    Parameters
    ----------
    model
        The model.
    capture
        The traced model, which knows its variables and the weights to keep.

    Attributes
    ----------
    kept : list[tuple[TensorSpec, numpy.ndarray]]
        The weights that get a table, with their values.
    """

    def __init__(self, model: keras.Model, capture: Capture) -> None:
        value_of = framework().value_of
        held = (*model.weights, *capture.plain_variables)
        values = {id(variable): value_of(variable) for variable in held}
        self._all = list(values.values())
        self.kept: list[tuple[TensorSpec, np.ndarray]] = [
            (spec, values[id(variable)] if id(variable) in values else value_of(variable))
            for spec, variable in capture.weights
        ]

    def sha256(self) -> str:
        """Return the SHA-256 of the shapes, dtypes and bytes of all weights, in Keras's order."""
        digest = hashlib.sha256()
        for value in self._all:
            digest.update(f"{value.dtype.name}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()
