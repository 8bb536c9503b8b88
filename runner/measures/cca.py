"""Mean canonical correlation of two layers.

The mean of the singular values of ``QᵀR``, where the columns of Q and R are orthonormal bases of
centred ``x`` and ``y``, over the smaller of their ranks. Directions that can be due to rounding do
not count towards a rank. 1 for a layer and itself.

Source: Hotelling, "Relations between two sets of variates" (1936); the mean as a similarity:
Kornblith et al. (2019, arXiv 1905.00414).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from runner.similarity.centring import centred
from runner.similarity.conditions import kept_directions, rounding
from runner.similarity.measure import Measure
from runner.similarity.moments import LayerMoments, MomentSteps


def correlation(variance: float, **known: Any) -> Measure:
    """Return the measure of the directions that hold a share of the variance."""
    return Measure(
        partial(_basis, variance=variance),
        _mean_correlation,
        cautions=(_spanned,),
        moments=MomentSteps(partial(_whitening, variance=variance), _mean_of_whitened),
        **known,
    )


def _spanned(pairs: pd.DataFrame) -> str:
    """Describe the pairs in which a layer has enough units to fit any values of the samples."""
    widest = pairs[["width_a", "width_b"]].max(axis=1)
    spanned = pairs["n"] <= widest
    if not spanned.any():
        return ""
    return (
        f"{spanned.sum():,} of {len(pairs):,} values are near 1 for any two layers, since "
        f"{pairs['n'][spanned].min():,} samples are no more than {widest.max():,} units; "
        "show more samples, or use cka"
    )


def _basis(x: np.ndarray, *, variance: float) -> np.ndarray:
    """Return an orthonormal basis of a centred layer, of shape (samples, directions)."""
    tolerance = rounding(x.dtype, len(x))
    left, singular, _ = np.linalg.svd(centred(x), full_matrices=False)
    return np.asarray(left[:, : kept_directions(singular, tolerance, variance)])


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    correlations = np.linalg.svd(x.T @ y, compute_uv=False)
    return float(min(correlations.mean(), 1.0))


def _whitening(layer: LayerMoments, *, variance: float) -> np.ndarray:
    """Return the matrix that maps features to uncorrelated ones with unit scatter."""
    values, vectors = np.linalg.eigh(layer.scatter)
    singular = np.sqrt(np.clip(values[::-1], 0, None))
    # The eigenvalues are squares, which keep half of the digits.
    least = np.sqrt(len(values) * np.finfo(np.float64).eps)
    tolerance = max(rounding(layer.dtype, len(layer.squares)), float(least))
    count = kept_directions(singular, tolerance, variance)
    return np.asarray(vectors[:, ::-1][:, :count] / singular[:count])


def _mean_of_whitened(
    between: np.ndarray, _x: LayerMoments, _y: LayerMoments, of_x: np.ndarray, of_y: np.ndarray
) -> float:
    correlations = np.linalg.svd(of_x.T @ between @ of_y, compute_uv=False)
    return float(min(correlations.mean(), 1.0))


CCA = correlation(
    1.0,
    order=20,
    definition="mean canonical correlation (Raghu 2017)",
    invariant_to="any invertible linear map",
    note="always 1 if there are no more samples than units",
)
