"""The table of all pairs of layers, compared by one measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from runner.errors import InputError
from runner.similarity.cautions import warn_of
from runner.similarity.group import compare_group
from runner.similarity.measure import Measure
from runner.similarity.measures import measure_of
from runner.similarity.progress import Counted, Progress, silent
from runner.similarity.representation import Representation
from runner.similarity.triangle import Triangle, pair_count
from runner.sizes import readable

Metric = str | Callable[[np.ndarray, np.ndarray], float]

MAX_SAMPLES = 2000
"""Largest number of samples for measures that compare each sample with every other."""

_PAIR_BYTES = 84
"""Memory for a row of the result, measured including temporary memory."""

MAX_BYTES = 4 << 30
"""Memory limit for all pairs."""


def compare_layers(
    groups: Iterable[Sequence[Representation]],
    metric: Metric = "cka",
    samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Compare all pairs of layers of each group.

    Parameters
    ----------
    groups
        Layers that were all shown the same samples in the same order.
    metric
        The name of a measure, with its options (`runner.similarity.measures.measure_of`), or a
        function of two arrays of shape (samples, units) that returns a float.
    samples
        Largest number of samples for ``rsa`` and ``knn``, which compare each sample with
        every other; if there are more, a random subset is used.
    seed
        Seed of the random subset.
    max_bytes
        Memory limit for the rows of the result, checked before anything is read.
    progress
        Called with the unit that is counted, the number done, and the total.

    Returns
    -------
    pandas.DataFrame
        A row per pair, each pair once, in the order of the layers: ``run_a``, ``layer_a``,
        ``run_b``, ``layer_b``, ``metric``, ``value``, ``n`` (samples), ``width_a``,
        ``width_b`` (values of a sample) and ``note``: the reason why a value is NaN, or the
        samples that were used.

    Raises
    ------
    InputError
        If there is no such metric or option, a layer is too large, or there are too many pairs.
    """
    name, measure = _named(metric)
    groups = [list(layers) for layers in groups]
    count = sum(pair_count(len(layers)) for layers in groups)
    _check_count(groups, count, max_bytes)
    counted = Counted(progress, count)
    columns = _columns(count)
    every: list[str] = []
    start = 0
    for layers in groups:
        end = start + pair_count(len(layers))
        part = {key: column[start:end] for key, column in columns.items()}
        every += _fill_in(part, name, measure, layers, samples, seed, counted)
        start = end
    # Without a copy, which would double the memory.
    frame = pd.DataFrame({key: _as_it_is(column) for key, column in columns.items()}, copy=False)
    warn_of(name, measure, frame, every)
    return frame


def _check_count(groups: Sequence[Sequence[Representation]], count: int, max_bytes: int) -> None:
    needed = count * _PAIR_BYTES
    if needed > max_bytes:
        layers = sum(map(len, groups))
        raise InputError.of(
            "similarity",
            f"{count:,} pairs of {layers:,} layers would take {readable(needed)} of memory, "
            f"the limit is {readable(max_bytes)}",
            "compare fewer runs, name the layers that matter, or raise max_bytes",
        )


def _columns(count: int) -> dict[str, np.ndarray]:
    """Return empty columns for `count` pairs; texts are shared, at one pointer per row."""
    kinds = {
        "run_a": object, "layer_a": object, "run_b": object, "layer_b": object,
        "metric": object, "value": np.float64, "n": np.int64, "width_a": np.int64,
        "width_b": np.int64, "note": object,
    }  # fmt: skip
    return {key: np.empty(count, kind) for key, kind in kinds.items()}


def _as_it_is(column: np.ndarray) -> pd.Series:
    return pd.Series(column, dtype=column.dtype, copy=False)


def _named(metric: Metric) -> tuple[str, Measure]:
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), Measure(np.asarray, metric)
    return metric, measure_of(metric)


def _fill_in(
    columns: dict[str, np.ndarray],
    name: str,
    measure: Measure,
    layers: Sequence[Representation],
    samples: int,
    seed: int,
    counted: Counted,
) -> list[str]:
    """Fill in the pairs of one group and return the warnings about single layers."""
    used = available = layers[0].samples
    rows = None
    about = ""
    if measure.samples_squared and available > samples:
        used = samples
        rows = np.sort(np.random.default_rng(seed).choice(available, used, replace=False))
        about = f"{used:,} of {available:,} samples, seed {seed}"
    triangle = Triangle(columns["value"], len(layers))
    remarks = compare_group(triangle, measure, layers, rows, counted)
    columns["metric"][:], columns["n"][:] = name, used
    of_layers = {
        "run": np.array([layer.run for layer in layers], object),
        "layer": np.array([layer.layer for layer in layers], object),
        "width": np.array([layer.width for layer in layers]),
    }
    for place in range(len(layers)):
        row = triangle.row(place)
        for key, values in of_layers.items():
            columns[f"{key}_a"][row] = values[place]
            columns[f"{key}_b"][row] = values[place + 1 :]
        said = [about, remarks.get(place, "")]
        columns["note"][row] = "; ".join(filter(None, said))
        for other in (other for other in remarks if other > place):
            note = "; ".join(filter(None, [*said, remarks[other]]))
            columns["note"][row.start + other - place - 1] = note
    return list(remarks.values())
