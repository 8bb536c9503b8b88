"""Measures of the similarity of two layers' representations of the same samples.

Each is a function of two arrays, ``x`` of shape (samples, units) and ``y`` of shape
(samples, other units), whose rows are the same samples, and returns a float, or NaN with a
warning that says why if the measure is not defined. It is computed in float64, in two steps:
the part that depends on one layer (`Measure.prepare`) and the part that depends on the pair
(`Measure.combine`), so that each of many layers is prepared once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from runner.similarity.conditions import (
    UndefinedError,
    check_layer,
    check_samples,
    kept_directions,
    rounding,
)
from runner.similarity.signatures import Signature, cosine

NEIGHBOURS = 10
"""Number of nearest neighbours of a sample in `knn_jaccard`."""

SVCCA_VARIANCE = 0.99
"""Share of a layer's variance that `svcca` keeps."""

_BLOCK_VALUES = 1 << 22
"""Number of values of a layer that are centred at a time, to bound the memory."""

_DECIMALS = 12
"""Correlations that are equal to this number of decimals are ties; the rest is rounding."""


@dataclass(frozen=True)
class Measure:
    """A measure in two steps.

    Attributes
    ----------
    prepare
        Maps an array of shape (samples, units) to the prepared layer. Raises
        `UndefinedError` if the measure is not defined for it.
    combine
        Maps two prepared layers to the value.
    by_product
        Whether a prepared layer is a `Signature` and `combine` the cosine of two of them. All
        pairs of many layers are then one matrix product.
    kept_bytes
        Maps the numbers of samples and units to the bytes of a prepared layer.
    samples_squared
        Whether `prepare` compares every sample with every other, which limits the number of
        samples.
    """

    prepare: Callable[[np.ndarray], Any]
    combine: Callable[[Any, Any], float]
    by_product: bool = False
    kept_bytes: Callable[[int, int], int] = lambda samples, units: 8 * samples * units
    samples_squared: bool = False

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the value for two layers; NaN with a warning if it is not defined."""
        if len(x) != len(y):
            raise ValueError(f"expected the same samples, found {len(x):,} and {len(y):,}")
        try:
            return self.combine(self.prepare(x), self.prepare(y))
        except UndefinedError as reason:
            warnings.warn(f"no similarity: a layer {reason}", stacklevel=3)
            return float("nan")


def linear_cka(x: np.ndarray, y: np.ndarray, debiased: bool = True) -> float:
    r"""Return the linear centred kernel alignment of two layers.

    ``<K, L> / (||K|| ||L||)`` of the Gram matrices ``K = x xᵀ`` and ``L = y yᵀ``. Biased:
    both centred, which is ``||xᵀy||² / (||xᵀx|| ||yᵀy||)`` of centred ``x`` and ``y``.
    Debiased: both U-centred, so that no sample is compared with itself.

    1 for a layer and itself; unchanged by rotation, isotropic scaling, shift and unit
    order. Independent noise scores about 0 debiased; biased, it scores about
    ``sqrt(d_x d_y / ((d_x + n) (d_y + n)))`` for n samples and d units.

    Source: Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations
    Revisited" (2019, arXiv 1905.00414). U-centring: Székely, Rizzo, "Partial distance
    correlation with methods for dissimilarities" (2014); as a debiased HSIC: Song et al.,
    "Feature selection via dependence maximization" (2012).
    """
    return MEASURES["cka" if debiased else "cka_biased"](x, y)


def mean_cca(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean canonical correlation of two layers.

    The mean of the singular values of ``QᵀR``, where the columns of Q and R are orthonormal
    bases of centred ``x`` and ``y``, over the smaller of their ranks. Directions that can be
    due to rounding do not count towards a rank.

    1 for a layer and itself; unchanged by any invertible linear map. With no more samples
    than units it is always 1.

    Source: Hotelling, "Relations between two sets of variates" (1936); the mean as a
    similarity: Kornblith et al. (2019, arXiv 1905.00414).
    """
    return MEASURES["cca"](x, y)


def svcca(x: np.ndarray, y: np.ndarray) -> float:
    """Return the singular vector canonical correlation of two layers.

    `mean_cca` of each layer's first principal directions, as many as hold 99 % of its
    variance. Unchanged by rotation, isotropic scaling, shift and unit order.

    Source: Raghu, Gilmer, Yosinski, Sohl-Dickstein, "SVCCA: Singular Vector Canonical
    Correlation Analysis for Deep Learning Dynamics and Interpretability" (2017, arXiv
    1706.05806).
    """
    return MEASURES["svcca"](x, y)


