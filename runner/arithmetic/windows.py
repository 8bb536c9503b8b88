"""Windows of convolutions and pooling, and accounts of pooling layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Positions of the input that one position of the output is computed from.

    Attributes
    ----------
    inside
        Pairs of an offset in the window and a position of the input.
    outside
        Number of the window's positions beyond the edge of the input.
    """

    inside: list[tuple[Place, Place]]
    outside: int

    @classmethod
    def of(cls, call: LayerCall, sizes: Sequence[int], place: Place) -> Window:
        """Return the window of a layer with ``strides``, ``padding`` and ``dilation_rate``.

        The padding ``same`` is TensorFlow's: if the number of padded positions is odd, the extra
        one is at the end.

        Parameters
        ----------
        call
            A convolution or pooling, its channels last.
        sizes
            Size of the window along each axis.
        place
            Position in the output, without the channel.
        """
        if call.arguments.get("data_format") == "channels_first":
            raise not_covered(call.name, "channels-first inputs")
        given = call.operand.values
        strides = each(call.arguments.get("strides") or list(sizes), len(sizes))
        dilations = each(call.arguments.get("dilation_rate", 1), len(sizes))
        before = []
        for size, length, stride, dilation in zip(
            sizes, given.shape, strides, dilations, strict=False
        ):
            if min(size, stride, dilation) < 1:
                raise ValueError("a window without positions")
            reach = (size - 1) * dilation
            padding = {
                "valid": 0,
                "causal": reach,
                "same": max((math.ceil(length / stride) - 1) * stride + reach + 1 - length, 0) // 2,
            }[call.arguments.get("padding", "valid")]
            before.append(padding)
        return cls.at(place, sizes, given.shape, strides, dilations, before)

    @classmethod
    def at(
        cls,
        place: Place,
        sizes: Sequence[int],
        lengths: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        paddings: Sequence[int],
    ) -> Window:
        """Return the window of a position of the output.

        Parameters
        ----------
        place
            Position in the output, without the channel.
        sizes, lengths, strides, dilations, paddings
            Size of the window, length of the input, and steps along each axis; the number of padded
            positions before the first one of the input.
        """
        axes = []
        for axis, size in enumerate(sizes):
            length, stride, dilation = lengths[axis], strides[axis], dilations[axis]
            if min(size, stride, dilation) < 1:
                raise ValueError("a window without positions")
            before = paddings[axis]
            start = place[axis] * stride - before
            first, end = -(start // dilation), -((start - length) // dilation)  # within the input
            offsets = range(max(first, 0), min(end, size))
            axes.append([(offset, start + offset * dilation) for offset in offsets])
        inside = [
            (tuple(offset for offset, _ in pairs), tuple(at for _, at in pairs))
            for pairs in product(*axes)
        ]
        return cls(inside, math.prod(sizes) - len(inside))


def max_pooling(call: LayerCall, place: Place) -> Account:
    """Return the account of the largest value of a window."""
    return pooled(call, _window_places(call, place), largest=True)


def average_pooling(call: LayerCall, place: Place) -> Account:
    """Return the account of the mean of a window, without positions beyond the edge."""
    return pooled(call, _window_places(call, place), largest=False)


def global_max_pooling(call: LayerCall, place: Place) -> Account:
    """Return the account of the largest value of a channel."""
    return pooled(call, _channel_places(call, place), largest=True)


def global_average_pooling(call: LayerCall, place: Place) -> Account:
    """Return the account of the mean of a channel, without masked positions."""
    return pooled(call, _channel_places(call, place), largest=False)


def _window_places(call: LayerCall, place: Place) -> list[Place]:
    *spatial, channel = place
    sizes = each(call.arguments["pool_size"], len(spatial))
    window = Window.of(call, sizes, tuple(spatial))
    return [(*position, channel) for _, position in window.inside]


def _channel_places(call: LayerCall, place: Place) -> list[Place]:
    if call.arguments.get("data_format") == "channels_first":
        raise not_covered(call.name, "channels-first inputs")
    given, *masks = call.operands
    spatial = given.values.shape[:-1]
    kept = masks[0].values if masks else np.ones(spatial, bool)
    return [(*at, place[-1]) for at in np.ndindex(spatial) if kept[at]]


def pooled(call: LayerCall, places: Sequence[Place], *, largest: bool, among: int = 0) -> Account:
    """Return the account of the largest value of some, or of their mean.

    Parameters
    ----------
    call, places
        The call, and the positions in its input.
    largest
        Whether it is the largest value.
    among
        The number that the sum is divided by; 0 for the number of positions.
    """
    given, dtype = call.operands[0], call.dtype.type
    values = np.array([given.values[one] for one in places], np.float64)
    terms = table_of([given.label(one) for one in places], input=values.astype(dtype))
    if largest:
        value = float(values.max())
        return Account(terms, [("largest", dtype(value))], value, 0.0, 0, summed=False)
    count = among or len(values)
    value, size = float(values.sum() / count), float(np.abs(values).sum())
    steps = [("sum", dtype(values.sum())), (f"mean of {count}", dtype(value))]
    return Account(terms, steps, value, size, len(values))


def each(value: int | Sequence[int], axes: int) -> list[int]:
    """Return a number for each axis, given one for all or one for each."""
    return [value] * axes if isinstance(value, int) else [int(one) for one in value]
