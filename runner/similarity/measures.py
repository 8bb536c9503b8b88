r"""How alike two representations of the same samples are.

Each function takes X of shape (samples, units of one layer) and Y of shape (samples, units of
another), any floating type, and computes in float64. 1 means alike, but for distances. Where a
representation is constant nothing can be said: the value is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]

_SVCCA_SHARE = 0.99
_NEIGHBOURS = 10


def linear_cka_biased(x: np.ndarray, y: np.ndarray) -> float:
    r"""Return linear centred kernel alignment.

    :math:`\|Y^\top X\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)` of centred X and Y: Kornblith et
    al., "Similarity of Neural Network Representations Revisited" (2019), equation 4 with a
    linear kernel. Near 1 for anything that has many more units than samples.
    """
    x, y = centred(x), centred(y)
    both, own_x, own_y = (float(((a.T @ b) ** 2).sum()) for a, b in ((x, y), (x, x), (y, y)))
    return float(both / np.sqrt(own_x * own_y)) if own_x and own_y else np.nan


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    r"""Return linear centred kernel alignment without the bias of few samples.

    The unbiased estimator of HSIC of Song et al., "Feature Selection via Dependence
    Maximization" (2012), equation 5, in place of the biased one, as by Nguyen et al., "Do Wide
    and Deep Networks Learn the Same Things?" (2021), equation 3. About 0 for representations
    that have nothing in common, and may be negative.
    """
    k, m = signature(x), signature(y)
    return float(k @ m)


def signature(x: np.ndarray) -> np.ndarray:
    r"""Return a vector whose scalar product with another's is debiased linear CKA.

    The Gram matrix with its diagonal left out and U-centred (Székely and Rizzo, "Partial
    distance correlation", 2014, equation 3.2), flattened and of length 1.

    Returns
    -------
    ndarray
        Shape (samples * (samples - 1) / 2,), float64; NaN if the representation is constant
        or there are fewer than four samples.
    """
    x = centred(x)
    gram, n = x @ x.T, len(x)
    scale = float(np.abs(gram).max(initial=0.0))
    upper = np.triu_indices(n, 1)
    if n < 4 or scale == 0:
        return np.full(len(upper[0]), np.nan)
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0) / (n - 2)
    gram += rows.sum() / (n - 1) - rows[:, None] - rows
    flat = gram[upper]
    length = float(np.sqrt(2 * (flat @ flat)))
    return np.asarray(flat * (np.sqrt(2) / length if length > 1e-12 * scale else np.nan))


def mean_cca(x: np.ndarray, y: np.ndarray) -> float:
    r"""Return the mean canonical correlation.

    :math:`\|Q_Y^\top Q_X\|_*` over the smaller number of dimensions, Q being orthonormal bases
    of the centred columns: Raghu et al., "SVCCA" (2017); Kornblith et al. (2019), equation 10.
    Exactly 1 where there are no more samples than units.
    """
    return _mean_correlation(_basis(x), _basis(y))


def svcca(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean canonical correlation of the directions with 99 % of the variance.

    Raghu et al., "SVCCA: Singular Vector Canonical Correlation Analysis" (2017), section 2.
    """
    return _mean_correlation(_basis(x, _SVCCA_SHARE), _basis(y, _SVCCA_SHARE))


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    r"""Return the angle in radians that the best rotation leaves between two representations.

    :math:`\arccos \|Y^\top X\|_*` of centred X and Y of Frobenius norm 1: Williams et al.,
    "Generalized Shape Metrics on Neural Representations" (2021), equation 6. 0 means alike.
    """
    x, y = centred(x), centred(y)
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    if 0 in lengths:
        return np.nan
    x, y = x / lengths[0], y / lengths[1]
    u, _, vt = np.linalg.svd(y.T @ x, full_matrices=False)
    if x.shape[1] > y.shape[1]:
        x, y, u, vt = y, x, vt.T, u.T
    # The chord, not the arc cosine, which loses half of the digits of a small angle. What the
    # rotation does not reach of the wider one is left over.
    rotated = y @ (u @ vt)
    beyond = max(0.0, 1 - float((rotated**2).sum()))
    chord = np.sqrt(float(((x - rotated) ** 2).sum()) + (beyond if beyond > 1e-14 else 0.0))
    return float(2 * np.arcsin(min(chord / 2, 1.0)))


def rsa(x: np.ndarray, y: np.ndarray) -> float:
    """Return how alike the samples are ranked by their dissimilarity.

    Spearman's correlation of the dissimilarities 1 - r of every two samples, r being their
    correlation across units: Kriegeskorte et al., "Representational similarity analysis"
    (2008). Rotating the units changes it.
    """
    one, other = (_ranks(_dissimilarities(values)) for values in (x, y))
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / lengths if lengths else np.nan


def mutual_knn(x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of nearest neighbours that samples have in both representations.

    Jaccard index of the sets of ten neighbours by cosine similarity, averaged over samples;
    neighbours in common as by Huh et al., "The Platonic Representation Hypothesis" (2024),
    appendix A.
    """
    k = min(_NEIGHBOURS, len(x) - 1)
    if k < 1 or not (np.ptp(x, axis=0).any() and np.ptp(y, axis=0).any()):
        return np.nan
    sets = [_neighbours(values, k) for values in (x, y)]
    common = np.array([len(np.intersect1d(a, b)) for a, b in zip(*sets, strict=True)])
    return float((common / (2 * k - common)).mean())


MEASURES: dict[str, Measure] = {
    "cka": linear_cka,
    "cka_biased": linear_cka_biased,
    "cca": mean_cca,
    "svcca": svcca,
    "procrustes": procrustes,
    "rsa": rsa,
    "knn": mutual_knn,
}
"""Every measure by the name that it has in a configuration or on a command line."""


def centred(x: np.ndarray) -> np.ndarray:
    """Return float64 values whose mean over samples is 0 for every unit; constants exactly."""
    wide = np.asarray(x, np.float64)
    constant = np.ptp(wide, axis=0) == 0
    wide = wide - wide.mean(axis=0)
    wide[:, constant] = 0
    return np.asarray(wide)


def _basis(x: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Return an orthonormal basis, (samples, rank), of the directions with most variance."""
    u, s, _ = np.linalg.svd(centred(x), full_matrices=False)
    if not s.size or s[0] == 0:
        return u[:, :0]
    kept = s > s[0] * max(x.shape) * np.finfo(np.float64).eps
    if share < 1:
        before = np.concatenate([[0.0], np.cumsum(s**2)[:-1]]) / (s**2).sum()
        kept &= before < share
    return np.asarray(u[:, kept])


def _mean_correlation(x: np.ndarray, y: np.ndarray) -> float:
    smaller = min(x.shape[1], y.shape[1])
    if smaller == 0:
        return np.nan
    return float(np.linalg.svd(y.T @ x, compute_uv=False).clip(max=1).sum() / smaller)


def _dissimilarities(x: np.ndarray) -> np.ndarray:
    wide = np.asarray(x, np.float64)
    wide = wide - wide.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    wide = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    return np.asarray(1 - (wide @ wide.T)[np.triu_indices(len(wide), 1)])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, equal values sharing their mean rank."""
    # Equal dissimilarities come out of the matrix product in different last digits.
    _, places, counts = np.unique(values.round(12), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[places])


def _neighbours(x: np.ndarray, k: int) -> np.ndarray:
    wide = np.asarray(x, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    wide = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    alike = wide @ wide.T
    np.fill_diagonal(alike, -np.inf)
    return np.argsort(-alike, axis=1, kind="stable")[:, :k]
