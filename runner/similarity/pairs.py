"""All pairs of layers, compared by one measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from runner.similarity.representation import Representation, side_by_side
from runner.similarity.signatures import Signature, products

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


def compare_layers(
    groups: Iterable[Sequence[Representation]],
    metric: Metric = "cka",
    samples: int = MAX_SAMPLES,
    seed: int = 0,
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
        If there is no such metric, or a layer is too large for it.
    """
    name, measure = _named(metric)
    compared = [_compare_group(name, measure, layers, samples, seed) for layers in groups]
    frame = pd.concat([pairs for pairs, _ in compared], ignore_index=True)
    warn_of(name, frame, [remark for _, remarks in compared for remark in remarks.values()])
    return frame


def _named(metric: Metric) -> tuple[str, Measure]:
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), Measure(np.asarray, metric)
    if metric not in MEASURES:
        advice = suggest(metric, MEASURES) or f"there are {', '.join(MEASURES)}"
        raise InputError.of("metric", f"unknown metric '{metric}'", advice)
    return metric, MEASURES[metric]


def _compare_group(
    name: str, measure: Measure, layers: Sequence[Representation], samples: int, seed: int
) -> tuple[pd.DataFrame, dict[int, str]]:
    used = given = layers[0].samples
    rows = None
    about = ""
    if measure.samples_squared and given > samples:
        used = samples
        rows = np.sort(np.random.default_rng(seed).choice(given, used, replace=False))
        about = f"{used:,} of {given:,} samples, seed {seed}"
    if _by_moments(name, layers, used):
        values, remarks = _from_moments(name, layers)
    else:
        values, remarks = _from_values(name, measure, layers, rows)
    a, b = np.triu_indices(len(layers), 1)
    runs = np.array([layer.run for layer in layers], object)
    names = np.array([layer.layer for layer in layers], object)
    widths = np.array([layer.width for layer in layers])
    pairs = pd.DataFrame(
        {
            "run_a": runs[a],
            "layer_a": names[a],
            "run_b": runs[b],
            "layer_b": names[b],
            "metric": name,
            "value": values[a, b],
            "n": used,
            "width_a": widths[a],
            "width_b": widths[b],
            "note": _notes(about, remarks, a, b) if remarks else about,
        }
    )
    return pairs, remarks


def _notes(about: str, remarks: dict[int, str], a: np.ndarray, b: np.ndarray) -> list[str]:
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    return [
        "; ".join(filter(None, (about, remarks.get(first), remarks.get(second))))
        for first, second in pairs
    ]


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
    name: str, measure: Measure, layers: Sequence[Representation], rows: np.ndarray | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the values of all pairs from the layers themselves, and remarks on layers."""
    remarks: dict[int, str] = {}

    def prepared(places: Sequence[int]) -> dict[int, Any]:
        kept = {}
        for place in places:
            given = layers[place].values(rows)
            try:
                if name in SWAYED and (share := dominant_share(given)) > DOMINANT:
                    remarks[place] = _dominated(layers[place], share)
                kept[place] = measure.prepare(given)
            except UndefinedError as reason:
                remarks[place] = f"{layers[place]} {reason}"
        return kept

    samples = layers[0].samples if rows is None else len(rows)
    sizes = [measure.kept_bytes(samples, layer.width) for layer in layers]
    values = np.full((len(layers), len(layers)), np.nan)
    chunks = list(_chunks(sizes, _CHUNK_BYTES // 2))
    for number, chunk in enumerate(chunks):
        left = prepared(chunk)
        for other in chunks[number:]:
            right = left if other is chunk else prepared(other)
            if measure.by_product:
                of_left = list(left.values())
                of_right = of_left if right is left else list(right.values())
                values[np.ix_(list(left), list(right))] = products(of_left, of_right)
                if right is left:
                    _refuse_rounding(left, layers, values, remarks)
                continue
            for x, y in product(left, right):
                if x < y:
                    values[x, y] = measure.combine(left[x], right[y])
    if measure.by_product:
        norms = np.sqrt(np.diag(values))
        values /= norms[:, None] * norms
    return values, remarks


def _refuse_rounding(
    signatures: dict[int, Signature],
    layers: Sequence[Representation],
    values: np.ndarray,
    remarks: dict[int, str],
) -> None:
    """Take the value away from layers whose product with themselves is rounding alone."""
    for place, signature in signatures.items():
        try:
            signature.check(float(np.sqrt(values[place, place])))
        except UndefinedError as reason:
            remarks[place] = f"{layers[place]} {reason}"
            values[place, place] = np.nan


def _from_moments(name: str, layers: Sequence[Representation]) -> tuple[np.ndarray, dict[int, str]]:
    """Return the values of all pairs from sums over samples, and remarks on layers."""
    remarks: dict[int, str] = {}
    measure = MOMENT_MEASURES[name]
    values = np.full((len(layers), len(layers)), np.nan)
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
                    values[x, y] = measure.combine(
                        joint.between(a, b), known[a], known[b], kept[x], kept[y]
                    )
    return values, remarks


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
