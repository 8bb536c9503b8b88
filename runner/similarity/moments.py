"""Means and covariances of features that come in blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from runner.similarity.conditions import (
    check_layer,
)

_STRIP = 512  # number of features whose products are summed at a time


class JointMoments:
    """Mean and scatter of several layers' features together, from blocks of samples.

    The scatter is the sum over samples of outer products about the mean: the covariance
    times the number of samples. It is summed in float64, each block about its own mean,
    and merged by the pairwise update of Chan, Golub and LeVeque, "Updating formulae
    and a pairwise algorithm for computing sample variances" (1979): a large mean costs no
    digits, and how the samples are cut into blocks makes no difference beyond rounding.

    Parameters
    ----------
    widths
        Number of features of each layer.

    Attributes
    ----------
    count
        Number of samples so far.
    mean
        Shape (features,), layer after layer.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        ends = [0, *accumulate(widths)]
        self._parts = [slice(*ends) for ends in pairwise(ends)]
        self.count = 0
        self.mean = np.zeros(ends[-1])
        self._upper = np.zeros((ends[-1], ends[-1]))  # of the scatter, filled by strips
        self._least = np.full(ends[-1], np.inf)
        self._most = np.full(ends[-1], -np.inf)

    def update(self, blocks: Sequence[np.ndarray]) -> None:
        """Add more samples.

        Parameters
        ----------
        blocks
            One per layer, of shape (samples, features).
        """
        rows = len(blocks[0])
        block = np.empty((rows + 1, len(self.mean)))
        samples = block[:rows]
        np.concatenate(blocks, axis=1, out=samples)
        np.minimum(self._least, samples.min(axis=0), out=self._least)
        np.maximum(self._most, samples.max(axis=0), out=self._most)
        with np.errstate(invalid="ignore"):  # infinity - infinity, which `check` refuses
            mean = samples.mean(axis=0)
            samples -= mean
            block[rows] = self._merge_mean(rows, mean)  # in the same product
            self._add_products(block)

    def merge(self, other: JointMoments) -> None:
        """Add the moments of other samples of the same layers; the same to rounding.

        Raises
        ------
        ValueError
            If the other moments are of layers with other numbers of features.
        """
        if self._parts != other._parts:
            raise ValueError("expected moments of layers with the same numbers of features")
        np.minimum(self._least, other._least, out=self._least)
        np.maximum(self._most, other._most, out=self._most)
        if other.count:
            with np.errstate(invalid="ignore"):
                self._upper += other._upper
                self._add_products(self._merge_mean(other.count, other.mean)[None])

    def _add_products(self, block: np.ndarray) -> None:
        """Add the products of all pairs of features, summed over rows of shape (rows, features)."""
        for start in range(0, len(self.mean), _STRIP):
            strip = slice(start, start + _STRIP)
            above = slice(0, start + _STRIP)
            self._upper[above, strip] += block[:, above].T @ block[:, strip]

    def _merge_mean(self, rows: int, mean: np.ndarray) -> np.ndarray:
        """Merge the mean of more samples; return the row whose products move the scatter to it."""
        total = self.count + rows
        shift = mean - self.mean
        row = np.asarray(shift * np.sqrt(self.count * rows / total))
        self.mean += shift * (rows / total)
        self.count = total
        return row

    def between(self, x: int, y: int) -> np.ndarray:
        """Return the scatter between two layers, shape (features of x, features of y)."""
        if x > y:
            return self.between(y, x).T
        found = self._upper[self._parts[x], self._parts[y]]
        if x == y:  # the part below the diagonal is incomplete
            found = np.triu(found)
            found += np.triu(found, 1).T
        return found

    def check(self, layer: int) -> None:
        """Check that the layer is finite and not constant, as every measure requires.

        Raises
        ------
        UndefinedError
            If it holds NaN or infinity, or the same for every sample.
        """
        least, most = self._least[self._parts[layer]], self._most[self._parts[layer]]
        finite = bool(np.isfinite(least).all() and np.isfinite(most).all())
        check_layer(finite, bool((least == most).all()))

    def squared_norms(self, blocks: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
        """Return each sample's squared distance from the mean.

        Parameters
        ----------
        blocks
            The same blocks that were passed to `update`.

        Returns
        -------
        numpy.ndarray
            Shape (layers, samples).
        """
        with np.errstate(invalid="ignore"):
            found = [
                [
                    np.square(values - self.mean[part]).sum(axis=1)
                    for values, part in zip(block, self._parts, strict=True)
                ]
                for block in blocks
            ]
        return np.concatenate(found, axis=1)


@dataclass(frozen=True)
class LayerMoments:
    """Moments of one layer that the measures need.

    Attributes
    ----------
    scatter
        Scatter of the layer's features, of shape (units, units).
    squares
        Squared distance of each sample from the mean, shape (samples,).
    dtype
        Type in which the layer was stored.
    """

    scatter: np.ndarray
    squares: np.ndarray
    dtype: np.dtype[np.generic]

    def dominant_share(self) -> float:
        """Return the largest share that one sample has in the layer's variance."""
        return float(self.squares.max() / self.squares.sum())


@dataclass(frozen=True)
class MomentSteps:
    """The two steps of a measure, as in `runner.similarity.measure.Measure`, from moments.

    Attributes
    ----------
    prepare
        Returns a prepared layer. Raises `UndefinedError` if the measure is not defined for it.
    combine
        Maps the scatter between two layers, of shape (units of x, units of y), both
        layers and both prepared layers to the value.
    """

    prepare: Callable[[LayerMoments], Any]
    combine: Callable[[np.ndarray, LayerMoments, LayerMoments, Any, Any], float]
