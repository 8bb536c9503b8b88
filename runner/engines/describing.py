"""Descriptions of how a tensor was computed, whatever the framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Description = dict[str, Any]
Source = Callable[[Any], Description | None]
Of = Callable[..., list[Description]]

MOST_NUMBERS = 16
"""Constants of more numbers are described only if they follow a rule."""

_MOST_TENSORS = 200
_MOST_COMPARED = 2**20


class UnknownOperation(Exception):
    """Raised with the name of an operation that cannot be described."""


def described(
    tensor: Any,
    source: Source,
    computed: Callable[[Any, Of], Description],
    name_of: Callable[[Any], str],
) -> Description:
    """Describe how a tensor was computed from named tensors.

    Parameters
    ----------
    tensor
        The tensor, whatever stands for one.
    source
        Returns the description of a tensor that has a name, else ``None``. It is not called for
        `tensor` itself.
    computed
        Returns the description of a tensor without a name. It takes the tensor and a function that
        describes some others, and may raise `UnknownOperation`.
    name_of
        Returns the name of the operation that made a tensor.
    """
    count = 0

    def of(*tensors: Any) -> list[Description]:
        return [one_of(one) for one in tensors]

    def one_of(one: Any) -> Description:
        nonlocal count
        count += 1
        if count > _MOST_TENSORS:
            raise UnknownOperation(f"{name_of(one)} at the end of many operations")
        found = None if one is tensor else source(one)
        return computed(one, of) if found is None else found

    try:
        return one_of(tensor)
    except UnknownOperation as error:
        return {"unknown": str(error)}


def constant(values: Any, dtype: str | None = None) -> Description:
    """Describe a constant: a few numbers, equal ones, an arithmetic sequence, or two triangles.

    Infinite numbers are written as texts, which JSON has no numbers for.

    Raises
    ------
    UnknownOperation
        If it is none of these.
    """
    array = np.asarray(values)
    dtype = dtype or array.dtype.name
    unknown = UnknownOperation(f"constant of shape {list(array.shape)}")
    if array.dtype.kind not in "biuf" and dtype != "bfloat16":
        raise UnknownOperation(f"constant of type {array.dtype}")
    if array.size > _MOST_COMPARED or not array.size or (array != array).any():  # NaN
        raise unknown
    if array.size <= MOST_NUMBERS and np.isfinite(array.astype(float)).all():
        return {"constant": array.tolist(), "dtype": dtype}
    first, last = array.ravel()[[0, -1]].tolist()
    if (array == first).all():
        number = {"constant": first if np.isfinite(first) else str(first), "dtype": dtype}
        return applied("broadcast_to", number, shape=[*array.shape]) if array.ndim else number
    if array.ndim == 1 and np.isfinite(array.astype(float)).all():
        step = array[1] - array[0]
        if np.array_equal(array, array[0] + step * np.arange(array.size)):
            return {"range": [first, last + step.item(), step.item()], "dtype": dtype}
    if array.ndim == 2:
        below, above = array[-1, 0], array[0, -1]
        k = int((array[0] == below).sum()) - 1
        lower = np.tril(np.ones(array.shape, bool), k)
        if below != above and (np.where(lower, below, above) == array).all():
            mask = applied("tril", filled(True, array.shape, "bool"), k=k)
            return applied("where", mask, constant(below, dtype), constant(above, dtype))
    raise unknown


def filled(value: bool | float, shape: Sequence[int], dtype: str) -> Description:
    """Describe a tensor of equal numbers."""
    number = constant(np.asarray(value), dtype)
    return applied("broadcast_to", number, shape=[*shape]) if shape else number


def applied(operation: str, *of: Description, **parameters: Any) -> Description:
    """Describe the result of an operation of `runner.arithmetic.derived` on described tensors."""
    return {"operation": operation, "of": [*of], **parameters}


def part(of: Description, rank: int, axis: int, key: Any) -> Description:
    """Describe a part of a tensor along one axis: ``x[:, key]``."""
    everything = {"slice": [None, None, None]}
    return applied("get_item", of, key=[*[everything] * (axis % rank), key])


def reshaped(of: Description, before: Sequence[int], after: Sequence[int]) -> Description:
    """Describe a tensor of another shape; both shapes are those of the whole batch."""
    if tuple(before) == tuple(after):
        return of
    return applied("reshape", of, before=[*before], shape=[*after])
