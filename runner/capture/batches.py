"""The batches shown to a model, and their size, which must not change the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from runner.capture.call import leaves, mapped

# Batches are not padded if a pass would then cost more than this many multiplications (see
# `runner.keras_models.cost`), which take about a millisecond on two cores.
_CHEAP = 2**25


class Shown(NamedTuple):
    """A batch as it is shown to a model.

    Attributes
    ----------
    inputs
        The inputs, as passed to the model: an array of shape (sample, ...), or a list or
        mapping of arrays.
    targets
        Targets of the model's loss, of shape (sample, ...); needed for gradients.
    patches
        Name to values that take the place of others inside the pass (see
        `runner.capture.changing`), each of shape (sample, ...).
    """

    inputs: Any
    targets: np.ndarray | None = None
    patches: Mapping[str, np.ndarray] | None = None

    @classmethod
    def of(cls, batch: Any) -> Shown:
        """Return a batch that may be given as its inputs alone."""
        return batch if isinstance(batch, cls) else cls(batch)

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(leaves(self.inputs)[0][1])

    def taken(self, rows: np.ndarray) -> Shown:
        """Return a batch of some samples of this one, in the given order."""
        taken: Shown = mapped(lambda array: np.asarray(array)[rows], self)
        return taken

    def padded(self, size: int) -> Shown:
        """Repeat the last sample until there are `size` samples."""
        last = self.samples - 1
        return self if last + 1 >= size else self.taken(np.minimum(np.arange(size), last))


def rounded_up(samples: int, lanes: int) -> int:
    """Return the next multiple of the rows that matrix products compute side by side.

    In such batches, a sample's values do not depend on its position, and mostly not on the batch
    size; `runner.capture.invariance` checks this.
    """
    return -(-samples // lanes) * lanes


def full_size(samples: int, cost: int, lanes: int) -> int:
    """Return the batch size to pad `samples` to, so that all samples are rounded alike.

    Parameters
    ----------
    samples
        Number of samples to show.
    cost
        The estimated cost of a pass per sample.
    lanes
        The rows that matrix products compute side by side.

    Returns
    -------
    int
        `rounded_up`; `samples` itself where the padded batch would take much longer.
    """
    size = rounded_up(samples, lanes)
    return size if size * cost <= _CHEAP or 2 * size <= 3 * samples else samples