def procrustes_angle(x: np.ndarray, y: np.ndarray) -> float:
    """Return the angular Procrustes distance of two layers, in radians.

    ``arccos(||xᵀy||_* / (||x|| ||y||))`` of centred ``x`` and ``y`` (nuclear norm over
    Frobenius norms): the angle that remains after the best rotation of one layer onto the
    other. A layer with fewer units is padded with zeros.

    A distance: 0 for a layer and itself, at most pi/2; it satisfies the triangle inequality.
    Unchanged by rotation, isotropic scaling, shift and unit order.

    Source: Williams, Kunz, Kornblith, Linderman, "Generalized Shape Metrics on Neural
    Representations" (2021, arXiv 2110.14739).
    """
    return MEASURES["procrustes"](x, y)


def rsa(x: np.ndarray, y: np.ndarray) -> float:
    """Return the correlation of two layers' sample dissimilarities.

    Spearman's correlation, over all pairs of samples, of one minus Pearson's correlation
    between the two samples' rows. Unchanged by isotropic scaling and unit order, but not
    by rotation, nor by a shift that differs from unit to unit.

    Source: Kriegeskorte, Mur, Bandettini, "Representational similarity analysis -
    connecting the branches of systems neuroscience" (2008).
    """
    return MEASURES["rsa"](x, y)


