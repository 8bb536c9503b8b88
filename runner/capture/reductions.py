"""Reductions that make an activation smaller before it leaves the graph."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.errors import InputError
from runner.sizes import check_memory
from runner.tensors import unit_axis_of

MAX_SIZE = 65_536
"""Largest size in the name of a reduction."""

# NumPy is imported where it is used, since a configuration is checked without it.


@dataclass(frozen=True)
class OverPositions:
    """A reduction over every axis except the sample and unit axes, that is, over space or time.

    Attributes
    ----------
    compute
        Maps the functions of `keras.ops`, a tensor of shape (sample, *axes) and the indices of
        the positions among its axes to a tensor of shape (sample, unit).
    """

    compute: Callable[[Any, Any, tuple[int, ...]], Any]


@dataclass(frozen=True)
class OfFlattened:
    """A reduction of flattened samples, whose result has units of its own.

    Attributes
    ----------
    compute
        Maps the functions of `keras.ops`, a tensor of shape (sample, unit), the size in the
        reduction's name (0 if there is none) and the tensor's name to a tensor of shape (sample,
        other unit).
    size
        An example of the size in its name, as in ``projection:16``; ``None``: its name has none.
    note
        What else to know, in a few words.
    """

    compute: Callable[[Any, Any, int, str], Any]
    size: int | None = None
    note: str = ""


def _projected(ops: Any, flat: Any, size: int, name: str) -> Any:
    """Multiply flattened samples by a Gaussian matrix of variance 1/size.

    The distances between samples are kept (Johnson & Lindenstrauss 1984, "Extensions of Lipschitz
    mappings into a Hilbert space"). The tensor's name is the seed: the same name and size give
    the same matrix in every run.
    """
    import numpy as np

    check_memory(name, 8 * flat.shape[1] * size)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(name.encode()))))
    matrix = generator.normal(scale=size**-0.5, size=(flat.shape[1], size))
    dtype = str(getattr(flat.dtype, "name", flat.dtype)).removeprefix("torch.")
    if "float" not in dtype:
        dtype = "float32"
    return ops.matmul(ops.cast(flat, dtype), ops.cast(matrix, dtype))


REDUCTIONS: dict[str, OverPositions | OfFlattened] = {
    "mean": OverPositions(lambda ops, tensor, positions: ops.mean(tensor, axis=positions)),
    "max": OverPositions(lambda ops, tensor, positions: ops.max(tensor, axis=positions)),
    "std": OverPositions(lambda ops, tensor, positions: ops.std(tensor, axis=positions)),
    "flatten": OfFlattened(lambda _ops, flat, _size, _name: flat),
    "projection": OfFlattened(_projected, size=16, note="seeded, random"),
}
"""All reductions, by the names that ``capture.reduce`` takes; ``none`` stands for no reduction."""


def examples() -> list[str]:
    """Return each value that ``capture.reduce`` takes, with an example of a size."""
    return [*map(_example, REDUCTIONS), "none"]


def described() -> str:
    """Return all values that ``capture.reduce`` takes, in Markdown."""
    over = [f"`{name}`" for name, it in REDUCTIONS.items() if isinstance(it, OverPositions)]
    parts = [f"{', '.join(over[:-1])} or {over[-1]} over space or time"]
    for name, reduction in REDUCTIONS.items():
        if isinstance(reduction, OfFlattened):
            note = f" ({reduction.note})" if reduction.note else ""
            parts.append(f"`{_example(name)}`{note}")
    return f"{', '.join(parts)}, or `none`"


def is_reduction(text: str) -> bool:
    """Return whether a text is a value that ``capture.reduce`` takes."""
    name, colon, size = text.partition(":")
    if text == "none":
        return True
    if name not in REDUCTIONS:
        return False
    if getattr(REDUCTIONS[name], "size", None) is None:
        return not colon
    return re.fullmatch(r"[1-9]\d{0,4}", size) is not None and int(size) <= MAX_SIZE


def lacking(operation: str, whose: str) -> InputError:
    """Return the error that an operation of a reduction does not exist in a library of models."""
    message = f"a reduction needs `keras.ops.{operation}`, which {whose} do not have"
    return InputError.of("capture.reduce", message, "choose another reduction for them")


def reduced(activation: Any, reduction: str, name: str, unit_axis: int, ops: Any) -> Any:
    """Reduce one activation.

    Parameters
    ----------
    activation
        Tensor of shape (sample, *axes).
    reduction
        A name in `REDUCTIONS`, and its size after a colon if it has one.
    name
        The tensor's name.
    unit_axis
        Index of the unit axis of a sample, from 0.
    ops
        The functions of `keras.ops`, or others of the same names and arguments.

    Returns
    -------
    tensor
        Of rank 2; a tensor without axes to reduce over is returned unchanged.
    """
    kind, _, size = reduction.partition(":")
    found = REDUCTIONS[kind]
    if isinstance(found, OverPositions):
        axes = range(1, len(activation.shape))
        positions = tuple(axis for axis in axes if axis != unit_axis + 1)
        return found.compute(ops, activation, positions) if positions else activation
    flat = ops.reshape(activation, (-1, math.prod(activation.shape[1:])))
    return found.compute(ops, flat, int(size or 0), name)


def reduced_axes(axes: tuple[str, ...] | None, reduction: str | None) -> tuple[str, ...] | None:
    """Return the names of a tensor's axes after a reduction, given those before it."""
    if reduction is None:
        return axes
    if isinstance(REDUCTIONS[reduction.partition(":")[0]], OfFlattened):
        return ("unit",)
    return axes and (axes[unit_axis_of(axes, len(axes))],)


def _example(name: str) -> str:
    size = getattr(REDUCTIONS[name], "size", None)
    return name if size is None else f"{name}:{size}"
