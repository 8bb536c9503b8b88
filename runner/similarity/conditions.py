"""What a layer must have for its similarity to mean anything."""

from __future__ import annotations

import numpy as np

_EPS = float(np.finfo(np.float64).eps)


class UndefinedError(ValueError):
    """A layer has no similarity to any other; the message says why."""


def check_layer(finite: bool, constant: bool) -> None:
    """Refuse a layer that no measure has a value for.

    Raises
    ------
    UndefinedError
        If it is not finite, or constant.
    """
    if not finite:
        raise UndefinedError("holds NaN or infinite values")
    if constant:
        raise UndefinedError("holds the same values for every sample")


def check_structure(kept: float, whole: float, samples: int) -> None:
    """Refuse a layer of which debiasing leaves nothing.

    Parameters
    ----------
    kept, whole
        The U-centred Gram matrix's norm, and the centred one's trace.
    samples
        How many there are.

    Raises
    ------
    UndefinedError
        If what is left is rounding.
    """
    if kept <= 8 * samples * _EPS * whole:
        raise UndefinedError("has no structure beyond what each sample shares with itself")


def check_samples(samples: int, least: int) -> None:
    """Refuse fewer samples than a measure is defined for.

    Raises
    ------
    UndefinedError
        If there are fewer than `least`.
    """
    if samples < least:
        raise UndefinedError(f"has {samples} samples, and this measure needs {least}")


def kept_directions(singular: np.ndarray, tolerance: float, variance: float) -> int:
    """Return how many of a layer's principal directions count.

    Parameters
    ----------
    singular
        Singular values, descending.
    tolerance
        Share of the largest below which one is rounding.
    variance
        Share of the variance, the squares, that the directions must hold.
    """
    real = singular[singular > tolerance * singular[0]]
    held = np.cumsum(np.square(real / singular[0]))
    # What is asked for may be missed by rounding alone.
    enough = variance * held[-1] * (1 - 8 * _EPS)
    return int(np.searchsorted(held, enough)) + 1


def rounding(dtype: np.dtype[np.generic], samples: int) -> float:
    """Return the share of a layer's largest singular value that is rounding.

    Parameters
    ----------
    dtype
        What the layer was stored as, whose rounding makes what depends on each other
        linearly (the outputs of a softmax) seem to be free.
    samples
        How many there are: the decomposition rounds as well.
    """
    stored = float(np.finfo(str(dtype)).eps) if dtype.kind == "f" else 0.0
    return max(10 * stored, samples * _EPS)
