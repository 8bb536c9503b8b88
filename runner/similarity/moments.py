r"""Linear measures of representations that are too long for memory, from their covariances.

The blocks of rows are read twice, once for the means, so that what is summed in the second pass
is centred already: one pass over raw moments loses all digits where the mean is large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Blocks = Callable[[], Iterator[np.ndarray]]
"""Yields the rows of a representation, (rows, units) at a time, from the beginning."""

_SVCCA_SHARE = 0.99


class CrossMoments:
    """What the linear measures need to know of two representations of the same samples.

    Parameters
    ----------
    x, y
        Their blocks, of the same numbers of rows.

    Attributes
    ----------
    n
        Samples.
    xx, yy, xy
        Sums over samples of products of centred units, float64.
    """

    def __init__(self, x: Blocks, y: Blocks) -> None:
        self.n, mean_x = _mean(x)
        _, mean_y = _mean(y)
        self.xx = np.zeros((len(mean_x), len(mean_x)))
        self.yy = np.zeros((len(mean_y), len(mean_y)))
        self.xy = np.zeros((len(mean_x), len(mean_y)))
        self._norms = np.zeros(3)
        for one, other in zip(x(), y(), strict=True):
            a, b = one.astype(np.float64) - mean_x, other.astype(np.float64) - mean_y
            self.xx += a.T @ a
            self.yy += b.T @ b
            self.xy += a.T @ b
            p, q = (a * a).sum(axis=1), (b * b).sum(axis=1)
            self._norms += p @ p, q @ q, p @ q

    def linear_cka_biased(self) -> float:
        """Return what `runner.similarity.measures.linear_cka_biased` does."""
        both, one, other = (float((m**2).sum()) for m in (self.xy, self.xx, self.yy))
        return both / np.sqrt(one * other) if one and other else np.nan

    def linear_cka(self) -> float:
        """Return what `runner.similarity.measures.linear_cka` does.

        The unbiased HSIC of Song et al. (2012) in terms of centred features: the Gram matrix
        has row sums of 0, so that leaving out its diagonal leaves the squared norms of rows.
        """
        traces = np.trace(self.xx), np.trace(self.yy)
        one = self._hsic(self.xx, self._norms[0], traces[0] * traces[0])
        other = self._hsic(self.yy, self._norms[1], traces[1] * traces[1])
        both = self._hsic(self.xy, self._norms[2], traces[0] * traces[1])
        return float(both / np.sqrt(one * other)) if one > 0 and other > 0 else np.nan

    def procrustes(self) -> float:
        """Return what `runner.similarity.measures.procrustes` does, small angles less exactly."""
        lengths = np.sqrt(np.trace(self.xx) * np.trace(self.yy))
        if lengths == 0:
            return np.nan
        return float(np.arccos(min(1.0, np.linalg.svd(self.xy, compute_uv=False).sum() / lengths)))

    def mean_cca(self) -> float:
        """Return what `runner.similarity.measures.mean_cca` does."""
        return self._correlation(1.0)

    def svcca(self) -> float:
        """Return what `runner.similarity.measures.svcca` does."""
        return self._correlation(_SVCCA_SHARE)

    def _hsic(self, products: np.ndarray, norms: float, traces: float) -> float:
        n = self.n
        square = float((products**2).sum())
        return square - norms + traces / ((n - 1) * (n - 2)) - 2 * norms / (n - 2)

    def _correlation(self, share: float) -> float:
        left, right = _whitening(self.xx, share), _whitening(self.yy, share)
        smaller = min(left.shape[1], right.shape[1])
        if smaller == 0:
            return np.nan
        values = np.linalg.svd(left.T @ self.xy @ right, compute_uv=False)
        return float(values.clip(max=1).sum() / smaller)


def _mean(blocks: Blocks) -> tuple[int, np.ndarray]:
    """Return how many rows there are and the mean of each column, block merged to block."""
    n, mean = 0, np.zeros(0)
    for block in blocks():
        own = block.mean(axis=0, dtype=np.float64)
        n += len(block)
        mean = own if n == len(block) else mean + (own - mean) * (len(block) / n)
    return n, mean


def _whitening(products: np.ndarray, share: float) -> np.ndarray:
    """Return what makes directions with most of the variance uncorrelated, (units, rank)."""
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1], vectors[:, ::-1]
    if not len(values) or values[0] <= 0:
        return vectors[:, :0]
    kept = values > values[0] * len(values) * np.finfo(np.float64).eps
    if share < 1:
        before = np.concatenate([[0.0], np.cumsum(values)[:-1]]) / values.sum()
        kept &= before < share
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