def knn_jaccard(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean overlap of the samples' nearest neighbours in two layers.

    The Jaccard index ``|A and B| / |A or B|``, averaged over samples, where A and B are the
    10 other samples nearest to a sample by cosine similarity in each layer; ties go to the
    earlier sample. 1 for a layer and itself; unchanged by rotation, isotropic
    scaling and unit order, but not by a shift.

    Source: Klabunde, Schumacher, Strohmaier, Lemmerich, "Similarity of Neural Network
    Models: A Survey of Functional and Representational Measures" (2023, arXiv
    2305.06329).
    """
    return MEASURES["knn"](x, y)


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
    for block in _centred_blocks(x):
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


def _check_values(x: np.ndarray) -> None:
    check_layer(bool(np.isfinite(x).all()), bool((x == x[:1]).all()))


def _centred_blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield centred x in float64, some units at a time, scaled so that products do not overflow."""
    _check_values(x)
    scale = max(abs(float(x.max())), abs(float(x.min())))
    units = max(1, _BLOCK_VALUES // len(x))
    for start in range(0, x.shape[1], units):
        block = x[:, start : start + units].astype(np.float64)
        block /= scale
        block -= block.mean(axis=0)
        yield block


def _centred(x: np.ndarray) -> np.ndarray:
    return np.concatenate(list(_centred_blocks(x)), axis=1)


def _squares(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ij,ij->i", x, x))


def _sample_squares(x: np.ndarray) -> np.ndarray:
    """Return each sample's squared distance from the mean, in the scale of `_centred_blocks`."""
    squares = np.zeros(len(x))
    for block in _centred_blocks(x):
        squares += _squares(block)
    return squares


def _gram_signature(x: np.ndarray, *, debiased: bool) -> Signature:
    """Return the upper triangle of the centred Gram matrix."""
    n = len(x)
    check_samples(n, 4 if debiased else 2)
    wide = x.shape[1] > n
    centred = centred_gram(x) if wide else _centred(x).T
    own = np.diag(centred) if wide else np.square(centred).sum(axis=0)
    whole = float(own.sum())
    # U-centring adds one number per sample to its row, and the same to its column.
    added = own / (n - 2) - whole / (2 * (n - 1) * (n - 2)) if debiased else np.zeros(n)
    if wide:
        centred += added[:, None] + added
        strip = partial(_strip_of_gram, centred, debiased)
    else:
        strip = partial(_strip_of_products, np.vstack([centred, added, np.ones(n)]), debiased)
    return Signature(n, strip, whole if debiased else None)


def _gram_bytes(samples: int, units: int) -> int:
    return 8 * samples * min(samples, units + 2)


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


def _basis(x: np.ndarray, *, variance: float) -> np.ndarray:
    """Return an orthonormal basis of a centred layer, of shape (samples, directions)."""
    tolerance = rounding(x.dtype, len(x))
    left, singular, _ = np.linalg.svd(_centred(x), full_matrices=False)
    return np.asarray(left[:, : kept_directions(singular, tolerance, variance)])


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    correlations = np.linalg.svd(x.T @ y, compute_uv=False)
    return float(min(correlations.mean(), 1.0))


def _configuration(x: np.ndarray) -> np.ndarray:
    """Return a centred layer of norm 1, rotated into as few dimensions as possible."""
    x = _centred(x)
    x /= np.linalg.norm(x)
    return np.asarray(np.linalg.qr(x.T, mode="r")).T if x.shape[1] > len(x) else x


def _angle(x: np.ndarray, y: np.ndarray) -> float:
    if x.shape[1] > y.shape[1]:
        x, y = y, x
    left, _, right = np.linalg.svd(x.T @ y, full_matrices=False)
    rotated = (x @ left) @ right
    # The arc cosine would lose half of the digits near 0.
    return float(2 * np.arctan2(np.linalg.norm(rotated - y), np.linalg.norm(rotated + y)))


def _ranked_dissimilarities(x: np.ndarray) -> Signature:
    """Return the centred ranks of the dissimilarities of all pairs of samples."""
    check_samples(len(x), 3)
    _check_values(x)
    _refuse_rows((x == x[:, :1]).all(axis=1), "has the same value in every unit")
    x = x.astype(np.float64)
    x = x / np.abs(x).max(axis=1, keepdims=True)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.sqrt(_squares(x))[:, None]
    correlations = np.round((x @ x.T)[np.triu_indices(len(x), 1)], _DECIMALS)
    _, places, ties = np.unique(correlations, return_inverse=True, return_counts=True)
    if len(ties) == 1:
        raise UndefinedError("has all samples at the same distance from each other")
    # Descending, since a higher correlation is a lower dissimilarity; ties share their mean rank.
    ranks = (len(correlations) - np.cumsum(ties) + (ties + 1) / 2)[places.reshape(-1)]
    ranks -= ranks.mean()
    return Signature(len(x), partial(_strip_of_pairs, ranks, len(x)))


def _pairs_bytes(samples: int, _units: int) -> int:
    return 4 * samples**2


def _strip_of_pairs(values: np.ndarray, samples: int, start: int, end: int) -> np.ndarray:
    """Return the entries in some rows of an upper triangle without its diagonal."""
    begin, beyond = (row * (2 * samples - row - 1) // 2 for row in (start, min(end, samples)))
    return values[begin:beyond]


def _nearest(x: np.ndarray) -> np.ndarray:
    """Return each sample's nearest neighbours, of shape (samples, neighbours)."""
    check_samples(len(x), 2)
    _check_values(x)
    if x.shape[1] == 1:
        raise UndefinedError("has a single unit, and so no directions")
    _refuse_rows((x == 0).all(axis=1), "is 0 in every unit, and so has no direction")
    x = x.astype(np.float64)
    x = x / np.abs(x).max(axis=1, keepdims=True)
    x /= np.sqrt(_squares(x))[:, None]
    distances = -np.round(x @ x.T, _DECIMALS)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")
    return nearest[:, : min(NEIGHBOURS, len(x) - 1)]


def _mean_jaccard(x: np.ndarray, y: np.ndarray) -> float:
    together = np.sort(np.concatenate([x, y], axis=1), axis=1)
    shared = (together[:, 1:] == together[:, :-1]).sum(axis=1)
    return float((shared / (together.shape[1] - shared)).mean())


def _refuse_rows(wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        count = int(wrong.sum())
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise UndefinedError(f"has a sample, row {int(np.argmax(wrong))}{more}, that {what}")


MEASURES: dict[str, Measure] = {
    "cka": Measure(partial(_gram_signature, debiased=True), cosine, True, _gram_bytes),
    "cka_biased": Measure(partial(_gram_signature, debiased=False), cosine, True, _gram_bytes),
    "cca": Measure(partial(_basis, variance=1.0), _mean_correlation),
    "svcca": Measure(partial(_basis, variance=SVCCA_VARIANCE), _mean_correlation),
    "procrustes": Measure(_configuration, _angle),
    "rsa": Measure(_ranked_dissimilarities, cosine, True, _pairs_bytes, samples_squared=True),
    "knn": Measure(_nearest, _mean_jaccard, samples_squared=True),
}
"""All measures, by the names that ``metric=`` takes."""
