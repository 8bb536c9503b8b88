"""Centred layers in float64, and what is read from them, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runner.similarity.conditions import UndefinedError, check_layer

_BLOCK_VALUES = 1 << 22
"""Number of values of a layer that are centred at a time, to bound the memory."""

_DECIMALS = 12
"""Cosines that are equal to this number of decimals are ties; the rest is rounding."""


def check_values(x: np.ndarray) -> None:
    """Check that a layer is finite and not constant, as every measure requires.

    Raises
    ------
    UndefinedError
        If it is not finite, or constant.
    """
    check_layer(bool(np.isfinite(x).all()), bool((x == x[:1]).all()))


def refuse_rows(wrong: np.ndarray, what: str) -> None:
    """Check that no sample is wrong.

    Parameters
    ----------
    wrong
        Shape (samples,), of booleans.
    what
        What a wrong sample is, after "that".

    Raises
    ------
    UndefinedError
        With the first wrong sample.
    """
    if wrong.any():
        count = int(wrong.sum())
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise UndefinedError(f"has a sample, row {int(np.argmax(wrong))}{more}, that {what}")


def centred_gram(x: np.ndarray) -> np.ndarray:
    """Return the Gram matrix of the centred samples, up to a common factor.

    Parameters
    ----------
    x
        Shape (samples, units).

    Returns
    -------
    numpy.ndarray
        Shape (samples, samples), float64.

    Raises
    ------
    UndefinedError
        If the layer holds the same for every sample, or NaN or infinity.
    """
    gram = np.zeros((len(x), len(x)))
    for block in _blocks(x):
        gram += block @ block.T
    return gram


def dominant_share(x: np.ndarray) -> float:
    """Return the largest share that one sample has in a layer's variance.

    Parameters
    ----------
    x
        Shape (samples, units).

    Raises
    ------
    UndefinedError
        If the layer holds the same for every sample, or NaN or infinity.
    """
    squares = _sample_squares(x)
    return float(squares.max() / squares.sum())


def centred(x: np.ndarray) -> np.ndarray:
    """Return a layer minus its mean over samples, up to a common factor: (samples, units)."""
    return np.concatenate(list(_blocks(x)), axis=1)


def scaled_rows(x: np.ndarray) -> np.ndarray:
    """Return each sample's values in float64, divided by the largest: (samples, units)."""
    x = x.astype(np.float64)
    return np.asarray(x / np.abs(x).max(axis=1, keepdims=True))


def cosines(x: np.ndarray) -> np.ndarray:
    """Return the cosine of each two samples, rounded so that equal ones are ties.

    Parameters
    ----------
    x
        Shape (samples, units), float64, no sample 0 in every unit.

    Returns
    -------
    numpy.ndarray
        Shape (samples, samples).
    """
    x = x / np.sqrt(_squares(x))[:, None]
    return np.asarray(np.round(x @ x.T, _DECIMALS))


def _blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield centred x in float64, some units at a time, scaled so that products do not overflow."""
    check_values(x)
    scale = max(abs(float(x.max())), abs(float(x.min())))
    units = max(1, _BLOCK_VALUES // len(x))
    for start in range(0, x.shape[1], units):
        block = x[:, start : start + units].astype(np.float64)
        block /= scale
        block -= block.mean(axis=0)
        yield block


def _squares(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ij,ij->i", x, x))


def _sample_squares(x: np.ndarray) -> np.ndarray:
    """Return each sample's squared distance from the mean, in the scale of `_blocks`."""
    squares = np.zeros(len(x))
    for block in _blocks(x):
        squares += _squares(block)
    return squares
