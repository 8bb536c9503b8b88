"""The values of one layer of one run, in memory or in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK_ROWS = 1024
_BLOCK_VALUES = 1 << 23


@dataclass(frozen=True)
class Representation:
    """The values of one layer for every sample, read when they are needed.

    Attributes
    ----------
    run, layer
        Names of the run and the layer.
    samples, width
        Number of samples, and of values per sample; every entry of a map counts.
    dtype
        Type in which the values are stored.
    read
        Returns all values, in any shape (samples, ...).
    read_blocks
        Yields the values in the same shape, some samples at a time.
    unit_run
        Number of consecutive values of one unit; 1 if units are the last axis.
    """

    run: str
    layer: str
    samples: int
    width: int
    dtype: np.dtype[np.generic]
    read: Callable[[], np.ndarray]
    read_blocks: Callable[[], Iterator[np.ndarray]]
    unit_run: int = 1

    def __str__(self) -> str:
        return f"{self.layer} of {self.run}"

    def values(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the values of shape (samples, width).

        Parameters
        ----------
        rows
            Positions of the samples, ascending; by default all.
        """
        if rows is None:
            return self.read().reshape(self.samples, self.width)
        chosen = []
        start = 0
        for [block] in side_by_side([self]):
            inside = rows[(rows >= start) & (rows < start + len(block))]
            chosen.append(block[inside - start])
            start += len(block)
        return np.concatenate(chosen)


def side_by_side(layers: Sequence[Representation]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the values of several layers a block of samples at a time.

    Yields
    ------
    tuple of numpy.ndarray
        One per layer, of shape (samples of this block, width); the wider the layers, the
        fewer samples.
    """
    width = sum(layer.width for layer in layers)
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // max(1, width)))
    yield from zip(*(_recut(layer.read_blocks(), rows) for layer in layers), strict=True)


def _recut(blocks: Iterator[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the same samples in blocks of a given size, each sample flattened."""
    waiting: list[np.ndarray] = []
    held = 0
    for given in blocks:
        block = given.reshape(len(given), -1)
        start = 0
        while held + len(block) - start >= rows:
            end = start + rows - held
            yield np.concatenate([*waiting, block[start:end]])
            waiting, held, start = [], 0, end
        if start < len(block):
            waiting.append(block[start:])
            held += len(block) - start
    if waiting:
        yield np.concatenate(waiting)
