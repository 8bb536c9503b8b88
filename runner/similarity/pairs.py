"""All pairs of layers, compared by one measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import InputError, suggest
from runner.preflight import readable
from runner.similarity.cautions import DOMINANT, SWAYED, warn_of
from runner.similarity.conditions import UndefinedError
from runner.similarity.measures import MEASURES, Measure, dominant_share
from runner.similarity.moments import MOMENT_MEASURES, JointMoments, LayerMoments
from runner.similarity.progress import Counted, Progress, silent
from runner.similarity.representation import Representation, side_by_side
from runner.similarity.signatures import Signature, products
from runner.similarity.triangle import Triangle, pair_count

Metric = str | Callable[[np.ndarray, np.ndarray], float]

MAX_SAMPLES = 2000
"""Samples that measures which compare each with each other are given."""

_CHUNK_BYTES = 2 << 30
"""For what is kept of layers at a time."""

_CHUNK_UNITS = 4096
"""Whose covariance is kept at a time, if it is not that of a single layer."""

_FEW_SAMPLES = 2048
"""Up to so many samples, their Gram matrix is cheaper than the units' covariance."""

_MOST_BYTES = 8 << 30
"""For one pair; more is refused."""

_PAIR_BYTES = 84
"""What a row of the result takes, measured with what its making takes beside it."""

_PRODUCT_ROWS = 1024
"""Layers that are multiplied with all others at a time."""

MAX_BYTES = 4 << 30
"""For all pairs; more is refused."""


def compare_layers(
    groups: Iterable[Sequence[Representation]],
    metric: Metric = "cka",
    samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Compare every two layers of each group.

    Parameters
    ----------
    groups
        Layers that were all shown the same samples in the same order.
    metric
        A key of `runner.similarity.measures.MEASURES`, or a function of two arrays of
        shape (samples, units) that returns a float.
    samples
        At most so many are given to ``rsa`` and ``knn``, which compare each with each
        other: if there are more, a sample of them drawn with `seed`.
    seed
        Of that sample.
    max_bytes
        How much memory the rows of the result may take; more is refused before anything
        is read.
    progress
        Called with what is being counted, how many are done, and how many there are.

    Returns
    -------
    pandas.DataFrame
        A row per pair, each pair once, in the order of the layers: ``run_a``, ``layer_a``,
        ``run_b``, ``layer_b``, ``metric``, ``value``, ``n`` (samples), ``width_a``,
        ``width_b`` (values of a sample) and ``note``: why a value is NaN, or which
        samples it is of.

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
    # Without a copy, which would take as much again.
    frame = pd.DataFrame({key: _as_it_is(column) for key, column in columns.items()}, copy=False)
    warn_of(name, frame, every)
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
    """Return room for so many pairs: text is shared, so that a row takes a pointer for each."""
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
    """Fill in the pairs of one group; return what is to be said of single layers."""
    used = given = layers[0].samples
    rows = None
    about = ""
    if measure.samples_squared and given > samples:
        used = samples
        rows = np.sort(np.random.default_rng(seed).choice(given, used, replace=False))
        about = f"{used:,} of {given:,} samples, seed {seed}"
    triangle = Triangle(columns["value"], len(layers))
    if _by_moments(name, layers, used):
        remarks = _from_moments(triangle, name, layers, counted)
    else:
        remarks = _from_values(triangle, name, measure, layers, rows, counted)
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


def _by_moments(name: str, layers: Sequence[Representation], samples: int) -> bool:
    """Tell whether a pair is compared by sums over samples, which many samples make cheaper.

    Raises
    ------
    InputError
        If a pair is too large either way.
    """
    widest = max(layers, key=lambda layer: layer.width)
    width = widest.width
    if name in MEASURES and MEASURES[name].by_product and not MEASURES[name].samples_squared:
        needed = 32 * samples**2 + 2 * widest.dtype.itemsize * samples * width
        many = samples > _FEW_SAMPLES
    else:
        needed = 32 * samples * width
        many = needed > _CHUNK_BYTES
    by_moments = name in MOMENT_MEASURES and many and samples > width
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
    name: str,
    measure: Measure,
    layers: Sequence[Representation],
    rows: np.ndarray | None,
    counted: Counted,
) -> dict[int, str]:
    """Fill in the values of all pairs from the layers themselves; return remarks on layers."""
    remarks: dict[int, str] = {}

    def prepared(places: Sequence[int]) -> dict[int, Any]:
        kept = {}
        for number, place in enumerate(places, 1):
            given = layers[place].values(rows)
            try:
                if name in SWAYED and (share := dominant_share(given)) > DOMINANT:
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
    """Fill in the inner products of two chunks, and the norms of the layers of one."""
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
    """Take the value away from layers whose product with themselves is rounding alone."""
    for place, signature in signatures.items():
        try:
            signature.check(float(norms[place]))
        except UndefinedError as reason:
            remarks[place] = f"{layers[place]} {reason}"
            norms[place] = np.nan


def _from_moments(
    triangle: Triangle, name: str, layers: Sequence[Representation], counted: Counted
) -> dict[int, str]:
    """Fill in the values of all pairs from sums over samples; return remarks on layers."""
    remarks: dict[int, str] = {}
    measure = MOMENT_MEASURES[name]
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
                    if name in SWAYED and share > DOMINANT:
                        remarks[place] = _dominated(layers[place], share)
                    kept[place] = measure.prepare(known[part])
                except UndefinedError as reason:
                    remarks[place] = f"{layers[place]} {reason}"
            for x, y in product(chunk, other):
                if x < y and x in kept and y in kept:
                    a, b = places.index(x), places.index(y)
                    value = measure.combine(
                        joint.between(a, b), known[a], known[b], kept[x], kept[y]
                    )
                    triangle.put(x, y, value)
            counted.compared(triangle.between(chunk, other))
    return remarks


def _summed(layers: Sequence[Representation]) -> tuple[JointMoments, list[LayerMoments]]:
    """Return the moments of layers together, and of each, from two passes over them."""
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
    return f"{share:.0%} of the variance in {layer} is one sample's"


def _chunks(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield places of neighbours whose sizes add up to at most so much, or of a single one."""
    chunk: list[int] = []
    held = 0
    for place, size in enumerate(sizes):
        if chunk and held + size > most:
            yield chunk
            chunk, held = [], 0
        chunk.append(place)
        held += size
    yield chunk
