"""The values of a model's weights when it is shown a probe, and their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from runner.capture.capture import Capture
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

    def __init__(self, model: Any, capture: Capture) -> None:
        value_of = capture.library.value_of
        held = (*capture.library.weights_of(model), *capture.plain_variables)
        values = {id(variable): value_of(variable) for variable in held}
        self._all = list(values.values())
        self.kept: list[tuple[TensorSpec, np.ndarray]] = [
            (spec, values[id(variable)] if id(variable) in values else value_of(variable))
            for spec, variable in capture.weights
        ]

    def sha256(self) -> str:
        """Return the SHA-256 of the shapes, dtypes and bytes of all weights, in their order."""
        return sha256_of(self._all)


def sha256_of(weights: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the shapes, dtypes and bytes of weights, in their order."""
    digest = hashlib.sha256()
    for value in weights:
        digest.update(f"{value.dtype.name}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
