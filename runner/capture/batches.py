"""Batches: how many samples are shown at once, and what that must not change."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from runner.capture.calls import leaves

LANES = 48
"""Rows that matrix products compute side by side: three vectors of 8 numbers with AVX, of 16 with
AVX-512. What is left over is computed with another rounding, and so is a batch that is smaller.
In batches of a multiple of it, a sample's values do not depend on its place, and mostly not on how
many others there are; `runner.capture.invariance` checks it."""

# Where filling up a batch makes the model put out more values than this, it takes too long.
_SMALL = 2**23


def count_samples(inputs: Any) -> int:
    """Return how many samples a batch has, however its inputs are structured."""
    return len(leaves(inputs)[0][1])


def taken(inputs: Any, samples: np.ndarray) -> Any:
    """Return a batch of some samples of another, in the given order."""
    return keras.tree.map_structure(
        lambda array: None if array is None else np.asarray(array)[samples], inputs
    )


def padded(inputs: Any, size: int) -> Any:
    """Repeat the last sample of a batch until it has `size` samples."""
    count = count_samples(inputs)
    return inputs if count >= size else taken(inputs, np.minimum(np.arange(size), count - 1))


def rounded_up(samples: int) -> int:
    """Return the next multiple of `LANES`."""
    return -(-samples // LANES) * LANES


def full_size(samples: int, values: int) -> int:
    """Return how many samples to show instead of `samples`, so that all round alike.

    Parameters
    ----------
    samples
        How many there are to show.
    values
        How many values the model puts out for each.

    Returns
    -------
    int
        The next multiple of `LANES`; `samples` themselves where so many more would take
        much longer.
    """
    size = rounded_up(samples)
    return size if size * values <= _SMALL or 2 * size <= 3 * samples else samples


def fixed_batch(model: keras.Model) -> int | None:
    """Return how many samples a model takes at once, if its inputs are made for one number."""
    sizes = {tensor.shape[0] for tensor in getattr(model, "inputs", None) or []} - {None}
    return min(sizes, default=None)


def has_states(model: keras.Model) -> bool:
    """Tell whether layers of a model keep a state for each place in a batch."""
    return any(getattr(layer, "stateful", False) for layer in model._flatten_layers())


def has_fixed_batches(model: keras.Model) -> bool:
    """Tell whether a model is made for batches of one size: its tensors say so then."""
    return has_states(model) or fixed_batch(model) is not None
