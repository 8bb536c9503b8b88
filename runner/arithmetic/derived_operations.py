"""Operations on tensors of which one sample is known, and what they do to its axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.arithmetic.functions import ACROSS, FUNCTIONS, PARAMETRIC

_EXACT = (
    "absolute add divide equal floor greater greater_equal less less_equal logical_and",
    "logical_not logical_or maximum minimum multiply negative not_equal sign square subtract",
)
_ROUNDED = ("cos exp expm1 log log1p power sin sqrt tanh",)

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: function for name, function in FUNCTIONS.items() if name not in ACROSS},
    **{name: getattr(np, name) for name in " ".join((*_EXACT, *_ROUNDED)).split()},
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "round": np.rint,
    "rsqrt": lambda entries: 1 / np.sqrt(entries),
    "squared_difference": lambda one, other: np.square(one - other),
    "where": np.where,
}
_REDUCING: dict[str, Callable[..., Any]] = {
    "max": np.max, "mean": np.mean, "min": np.min, "prod": np.prod, "sum": np.sum
}  # fmt: skip


class MixedSamplesError(Exception):
    """A value depends on other samples, or the axis of the samples cannot be followed."""


@dataclass(frozen=True)
class Derived:
    """A recomputed array, for one sample.

    Attributes
    ----------
    values
        The array.
    axis
        The axis of the samples, of length 1; ``None`` if `values` does not depend on the sample.
    operations
        Largest number of rounded operations behind one of its values.
    """

    values: np.ndarray
    axis: int | None = None
    operations: int = 0


def is_entrywise(name: str) -> bool:
    """Return whether an operation computes each value from one of each operand, or of an axis."""
    return name in _FUNCTIONS or name in ACROSS


def applied(description: dict[str, Any], given: Sequence[Derived]) -> Derived:
    """Return the result of an operation, without the roundings behind its operands.

    Raises
    ------
    MixedSamplesError
        If it mixes samples.
    """
    name = str(description["operation"])
    if is_entrywise(name):
        return _entry_by_entry(description, given)
    if name in ("matmul", "einsum"):
        return (_matmul if name == "matmul" else _einsum)(description, given)
    if name in ("concatenate", "stack"):
        return _joined(description, given)
    if name == "take":
        return _taken(description, *given)
    if name == "index":
        return _indexed(*given)
    [one] = given
    if name in _REDUCING:
        return _reduced(description, one)
    if name == "get_item":
        return _item(description, one)
    return _moved(description, one)


def _moved(description: dict[str, Any], one: Derived) -> Derived:
    values, axis = one.values, one.axis
    match str(description["operation"]):
        case "cast":
            of_type = "float32" if description["dtype"] == "bfloat16" else description["dtype"]
            return Derived(values.astype(of_type), axis, 1)
        case "reshape":
            return _reshaped(description, one)
        case "broadcast_to":
            shape = list(description["shape"])
            if axis is not None:
                axis += len(shape) - values.ndim
                shape[axis] = 1
            elif shape[0] is None:
                shape[0] = 1
            return Derived(np.broadcast_to(values, shape), axis)
        case "transpose":
            axes = list(description["axes"])
            return Derived(values.transpose(axes), None if axis is None else axes.index(axis))
        case "tril" | "triu" as name:
            _check(axis is None or axis < values.ndim - 2)
            keep = np.tril if name == "tril" else np.triu
            return Derived(keep(values, description["k"]), axis)
        case "flip" | "roll" as name:
            along = [number % values.ndim for number in description["axis"]]
            _check(axis not in along)
            if name == "flip":
                return Derived(np.flip(values, tuple(along)), axis)
            return Derived(np.roll(values, description["shift"], along), axis)
    raise MixedSamplesError


def _reshaped(description: dict[str, Any], one: Derived) -> Derived:
    """Return a tensor of another shape; its samples may be merged with the axes behind theirs."""
    values, axis = one.values, one.axis
    shape = [-1 if size is None else int(size) for size in description["shape"]]
    if axis is None:
        return Derived(values.reshape(shape))
    if "before" not in description:  # a graph for batches of any size
        _check(axis == 0)
        shape[0] = 1 if -1 in shape[1:] else -1
        return Derived(values.reshape(shape), axis)
    before = description["before"]
    samples = before[axis] // values.shape[axis]
    for place, size in enumerate(shape):
        if math.prod(shape[:place]) == math.prod(before[:axis]) and size % samples == 0:
            shape[place] //= samples
            return Derived(values.reshape(shape), place)
    raise MixedSamplesError


def _check(is_followed: bool) -> None:
    if not is_followed:
        raise MixedSamplesError


def _reduced(description: dict[str, Any], one: Derived) -> Derived:
    values, axis = one.values, one.axis
    axes = tuple(number % values.ndim for number in description["axis"])
    _check(axis not in axes)
    exact = values.astype(np.float64) if values.dtype.kind == "f" else values
    reduce = _REDUCING[description["operation"]]
    reduced = np.asarray(reduce(exact, axes, keepdims=description["keepdims"]))
    if axis is not None and not description["keepdims"]:
        axis -= sum(number < axis for number in axes)
    operations = values.size // max(1, reduced.size)
    return Derived(reduced.astype(values.dtype), axis, operations)


def _joined(description: dict[str, Any], given: Sequence[Derived]) -> Derived:
    stacked = description["operation"] == "stack"
    arrays, axis = _aligned(given)
    along = description["axis"] % (arrays[0].ndim + stacked)
    if stacked and axis is not None:
        return Derived(np.stack(arrays, along), axis + (along <= axis))
    _check(axis is None or along != axis)
    return Derived((np.stack if stacked else np.concatenate)(arrays, along), axis)


def _item(description: dict[str, Any], one: Derived) -> Derived:
    key = [_key(part) for part in description["key"]]
    taken = sum(part is not None and part is not Ellipsis for part in key)
    rest = [slice(None)] * (one.values.ndim - taken)
    if Ellipsis in key:
        place = key.index(Ellipsis)
        key[place : place + 1] = rest
    else:
        key += rest
    if one.axis is None:
        return Derived(one.values[tuple(key)])
    places = [place for place, part in enumerate(key) if part is not None]
    place = places[one.axis]
    _check(isinstance(key[place], slice) and key[place] in (slice(None), slice(None, None, 1)))
    axis = sum(not isinstance(part, int) for part in key[:place])
    return Derived(one.values[tuple(key)], axis)


def _key(plain: Any) -> Any:
    """Return a part of the key of ``x[key]`` from its JSON form."""
    if isinstance(plain, dict):
        return slice(*plain["slice"])
    return Ellipsis if plain == "..." else plain


def _taken(description: dict[str, Any], whole: Derived, indices: Derived) -> Derived:
    along, places = description["axis"] % whole.values.ndim, indices.values.astype(int)
    axis = whole.axis
    if axis is None:
        axis = None if indices.axis is None else indices.axis + along
    else:
        _check(indices.axis is None and along != axis)
        axis += places.ndim - 1 if along < axis else 0
    return Derived(np.take(whole.values, places, along), axis)


def _indexed(whole: Derived, *indices: Derived) -> Derived:
    """Return the values at some places along the first axes: ``x[places, other_places]``.

    Places in the axis of the samples must be those of all samples, in their order.
    """
    if whole.axis is None:
        places, axis = _aligned(indices)
        return Derived(whole.values[tuple(one.astype(int) for one in places)], axis)
    _check(whole.axis == 0 and all(one.axis is None for one in indices))
    first, *others = (one.values.astype(int) for one in indices)
    _check(max(first.shape, default=1) == first.size)
    _check(bool((first.ravel() == np.arange(first.size)).all()))
    along = first.shape.index(first.size)
    _check(all(one.ndim <= first.ndim for one in others))
    found = whole.values[(np.take(first, [0], along), *others)]
    _check(found.shape[along] == 1)
    return Derived(found, along)


def _aligned(given: Sequence[Derived]) -> tuple[list[np.ndarray], int | None]:
    """Return arrays that are combined entry by entry, and the axis of their samples.

    A tensor that was made for a batch without looking at it, such as zeros of its shape, has an
    axis of samples too: all of them must be equal.
    """
    arrays = [one.values for one in given]
    sampled = {(one.values.ndim, one.axis) for one in given if one.axis is not None}
    if not sampled:
        return arrays, None
    _check(len(sampled) == 1)
    [(rank, axis)] = sampled
    _check(max(array.ndim for array in arrays) == rank)
    for place, one in enumerate(given):
        behind = one.values.ndim - rank + axis
        if one.axis is None and behind >= 0 and one.values.shape[behind] > 1:
            first = np.take(one.values, [0], behind)
            _check(bool((one.values == first).all()))
            arrays[place] = first
    return arrays, axis


def _entry_by_entry(description: dict[str, Any], given: Sequence[Derived]) -> Derived:
    name = str(description["operation"])
    arrays, axis = _aligned(given)
    if name in ACROSS:
        _check(axis is None or axis < arrays[0].ndim - 1)
        function = FUNCTIONS[name]
    elif name in PARAMETRIC:
        function = PARAMETRIC[name](description)
    else:
        function = _FUNCTIONS[name]
    exact = " ".join(_EXACT).split()
    floats = [one.dtype for one in arrays if one.dtype.kind == "f"]
    with np.errstate(all="ignore"):
        if name in exact or name == "where" or not floats:
            return Derived(np.asarray(function(*arrays)), axis, 1)
        values = np.asarray(function(*(one.astype(np.float64) for one in arrays)))
    operations = arrays[0].shape[-1] if name in ACROSS else 2
    return Derived(values.astype(floats[0]), axis, operations)


def _einsum(description: dict[str, Any], given: Sequence[Derived]) -> Derived:
    equation = str(description["subscripts"]).replace(" ", "")
    left, arrow, out = equation.partition("->")
    named = left.split(",")
    _check(bool(arrow) and "." not in left)
    letters = {
        axes[one.axis] for axes, one in zip(named, given, strict=True) if one.axis is not None
    }
    axis = None
    if letters:
        _check(len(letters) == 1 and letters <= {*out})
        [letter] = letters
        for axes, one in zip(named, given, strict=True):
            _check(axes.find(letter) == (-1 if one.axis is None else one.axis))
        axis = out.index(letter)
    product = np.einsum(equation, *(one.values.astype(np.float64) for one in given))
    return _product(product, axis, given)


def _matmul(description: dict[str, Any], given: Sequence[Derived]) -> Derived:
    rank = max(one.values.ndim for one in given)
    axes = set()
    for place, (one, turn) in enumerate(zip(given, description["transposed"], strict=True)):
        if one.axis is not None:
            of_rows = place == 0 and not turn and one.axis == one.values.ndim - 2
            _check(of_rows or one.axis < one.values.ndim - 2)
            axes.add(one.axis + rank - one.values.ndim)
    _check(len(axes) <= 1)
    first, second = (
        np.swapaxes(one.values, -1, -2) if turn else one.values
        for one, turn in zip(given, description["transposed"], strict=True)
    )
    product = first.astype(np.float64) @ second.astype(np.float64)
    _check(product.ndim == rank)
    return _product(product, axes.pop() if axes else None, given)


def _product(product: np.ndarray, axis: int | None, given: Sequence[Derived]) -> Derived:
    of_type = np.result_type(*(one.values.dtype for one in given))
    return Derived(product.astype(of_type), axis, max(one.values.shape[-1] for one in given))
