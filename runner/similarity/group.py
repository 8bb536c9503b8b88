"""The similarities of all pairs of a group of layers, from their values or from their moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.similarity.cautions import DOMINANT
from runner.similarity.centring import dominant_share
from runner.similarity.conditions import UndefinedError
from runner.similarity.measure import Measure
from runner.similarity.moments import JointMoments, LayerMoments, MomentSteps
from runner.similarity.progress import Counted
from runner.similarity.representation import Representation, side_by_side
from runner.similarity.signatures import Signature, products
from runner.similarity.triangle import Triangle
from runner.sizes import readable

_CHUNK_BYTES = 2 << 30
"""Memory for the prepared layers that are kept at a time."""

_CHUNK_UNITS = 4096
"""Number of units whose covariance is kept at a time; a single layer may have more."""

_FEW_SAMPLES = 2048
"""Largest number of samples for which the Gram matrix is cheaper than the covariance."""

_MOST_BYTES = 8 << 30
"""Memory limit for one pair."""

_PRODUCT_ROWS = 1024
"""Number of layers that are multiplied with all others at a time."""


def compare_group(
    triangle: Triangle,
    measure: Measure,
    layers: Sequence[Representation],
    rows: np.ndarray | None,
    counted: Counted,
) -> dict[int, str]:
    """Fill in the values of all pairs of a group.

    Parameters
    ----------
    triangle
        Place of the values.
    measure
        The measure.
    layers
        Layers that were shown the same samples in the same order.
    rows
        Numbers of the samples to compare; ``None``: all.
    counted
        Counts what is read and compared.

    Returns
    -------
    dict
        Remarks on layers, by their places: why values are NaN, or misleading.

    Raises
    ------
    InputError
        If a pair is too large.
    """
    samples = layers[0].samples if rows is None else len(rows)
    if _by_moments(measure, layers, samples) and measure.moments is not None:
        return _from_moments(triangle, measure, measure.moments, layers, counted)
    return _from_values(triangle, measure, layers, rows, counted)


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
        ready = {}
        for number, place in enumerate(places, 1):
            values = layers[place].values(rows)
            try:
                if measure.is_swayed and (share := dominant_share(values)) > DOMINANT:
                    remarks[place] = _dominated(layers[place], share)
                ready[place] = measure.prepare(values)
            except UndefinedError as reason:
                remarks[place] = f"{layers[place]} {reason}"
            counted.read(number, len(places))
        return ready

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
        rows = products(of_part, of_part if is_whole else list(right.values()))
        for row, place in zip(rows, part, strict=True):
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
            joint, moments = _summed([layers[place] for place in places])
            ready = {}
            for part, place in enumerate(places):
                try:
                    joint.check(part)
                    share = moments[part].dominant_share()
                    if measure.is_swayed and share > DOMINANT:
                        remarks[place] = _dominated(layers[place], share)
                    ready[place] = steps.prepare(moments[part])
                except UndefinedError as reason:
                    remarks[place] = f"{layers[place]} {reason}"
            for x, y in product(chunk, other):
                if x < y and x in ready and y in ready:
                    a, b = places.index(x), places.index(y)
                    value = steps.combine(
                        joint.between(a, b),
                        moments[a],
                        moments[b],
                        ready[x],
                        ready[y],
                    )
                    triangle.put(x, y, value)
            counted.compared(triangle.between(chunk, other))
    return remarks


def _summed(layers: Sequence[Representation]) -> tuple[JointMoments, list[LayerMoments]]:
    """Return the joint moments of layers, and those of each layer, in two passes."""
    joint = JointMoments([layer.width for layer in layers])
    for blocks in side_by_side(layers):
        joint.update(blocks)
    squares = joint.squared_norms(side_by_side(layers))
    moments = [
        LayerMoments(joint.between(part, part), squares[part], layer.dtype)
        for part, layer in enumerate(layers)
    ]
    return joint, moments


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
