"""Correlation of two layers' sample dissimilarities.

Spearman's correlation, over all pairs of samples, of one minus Pearson's correlation between the
two samples' rows. Changed by rotation, and by a shift that differs from unit to unit.

Source: Kriegeskorte, Mur, Bandettini, "Representational similarity analysis - connecting the
branches of systems neuroscience" (2008).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from runner.similarity.centring import check_values, cosines, refuse_rows, scaled_rows
from runner.similarity.conditions import UndefinedError, check_samples
from runner.similarity.measure import Measure
from runner.similarity.signatures import Signature, cosine


def _ranked_dissimilarities(x: np.ndarray) -> Signature:
    """Return the centred ranks of the dissimilarities of all pairs of samples."""
    check_samples(len(x), 3)
    check_values(x)
    refuse_rows((x == x[:, :1]).all(axis=1), "has the same value in every unit")
    x = scaled_rows(x)
    x -= x.mean(axis=1, keepdims=True)
    correlations = cosines(x)[np.triu_indices(len(x), 1)]
    _, places, ties = np.unique(correlations, return_inverse=True, return_counts=True)
    if len(ties) == 1:
        raise UndefinedError("has all samples at the same distance from each other")
    # Descending, since a higher correlation is a lower dissimilarity; ties share their mean rank.
    ranks = (len(correlations) - np.cumsum(ties) + (ties + 1) / 2)[places.reshape(-1)]
    ranks -= ranks.mean()
    return Signature(len(x), partial(_strip_of_pairs, ranks, len(x)))


def _strip_of_pairs(values: np.ndarray, samples: int, start: int, end: int) -> np.ndarray:
    """Return the entries in some rows of an upper triangle without its diagonal."""
    begin, beyond = (row * (2 * samples - row - 1) // 2 for row in (start, min(end, samples)))
    return values[begin:beyond]


RSA = Measure(
    _ranked_dissimilarities,
    cosine,
    order=50,
    definition="Spearman correlation of the dissimilarities of all sample pairs "
    "(Kriegeskorte 2008)",
    invariant_to="scale, order of units",
    note="not invariant to rotation",
    by_product=True,
    kept_bytes=lambda samples, _units: 4 * samples**2,
    samples_squared=True,
)
