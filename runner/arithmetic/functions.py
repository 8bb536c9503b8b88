"""Activation functions, as the documentation of ``keras.activations`` defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_erfc = np.vectorize(math.erfc, otypes=[np.float64])

# TensorFlow rounds these constants to float32 whatever type it computes in.
_ROOT_OF_HALF = float(np.float32(math.sqrt(0.5)))
_CUBE = float(np.float32(0.044715))


def softmax(sums: np.ndarray) -> np.ndarray:
    """Return the softmax of values along the last axis."""
    powers = np.exp(sums - sums.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def log_softmax(sums: np.ndarray) -> np.ndarray:
    """Return the logarithm of `softmax`, without underflow."""
    shifted = sums - sums.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _sigmoid(sums: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-sums)))


Function = Callable[[np.ndarray], np.ndarray]

FUNCTIONS: dict[str, Function] = {
    "celu": lambda sums: np.where(sums > 0, sums, np.expm1(sums)),
    "elu": lambda sums: np.where(sums > 0, sums, np.expm1(sums)),
    "exponential": np.exp,
    "gelu": lambda sums: sums * _erfc(-sums * _ROOT_OF_HALF) / 2,
    "hard_sigmoid": lambda sums: np.clip(sums / 6 + 0.5, 0, 1),
    # That of models from files of Keras 2.
    "hard_sigmoid_of_keras_2 of runner.model.old_models": lambda sums: np.clip(
        float(np.float32(0.2)) * sums + 0.5, 0, 1
    ),
    "hard_silu": lambda sums: sums * np.clip(sums / 6 + 0.5, 0, 1),
    "hard_shrink": lambda sums: np.where(np.abs(sums) > 0.5, sums, 0),
    "hard_swish": lambda sums: sums * np.clip(sums / 6 + 0.5, 0, 1),
    "hard_tanh": lambda sums: np.clip(sums, -1, 1),
    "leaky_relu": lambda sums: np.where(sums > 0, sums, float(np.float32(0.2)) * sums),
    "linear": lambda sums: sums,
    "log_sigmoid": lambda sums: -np.logaddexp(-sums, 0),
    "log_softmax": log_softmax,
    "mish": lambda sums: sums * np.tanh(np.logaddexp(sums, 0)),
    "relu": lambda sums: np.maximum(sums, 0),
    "relu6": lambda sums: np.clip(sums, 0, 6),
    "selu": lambda sums: (
        1.05070098735548 * np.where(sums > 0, sums, 1.67326324235438 * np.expm1(sums))
    ),
    "sigmoid": _sigmoid,
    "silu": lambda sums: sums * _sigmoid(sums),
    "soft_shrink": lambda sums: np.sign(sums) * np.maximum(np.abs(sums) - 0.5, 0),
    "softmax": softmax,
    "softplus": lambda sums: np.logaddexp(sums, 0),
    "softsign": lambda sums: sums / (1 + np.abs(sums)),
    "sparse_plus": lambda sums: np.where(
        sums <= -1, 0, np.where(sums < 1, np.square(sums + 1) / 4, sums)
    ),
    "sparse_sigmoid": lambda sums: np.clip((sums + 1) / 2, 0, 1),
    "squareplus": lambda sums: (sums + np.sqrt(np.square(sums) + 4)) / 2,
    "swish": lambda sums: sums * _sigmoid(sums),
    "tanh": np.tanh,
    "tanh_shrink": lambda sums: sums - np.tanh(sums),
}

ACROSS = frozenset(("softmax", "log_softmax"))
"""Functions of which every value depends on all units."""


def _gelu(known: Mapping[str, Any]) -> Function:
    if not known.get("approximate", True):
        return FUNCTIONS["gelu"]
    factor = math.sqrt(2 / math.pi)
    return lambda sums: sums * (1 + np.tanh(factor * (sums + _CUBE * sums**3))) / 2


def _elu(known: Mapping[str, Any]) -> Function:
    alpha = float(known.get("alpha", 1.0))
    return lambda sums: np.where(sums > 0, sums, alpha * np.expm1(sums))


def _celu(known: Mapping[str, Any]) -> Function:
    alpha = float(known.get("alpha", 1.0))
    return lambda sums: np.where(sums > 0, sums, alpha * np.expm1(sums / alpha))


def _leaky_relu(known: Mapping[str, Any]) -> Function:
    slope = float(np.float32(known.get("negative_slope", 0.2)))
    return lambda sums: np.where(sums > 0, sums, slope * sums)


def _hard_shrink(known: Mapping[str, Any]) -> Function:
    threshold = float(known.get("threshold", 0.5))
    return lambda sums: np.where(np.abs(sums) > threshold, sums, 0)


def _soft_shrink(known: Mapping[str, Any]) -> Function:
    threshold = float(known.get("threshold", 0.5))
    return lambda sums: np.sign(sums) * np.maximum(np.abs(sums) - threshold, 0)


def _squareplus(known: Mapping[str, Any]) -> Function:
    b = float(known.get("b", 4))
    return lambda sums: (sums + np.sqrt(np.square(sums) + b)) / 2


PARAMETRIC: dict[str, Callable[[Mapping[str, Any]], Function]] = {
    "celu": _celu,
    "elu": _elu,
    "gelu": _gelu,
    "hard_shrink": _hard_shrink,
    "leaky_relu": _leaky_relu,
    "soft_shrink": _soft_shrink,
    "squareplus": _squareplus,
}
"""Functions of ``keras.ops`` with parameters: each maps the parameters to a function."""
