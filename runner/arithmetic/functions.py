"""Activation functions, as the documentation of ``keras.activations`` defines them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def softmax(sums: np.ndarray) -> np.ndarray:
    """Return values in proportion to their powers of e, which add up to 1 along the last axis."""
    powers = np.exp(sums - sums.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def log_softmax(sums: np.ndarray) -> np.ndarray:
    """Return the logarithms of what `softmax` returns."""
    shifted = sums - sums.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _sigmoid(sums: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-sums)))


Function = Callable[[np.ndarray], np.ndarray]

FUNCTIONS: dict[str, Function] = {
    "elu": lambda sums: np.where(sums > 0, sums, np.expm1(sums)),
    "exponential": np.exp,
    "gelu": lambda sums: sums * (1 + _erf(sums / math.sqrt(2))) / 2,
    "hard_sigmoid": lambda sums: np.clip(sums / 6 + 0.5, 0, 1),
    "hard_silu": lambda sums: sums * np.clip(sums / 6 + 0.5, 0, 1),
    "leaky_relu": lambda sums: np.where(sums > 0, sums, 0.2 * sums),
    "linear": lambda sums: sums,
    "log_softmax": log_softmax,
    "mish": lambda sums: sums * np.tanh(np.logaddexp(sums, 0)),
    "relu": lambda sums: np.maximum(sums, 0),
    "relu6": lambda sums: np.clip(sums, 0, 6),
    "selu": lambda sums: (
        1.05070098735548 * np.where(sums > 0, sums, 1.67326324235438 * np.expm1(sums))
    ),
    "sigmoid": _sigmoid,
    "silu": lambda sums: sums * _sigmoid(sums),
    "softmax": softmax,
    "softplus": lambda sums: np.logaddexp(sums, 0),
    "softsign": lambda sums: sums / (1 + np.abs(sums)),
    "swish": lambda sums: sums * _sigmoid(sums),
    "tanh": np.tanh,
}

ACROSS = frozenset(("softmax", "log_softmax"))
"""Those whose every value depends on all units."""
