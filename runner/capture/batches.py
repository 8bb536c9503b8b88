"""What is shown to a model at once, and for how many samples: that must not change the values."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from runner.capture.calls import leaves
from runner.model.backend import framework
from runner.model.keras_internals import all_layers

# Batches are not padded if a pass would then cost more than this many multiplications (see
# `runner.capture.cost`), which take some milliseconds on two cores.
_CHEAP = 2**28


class Shown(NamedTuple):
    """A batch as it is shown to a model.

    Attributes
    ----------
    inputs
        The inputs, as passed to the model: an array of shape (sample, ...), or a list or
        mapping of arrays.
    targets
        Targets of the model's loss, of shape (sample, ...); needed for gradients.
    """

    inputs: Any
    targets: np.ndarray | None = None

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
        taken: Shown = keras.tree.map_structure(
            lambda array: None if array is None else np.asarray(array)[rows], self
        )
        return taken

    def padded(self, size: int) -> Shown:
        """Repeat the last sample until there are `size` samples."""
        last = self.samples - 1
        return self if last + 1 >= size else self.taken(np.minimum(np.arange(size), last))


def rounded_up(samples: int) -> int:
    """Return the next multiple of the rows that the framework computes side by side.

    In such batches, a sample's values do not depend on its position, and mostly not on the batch
    size; `runner.capture.invariance` checks this.
    """
    lanes = framework().lanes
    return -(-samples // lanes) * lanes


def full_size(samples: int, cost: int) -> int:
    """Return the batch size to pad `samples` to, so that all samples are rounded alike.

    Parameters
    ----------
    samples
        Number of samples to show.
    cost
        The estimated cost of a pass per sample.

    Returns
    -------
    int
        `rounded_up`; `samples` itself where the padded batch would take much longer.
    """
    size = rounded_up(samples)
    return size if size * cost <= _CHEAP or 2 * size <= 3 * samples else samples


def fixed_batch(model: keras.Model) -> int | None:
    """Return the batch size that the model's inputs require, if they have one."""
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or []} - {None}
    return min(sizes, default=None)


def has_states(model: keras.Model) -> bool:
    """Return whether layers of a model keep a state for each position in a batch."""
    return any(getattr(layer, "stateful", False) for layer in all_layers(model))


def has_fixed_batches(model: keras.Model) -> bool:
    """Return whether a model's tensors require batches of one size."""
    return has_states(model) or fixed_batch(model) is not None
