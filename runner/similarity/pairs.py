"""Comparison of all pairs of layers by one measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import InputError, suggest
from runner.preflight import readable
from runner.similarity.cautions import DOMINANT, warn_of
from runner.similarity.centring import dominant_share
from runner.similarity.conditions import UndefinedError
from runner.similarity.measure import Measure
from runner.similarity.measures import MEASURES
from runner.similarity.moments import JointMoments, LayerMoments, MomentSteps
from runner.similarity.progress import Counted, Progress, silent
from runner.similarity.representation import Representation, side_by_side
from runner.similarity.signatures import Signature, products
from runner.similarity.triangle import Triangle, pair_count

Metric = str | Callable[[np.ndarray, np.ndarray], float]

MAX_SAMPLES = 2000
"""Largest number of samples for measures that compare each sample with every other."""

_CHUNK_BYTES = 2 << 30
"""Memory for the prepared layers that are kept at a time."""

_CHUNK_UNITS = 4096
"""Number of units whose covariance is kept at a time; a single layer may have more."""

_FEW_SAMPLES = 2048
"""Largest number of samples for which the Gram matrix is cheaper than the covariance."""

_MOST_BYTES = 8 << 30
"""Memory limit for one pair."""

_PAIR_BYTES = 84
"""Memory for a row of the result, measured including temporary memory."""

_PRODUCT_ROWS = 1024
"""Number of layers that are multiplied with all others at a time."""

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
        A key of `runner.similarity.measures.MEASURES`, or a function of two arrays of
        shape (samples, units) that returns a float.
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
        If there is no such metric, a layer is too large for it, or there are too many pairs.
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
        every += _compare_group(part, name, measure, layers, samples, seed, counted)
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
    if metric not in MEASURES:
        advice = suggest(metric, MEASURES) or f"there are {', '.join(MEASURES)}"
        raise InputError.of("metric", f"unknown metric '{metric}'", advice)
    return metric, MEASURES[metric]


def _compare_group(
    columns: dict[str, np.ndarray],
    name: str,
    measure: Measure,
    layers: Sequence[Representation],
    samples: int,
    seed: int,
    counted: Counted,
) -> list[str]:
    """Fill in the pairs of one group and return the warnings about single layers."""
    used = given = layers[0].samples
    rows = None
    about = ""
    if measure.samples_squared and given > samples:
        used = samples
        rows = np.sort(np.random.default_rng(seed).choice(given, used, replace=False))
        about = f"{used:,} of {given:,} samples, seed {seed}"
    triangle = Triangle(columns["value"], len(layers))
    if _by_moments(measure, layers, used) and measure.moments is not None:
        remarks = _from_moments(triangle, measure, measure.moments, layers, counted)
    else:
        remarks = _from_values(triangle, measure, layers, rows, counted)
    columns["metric"][:], columns["n"][:] = name, used
    own = {
        "run": np.array([layer.run for layer in layers], object),
        "layer": np.array([layer.layer for layer in layers], object),
        "width": np.array([layer.width for layer in layers]),
    }
    for place in range(len(layers)):
        row = triangle.row(place)
        for key, values in own.items():
            columns[f"{key}_a"][row] = values[place]
            columns[f"{key}_b"][row] = values[place + 1 :]
        said = [about, remarks.get(place, "")]
        columns["note"][row] = "; ".join(filter(None, said))
        for other in (other for other in remarks if other > place):
            note = "; ".join(filter(None, [*said, remarks[other]]))
            columns["note"][row.start + other - place - 1] = note
    return list(remarks.values())


def _by_moments(measure: Measure, layers: Sequence[Representation], samples: int) -> bool:
    """Return whether pairs are compared by sums over samples, cheaper for many samples.

    Raises
    ------
    InputError
        If a pair is too large in both ways.
    """
    widest = max(layers, key=lambda layer: layer.width)
    width = widest.width
    if measure.by_product and not measure.samples_squared:
        needed = 32 * samples**2 + 2 * widest.dtype.itemsize * samples * width
        many = samples > _FEW_SAMPLES
    else:
        needed = 32 * samples * width
        many = needed > _CHUNK_BYTES
    by_moments = measure.moments is not None and many and samples > width
    if by_moments:
        needed = 64 * width**2
    if needed > _MOST_BYTES:
        raise InputError.of(
            str(widest),
            f"{samples:,} samples of {width:,} values would take {readable(needed)} of memory",
            "show fewer samples, or capture the layer smaller with capture.reduce",
        )
    return by_moments


def _from_values(
    triangle: Triangle,
    measure: Measure,
    layers: Sequence[Representation],
    rows: np.ndarray | None,
    counted: Counted,
) -> dict[int, str]:
    """Fill in the values of all pairs from the layers' values and return remarks on layers."""
    remarks: dict[int, str] = {}

    def prepared(places: Sequence[int]) -> dict[int, Any]:
        kept = {}
        for number, place in enumerate(places, 1):
            given = layers[place].values(rows)
            try:
                if measure.is_swayed and (share := dominant_share(given)) > DOMINANT:
                    remarks[place] = _dominated(layers[place], share)
                kept[place] = measure.prepare(given)
            except UndefinedError as reason:
                remarks[place] = f"{layers[place]} {reason}"
            counted.read(number, len(places))
        return kept

    samples = layers[0].samples if rows is None else len(rows)
    sizes = [measure.kept_bytes(samples, layer.width) for layer in layers]
    norms = np.full(len(layers), np.nan)
    chunks = list(_chunks(sizes, _CHUNK_BYTES // 2))
    for number, chunk in enumerate(chunks):
        left = prepared(chunk)
        for other in chunks[number:]:
            right = left if other is chunk else prepared(other)
            if measure.by_product:
                _multiply(triangle, norms, left, right)
                counted.compared(triangle.between(chunk, other))
                continue
            for x in left:
                ys = [y for y in right if y > x]
                for y in ys:
                    triangle.put(x, y, measure.combine(left[x], right[y]))
                counted.compared(len(ys))
        if measure.by_product:
            _refuse_rounding(left, layers, norms, remarks)
    if measure.by_product:
        for place in range(len(layers)):
            triangle.values[triangle.row(place)] /= norms[place] * norms[place + 1 :]
    return remarks


def _multiply(
    triangle: Triangle,
    norms: np.ndarray,
    left: Mapping[int, Signature],
    right: Mapping[int, Signature],
) -> None:
    """Fill in the inner products of two chunks, and the norms if they are the same chunk."""
    across = np.array(list(right), np.int64)
    places = list(left)
    for start in range(0, len(places), _PRODUCT_ROWS):
        part = places[start : start + _PRODUCT_ROWS]
        of_part = [left[place] for place in part]
        is_whole = left is right and len(part) == len(places)
        found = products(of_part, of_part if is_whole else list(right.values()))
        for row, place in zip(found, part, strict=True):
            after = across > place
            triangle.values[triangle.row(place).start + across[after] - place - 1] = row[after]
            if left is right:
                norms[place] = np.sqrt(row[across == place][0])


def _refuse_rounding(
    signatures: Mapping[int, Signature],
    layers: Sequence[Representation],
    norms: np.ndarray,
    remarks: dict[int, str],
) -> None:
    """Set the norms of layers to NaN whose product with themselves is only rounding."""
    for place, signature in signatures.items():
        try:
            signature.check(float(norms[place]))
        except UndefinedError as reason:
            remarks[place] = f"{layers[place]} {reason}"
            norms[place] = np.nan


def _from_moments(
    triangle: Triangle,
    measure: Measure,
    steps: MomentSteps,
    layers: Sequence[Representation],
    counted: Counted,
) -> dict[int, str]:
    """Fill in the values of all pairs from sums over samples and return remarks on layers."""
    remarks: dict[int, str] = {}
    chunks = list(_chunks([layer.width for layer in layers], _CHUNK_UNITS))
    for number, chunk in enumerate(chunks):
        for other in chunks[number:]:
            places = chunk if other is chunk else [*chunk, *other]
            if len(places) == 1:
                continue
            joint, known = _summed([layers[place] for place in places])
            kept = {}
            for part, place in enumerate(places):
                try:
                    joint.check(part)
                    share = known[part].dominant_share()
                    if measure.is_swayed and share > DOMINANT:
                        remarks[place] = _dominated(layers[place], share)
                    kept[place] = steps.prepare(known[part])
                except UndefinedError as reason:
                    remarks[place] = f"{layers[place]} {reason}"
            for x, y in product(chunk, other):
                if x < y and x in kept and y in kept:
                    a, b = places.index(x), places.index(y)
                    value = steps.combine(joint.between(a, b), known[a], known[b], kept[x], kept[y])
                    triangle.put(x, y, value)
            counted.compared(triangle.between(chunk, other))
    return remarks


def _summed(layers: Sequence[Representation]) -> tuple[JointMoments, list[LayerMoments]]:
    """Return the joint moments of layers, and those of each layer, in two passes."""
    joint = JointMoments([layer.width for layer in layers])
    for blocks in side_by_side(layers):
        joint.update(blocks)
    squares = joint.squared_norms(side_by_side(layers))
    known = [
        LayerMoments(joint.between(part, part), squares[part], layer.dtype)
        for part, layer in enumerate(layers)
    ]
    return joint, known


def _dominated(layer: Representation, share: float) -> str:
    return f"{share:.0%} of the variance in {layer} comes from one sample"


def _chunks(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield runs of consecutive indices whose sizes sum to at most `most`, or single indices."""
    chunk: list[int] = []
    held = 0
    for place, size in enumerate(sizes):
        if chunk and held + size > most:
            yield chunk
            chunk, held = [], 0
        chunk.append(place)
        held += size
    yield chunk
