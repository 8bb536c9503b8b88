r"""Linear centred kernel alignment of two layers, debiased and biased.

``<K, L> / (||K|| ||L||)`` of the Gram matrices ``K = x xᵀ`` and ``L = y yᵀ``. Biased: both
centred, which is ``||xᵀy||² / (||xᵀx|| ||yᵀy||)`` of centred ``x`` and ``y``. Debiased: both
U-centred, so that no sample is compared with itself.

1 for a layer and itself. Independent noise scores about 0 debiased; biased, it scores about
``sqrt(d_x d_y / ((d_x + n) (d_y + n)))`` for n samples and d units.

Source: Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited"
(2019, arXiv 1905.00414). U-centring: Székely, Rizzo, "Partial distance correlation with methods
for dissimilarities" (2014); as a debiased HSIC: Song et al., "Feature selection via dependence
maximization" (2012).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from runner.similarity.centring import centred, centred_gram
from runner.similarity.conditions import check_samples, check_structure
from runner.similarity.measure import Measure
from runner.similarity.moments import LayerMoments, MomentSteps
from runner.similarity.signatures import Signature, cosine


def linear_alignment(*, debiased: bool, **known: Any) -> Measure:
    """Return the measure, with what is known about it."""
    return Measure(
        partial(_gram_signature, debiased=debiased),
        cosine,
        by_product=True,
        kept_bytes=lambda samples, units: 8 * samples * min(samples, units + 2),
        moments=MomentSteps(
            partial(_gram_norm, debiased=debiased), partial(_cka, debiased=debiased)
        ),
        **known,
    )


def _gram_signature(x: np.ndarray, *, debiased: bool) -> Signature:
    """Return the upper triangle of the centred Gram matrix."""
    n = len(x)
    check_samples(n, 4 if debiased else 2)
    wide = x.shape[1] > n
    values = centred_gram(x) if wide else centred(x).T
    own = np.diag(values) if wide else np.square(values).sum(axis=0)
    whole = float(own.sum())
    # U-centring adds one number per sample to its row, and the same to its column.
    added = own / (n - 2) - whole / (2 * (n - 1) * (n - 2)) if debiased else np.zeros(n)
    if wide:
        values += added[:, None] + added
        strip = partial(_strip_of_gram, values, debiased)
    else:
        strip = partial(_strip_of_products, np.vstack([values, added, np.ones(n)]), debiased)
    return Signature(n, strip, whole if debiased else None)


def _strip_of_products(units: np.ndarray, debiased: bool, start: int, end: int) -> np.ndarray:
    """Return a strip of the Gram matrix; the last two rows of `units` are for U-centring."""
    rows = units[:, start:end].T.copy()
    rows[:, -2:] = rows[:, :-3:-1]
    return _counted_once(rows @ units[:, start:], debiased)


def _strip_of_gram(gram: np.ndarray, debiased: bool, start: int, end: int) -> np.ndarray:
    return _counted_once(gram[start:end, start:].copy(), debiased)


def _counted_once(strip: np.ndarray, debiased: bool) -> np.ndarray:
    """Scale a strip so that each pair of samples, which the matrix holds twice, counts once."""
    strip[:, : len(strip)] *= _weights(len(strip), debiased)
    return strip


@cache
def _weights(rows: int, debiased: bool) -> np.ndarray:
    # A sample's product with itself occurs once, so its weight is a half, or 0 if debiased.
    return np.triu(np.ones((rows, rows)), 1) + np.eye(rows) * (0 if debiased else np.sqrt(0.5))


def _alignment(between: np.ndarray, x: LayerMoments, y: LayerMoments, debiased: bool) -> float:
    """Return the product of two layers' Gram matrices, centred or U-centred."""
    centred = float(np.linalg.norm(between)) ** 2
    if not debiased:
        return centred
    n = len(x.squares)
    totals = x.squares.sum() * y.squares.sum()
    return float(centred - x.squares @ y.squares * (n / (n - 2)) + totals / ((n - 1) * (n - 2)))


def _gram_norm(layer: LayerMoments, *, debiased: bool) -> float:
    if debiased:
        check_samples(len(layer.squares), 4)
    norm = float(np.sqrt(max(_alignment(layer.scatter, layer, layer, debiased), 0.0)))
    if debiased:
        check_structure(norm, float(layer.squares.sum()), len(layer.squares))
    return norm


def _cka(
    between: np.ndarray,
    x: LayerMoments,
    y: LayerMoments,
    norm_x: float,
    norm_y: float,
    *,
    debiased: bool,
) -> float:
    return _alignment(between, x, y, debiased) / norm_x / norm_y


CKA = linear_alignment(
    debiased=True,
    order=0,
    title="debiased linear CKA",
    definition="linear centered kernel alignment (CKA), debiased "
    "(Song 2012, Kornblith 2019, Nguyen 2021)",
    invariant_to="rotation, scale, shift, order of units",
    note="needs four samples; may be below 0",
)
