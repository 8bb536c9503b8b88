"""Finds the layer in which an error begins, among those that were fused into one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.sameness.affine_change import RANDOM, AffineChange, by_channel, unevenness
from runner.sameness.distance import TOLERANCES
from runner.sameness.matching import reads_in

_NOISE = 1e-6
"""The part of an error's square that is rounding."""

_SAME = 1e-6
"""Distance of numbers that float32 takes for the same one, relative to the largest."""

_MOST_NOISE = 0.5
"""The largest part of it that an explanation may leave to coarse numbers."""

_WELL = 1e-3
"""The largest part of it that an explanation may leave where another one leaves clearly less."""

_CLEARLY = 1.5
"""How many times less that is."""

_BY_CHANNEL = ("BatchNormalization", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
_MEANS = ("moving_mean", "running_mean")

Weight = Callable[[str], np.ndarray | None]
"""Returns a weight of the run by its name; ``None`` if the run has no such table."""


class Noise:
    """The errors that are usual in the layers of a model whose numbers are coarse."""

    def __init__(self) -> None:
        self._of: dict[str, float] = {}

    def add(self, name: str, values: np.ndarray, found: np.ndarray) -> None:
        """Take note of what a layer should have returned, and of what it returned instead."""
        if name not in self._of:
            wide = values.astype(np.float64)
            square, error = float((wide**2).sum()), float(((found - wide) ** 2).sum())
            part = (error / square) ** 0.5 if square > 0 and np.isfinite(error) else 0.0
            is_coarse = part > TOLERANCES.get(str(values.dtype), 0.0)
            self._of[name] = part if is_coarse else 0.0

    def usual_beside(self, name: str) -> float:
        """Return the error that is usual in the other layers, relative to what they return.

        Layers whose error is rounding in their dtype do not count: their numbers are not coarse.
        """
        others = [part for other, part in self._of.items() if other != name and part]
        return float(np.median(others)) if others else 0.0


def chains_in(record: RunRecord, paired: Mapping[str, str]) -> dict[str, list[TensorRecord]]:
    """Return the layers that were fused with a later one, in call order, the later one last.

    Parameters
    ----------
    record
        The record of a run.
    paired
        Its activations that stand for an operation of another run, with the name of that.

    Returns
    -------
    dict[str, list[TensorRecord]]
        By the names of the last ones: layers each of which reads only what the one before
        returns, of the same axes.
    """
    tensors = {one.name: one for one in record.tensors if one.kind == "activation"}
    reads = reads_in(record)
    users = [name for read in reads.values() for name in read]
    chains: dict[str, list[TensorRecord]] = {}
    for last in paired:
        chain = [tensors[last]]
        while len(read := reads.get(chain[0].name, [])) == 1:
            [name] = read
            before = tensors.get(name)
            if before is None or name in paired or users.count(name) > 1:
                break
            if before.shape != chain[0].shape:
                break
            chain.insert(0, before)
        if len(chain) > 1:
            chains[last] = chain
    return chains


def where_it_begins(
    chain: Sequence[TensorRecord],
    error: np.ndarray,
    values: Callable[[str], np.ndarray],
    weight: Weight,
    noise: float = 0.0,
) -> str:
    """Return the layer in which the error of the last one begins.

    It is the last layer whose inputs predict the error of each value, or else the first one: if
    all layers before the faulty one are right, its inputs in the run are those in the operation.
    A normalization comes before the functions of single values behind it, if another factor and
    offset for each of its channels explain the error: few numbers say more than a function, unless
    one function of all channels explains clearly more of it.

    Parameters
    ----------
    chain
        The layers, in call order, of which each is given what the one before returns.
    error
        The error of what the last returns, of shape (sample, *axes).
    values
        Returns what a layer returns in the run, of the same shape.
    weight
        Returns the weights of the run.
    noise
        The error that is usual in the other layers of a model with coarse numbers, relative to
        what they return.
    """
    last = values(chain[-1].name)
    most = RANDOM + min(_part_of_noise(last, error, noise), _MOST_NOISE)
    pairs = list(zip(chain[-2::-1], chain[:0:-1], strict=True))
    for given, layer in pairs:
        if layer.layer_class in _BY_CHANNEL:
            axis = _channels(layer)
            before, right, later, found = (
                by_channel(each, axis)
                for each in (values(given.name), values(layer.name), last, last + error)
            )
            change = AffineChange.fitted(right, later, found)
            least = change.unexplained if layer is chain[-1] else _untold(values(layer.name), error)
            if change.unexplained < min(most, max(_WELL, _CLEARLY * least)):
                is_before = _is_of_weights(change, before, right, given, layer, weight)
                return given.name if is_before else layer.name
    for given, layer in pairs:
        along = _channels(layer) if layer.layer_class in _BY_CHANNEL else None
        if _untold(values(given.name), error, along) < most:
            return layer.name
    return chain[0].name


def _part_of_noise(last: np.ndarray, error: np.ndarray, noise: float) -> float:
    """Return the part of an error's square that coarse numbers cause.

    Inputs and weights that are rounded cause as much as in other layers. What the operation returns
    is rounded, too, by up to half the distance of its numbers: a twelfth of its square on average.
    """
    right = last.astype(np.float64)
    found = np.unique(right + error)
    apart = np.diff(found)
    same = _SAME * float(np.abs(found).max(initial=0.0))
    step = float(apart.min(initial=np.inf, where=apart > same))
    rounded = step**2 / 12 if np.isfinite(step) else 0.0
    total = float((error.astype(np.float64) ** 2).mean())
    return (noise**2 * float((right**2).mean()) + rounded) / total if total else 0.0


def _channels(layer: TensorRecord) -> int:
    """Return the axis of the channels, behind that of the samples."""
    axes = layer.axes or ()
    return 1 + (axes.index("channel") if "channel" in axes else len(layer.shape) - 1)


def _is_of_weights(
    change: AffineChange,
    before: np.ndarray,
    right: np.ndarray,
    given: TensorRecord,
    layer: TensorRecord,
    weight: Weight,
) -> bool:
    """Return whether a change of a normalization is one of the weights of the layer before.

    Another factor of these weights leaves the values that are the bias as they are, and one of
    the normalization those that are its mean. Another bias changes all channels alike before the
    normalization, if it is one number. Where the bias is the mean, one factor of all channels is
    taken for one of the weights, and others for those of the normalization.

    Parameters
    ----------
    change
        The change of what the normalization returns.
    before, right
        What the two layers return in the run, of shape (channel, value).
    given, layer
        The layers.
    weight
        Returns the weights of the run.
    """
    means = (weight(f"{layer.layer_path}/{name}") for name in _MEANS)
    mean = next((each for each in means if each is not None), None)
    if mean is None:
        return False
    bias = weight(f"{given.layer_path}/bias")
    middle, centre = (each.mean(axis=1, keepdims=True) for each in (before, right))
    spread = ((before - middle) ** 2).sum(axis=1, keepdims=True)
    product = ((before - middle) * (right - centre)).sum(axis=1, keepdims=True)
    scale = product / np.where(spread > 0, spread, 1.0)
    own, others = (
        change.apart_from(right, centre + scale * (np.reshape(each, (-1, 1)) - middle))
        for each in (np.zeros(len(mean)) if bias is None else bias, mean)
    )
    if min(own, others) < RANDOM:
        is_same = max(own, others) < 2 * min(own, others) + _NOISE  # as in a new model
        return change.is_one_factor if is_same else own < others
    if bias is None or change.apart_from(right) >= RANDOM:
        return False
    of_bias, of_offset = (unevenness(change.offset, each) for each in (scale, scale * 0 + 1))
    return of_bias < min(RANDOM, of_offset)


def _untold(given: np.ndarray, error: np.ndarray, axis: int | None = None) -> float:
    """Return how far the errors of neighbours among the given values are from being the same.

    It is 0 if they are, and 1 for random errors: the ratio of J. von Neumann (1941), The Annals of
    Mathematical Statistics 12: half the mean square of successive differences, divided by the
    variance.

    Parameters
    ----------
    given, error
        Of the same shape.
    axis
        The axis along which the error may depend on the given values in other ways.
    """
    if axis is None:
        x, y = given.reshape(1, -1), error.reshape(1, -1)
    else:
        x, y = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (given, error))
    wide = np.take_along_axis(y, np.argsort(x, axis=1, kind="stable"), axis=1).astype(np.float64)
    jumps = float((np.diff(wide, axis=1) ** 2).sum()) / 2
    spread = float(((wide - wide.mean(axis=1, keepdims=True)) ** 2).sum())
    return max(0.0, jumps - _NOISE * float((wide**2).sum())) / spread if spread else 0.0
