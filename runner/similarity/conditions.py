"""Conditions that a layer must meet for its similarity to be defined."""

from __future__ import annotations

import numpy as np

_EPS = float(np.finfo(np.float64).eps)


class UndefinedError(ValueError):
    """The similarity of a layer is not defined; the message says why."""


def check_layer(finite: bool, constant: bool) -> None:
    """Check that a layer is finite and not constant, as every measure requires.

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
    """Check that something remains of a layer after debiasing.

    Parameters
    ----------
    kept, whole
        Norm of the U-centred Gram matrix, and trace of the centred one.
    samples
        Number of samples.

    Raises
    ------
    UndefinedError
        If only rounding remains.
    """
    if kept <= 8 * samples * _EPS * whole:
        raise UndefinedError("has no similarity between different samples")


def check_samples(samples: int, least: int) -> None:
    """Check that there are as many samples as a measure needs.

    Raises
    ------
    UndefinedError
        If there are fewer than `least`.
    """
    if samples < least:
        raise UndefinedError(f"has {samples} samples, and this measure needs {least}")


def kept_directions(singular: np.ndarray, tolerance: float, variance: float) -> int:
    """Return the number of a layer's principal directions that are significant.

    Parameters
    ----------
    singular
        Singular values, descending.
    tolerance
        Singular values below this share of the largest count as rounding.
    variance
        Share of the variance, the squares, that the directions must hold.
    """
    real = singular[singular > tolerance * singular[0]]
    held = np.cumsum(np.square(real / singular[0]))
    # The sum may fall short of the requested share due to rounding.
    enough = variance * held[-1] * (1 - 8 * _EPS)
    return int(np.searchsorted(held, enough)) + 1


def rounding(dtype: np.dtype[np.generic], samples: int) -> float:
    """Return the share of a layer's largest singular value that is rounding.

    Parameters
    ----------
    dtype
        Type in which the layer was stored. Its rounding makes linearly dependent units (the
        outputs of a softmax) look independent.
    samples
        Number of samples, which determines the rounding of the decomposition.
    """
    stored = float(np.finfo(str(dtype)).eps) if dtype.kind == "f" else 0.0
    return max(10 * stored, samples * _EPS)
