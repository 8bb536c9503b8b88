"""Similarity of many representations, pair by pair, as one tidy frame."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from runner.errors import InputError, suggest
from runner.similarity.measures import MEASURES, Measure, signature
from runner.similarity.moments import Blocks, CrossMoments

# Samples up to which the whole of two representations, and a Gram matrix, is held in memory.
_MOST_SAMPLES = 2_048
_SIGNATURES_BYTES = 2**30
_FEW_SAMPLES = 10
_FEWEST_FOR_CKA = 4
_SEED = 0

_LINEAR: dict[str, Callable[[CrossMoments], float]] = {
    "cka": CrossMoments.linear_cka,
    "cka_biased": CrossMoments.linear_cka_biased,
    "cca": CrossMoments.mean_cca,
    "svcca": CrossMoments.svcca,
    "procrustes": CrossMoments.procrustes,
}


@dataclass(frozen=True)
class Representation:
    """What one layer of one run put out.

    Attributes
    ----------
    run, layer
        Id of the run, and name of the tensor.
    samples, width
        How many rows, and values in each.
    blocks
        Its rows, (rows, width) at a time.
    """

    run: str
    layer: str
    samples: int
    width: int
    blocks: Blocks

    @cached_property
    def values(self) -> np.ndarray:
        """All rows."""
        return np.concatenate(list(self.blocks()))


def similarities(
    representations: Sequence[Representation],
    pairs: Sequence[tuple[int, int]],
    metric: str | Measure = "cka",
) -> pd.DataFrame:
    """Return how alike representations of the same samples are.

    Parameters
    ----------
    representations
        What to compare.
    pairs
        Which with which, by their places.
    metric
        A key of `runner.similarity.measures.MEASURES`, or a function of two arrays of shape
        (samples, units).

    Returns
    -------
    pandas.DataFrame
        A row per pair: ``run_a``, ``layer_a``, ``run_b``, ``layer_b``, ``metric``, ``value``,
        ``n`` (samples that the value was computed from), ``width_a``, ``width_b``. With more
        than 2,048 samples the linear measures are computed from covariances, exactly; ``rsa``,
        ``knn`` and functions from a random choice of that many samples.

    Raises
    ------
    InputError
        If the metric is unknown, or the representations are not of the same number of samples.

    Warns
    -----
    UserWarning
        Where a value misleads: fewer samples than units for ``cca``, many more units than
        samples for ``cka_biased``, few samples, constant layers.
    """
    if isinstance(metric, str) and metric not in MEASURES:
        advice = suggest(metric, MEASURES) or f"there are {', '.join(MEASURES)}"
        raise InputError.of("metric", f"unknown measure '{metric}'", advice)
    counts = {representation.samples for representation in representations}
    if len(counts) > 1:
        raise InputError.of("similarity", f"the layers have different samples: {sorted(counts)}")
    n = min(counts, default=0)
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "function")
    if n <= _MOST_SAMPLES:
        used, values = n, _whole(representations, pairs, metric)
    elif isinstance(metric, str) and metric in _LINEAR:
        of = _LINEAR[metric]
        used = n
        values = [
            of(CrossMoments(representations[a].blocks, representations[b].blocks)) for a, b in pairs
        ]
    else:
        used = _MOST_SAMPLES
        values = _whole([_chosen(one) for one in representations], pairs, metric)
    rows = [
        (one.run, one.layer, other.run, other.layer, name, value, used, one.width, other.width)
        for (one, other), value in zip(
            ((representations[a], representations[b]) for a, b in pairs), values, strict=True
        )
    ]
    columns = ["run_a", "layer_a", "run_b", "layer_b", "metric", "value", "n", "width_a", "width_b"]
    frame = pd.DataFrame(rows, columns=columns)
    for message in _warnings(frame, name):
        warnings.warn(message, stacklevel=3)
    return frame


def _whole(
    representations: Sequence[Representation],
    pairs: Sequence[tuple[int, int]],
    metric: str | Measure,
) -> list[float]:
    """Return the values of pairs that fit in memory."""
    needed = sorted({place for pair in pairs for place in pair})
    n = representations[0].samples if representations else 0
    if metric == "cka" and 4 * n * n * len(needed) <= _SIGNATURES_BYTES:
        # One product for all pairs, where one after another would read each layer many times.
        place_of = {place: row for row, place in enumerate(needed)}
        signatures = np.stack([signature(representations[place].values) for place in needed])
        every = signatures @ signatures.T
        return [float(every[place_of[a], place_of[b]]) for a, b in pairs]
    measure = MEASURES[metric] if isinstance(metric, str) else metric
    return [float(measure(representations[a].values, representations[b].values)) for a, b in pairs]


def _chosen(one: Representation) -> Representation:
    """Return the same random samples of every representation."""
    rows = np.random.default_rng(_SEED).choice(one.samples, _MOST_SAMPLES, replace=False)
    rows.sort()

    def blocks() -> Iterator[np.ndarray]:
        start = 0
        for block in one.blocks():
            own = rows[(rows >= start) & (rows < start + len(block))] - start
            start += len(block)
            yield block[own]

    return Representation(one.run, one.layer, _MOST_SAMPLES, one.width, blocks)


def _warnings(frame: pd.DataFrame, metric: str) -> Iterator[str]:
    if not len(frame):
        return
    n = int(frame["n"].iloc[0])
    widest = frame[["width_a", "width_b"]].max(axis=1)
    if n < _FEW_SAMPLES:
        yield f"{n} samples are few: similarities of so few say little"
    if metric in ("cca", "svcca") and (widest >= n).any():
        yield (
            f"{metric} with {n} samples and up to {widest.max()} units: with no more samples than "
            "units it comes out as 1 whatever they are"
        )
    if metric == "cka_biased" and (widest > 2 * n).any():
        yield (
            f"cka_biased with {n} samples and up to {widest.max()} units is near 1 even for noise; "
            "cka is not"
        )
    nan = frame[frame["value"].isna()]
    if len(nan):
        where = ", ".join(sorted({*nan["layer_a"], *nan["layer_b"]})[:4])
        few = metric == "cka" and n < _FEWEST_FOR_CKA
        why = "cka needs four samples" if few else f"a layer is constant (among {where})"
        yield f"{len(nan)} pairs have no value: {why}"
