"""Tensors that are not outputs of layers, recomputed from stored tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.arithmetic.functions import FUNCTIONS, PARAMETRIC
from runner.bounds import STORED_TYPE

_EXACT = (
    "absolute add divide equal floor greater greater_equal less less_equal logical_and",
    "logical_not logical_or maximum minimum multiply negative not_equal sign square subtract",
)
_ROUNDED = ("cos exp log log1p power sin sqrt tanh",)

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in " ".join((*_EXACT, *_ROUNDED)).split()},
    **{name: FUNCTIONS[name] for name in ("relu", "relu6", "sigmoid", "softplus")},
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
_NUMBERS = {
    "absolute": "|{}|", "add": "{} + {}", "divide": "{} / {}", "maximum": "max({}, {})",
    "minimum": "min({}, {})", "multiply": "{} * {}", "negative": "-{}", "subtract": "{} - {}",
}  # fmt: skip


_LONGEST_FORMULA = 40

# A record may come from anyone: computations of more numbers, or of sums of more products, are
# refused.
_MOST_NUMBERS = 2**26
_MOST_PRODUCTS = 2**31

_EVERYTHING = ((slice(None),), (slice(None, None, 1),), (Ellipsis,))


class MixedSamplesError(Exception):
    """A value depends on other samples, or the axis of the samples cannot be followed."""


@dataclass(frozen=True)
class Derived:
    """A recomputed array, for one sample.

    Attributes
    ----------
    values
        Shape (1, *axes) if it depends on the sample, else of any shape.
    sampled
        Whether `values` depends on the sample.
    operations
        Largest number of rounded operations behind one of its values.
    """

    values: np.ndarray
    sampled: bool
    operations: int = 0


def evaluate(description: dict[str, Any], source: Callable[[dict[str, Any]], Derived]) -> Derived:
    """Compute a tensor from its description by `runner.engines.engine.Engine`.

    Parameters
    ----------
    description
        Operands and operations of the tensor.
    source
        Returns the stored values of a tensor, an input or a weight.

    Raises
    ------
    MixedSamplesError
        If an operation mixes samples.
    """
    if "dtype" in description and not re.search(STORED_TYPE, str(description["dtype"])):
        raise ValueError(f"no type of numbers: {description['dtype']!r}")
    if "constant" in description:
        return Derived(np.asarray(description["constant"], description["dtype"]), False)
    if "range" in description:
        _check_size(len(range(*description["range"])), _MOST_NUMBERS)
        return Derived(np.arange(*description["range"], dtype=description["dtype"]), False)
    if "operation" not in description:
        return source(description)
    given = [evaluate(one, source) for one in description["of"]]
    products = description["operation"] in ("matmul", "einsum")
    most = _MOST_PRODUCTS if products else _MOST_NUMBERS
    _check_size(_largest(description, [one.values for one in given]), most)
    values, more = _computed(description, given)
    operations = more + max(one.operations for one in given)
    return Derived(values, any(one.sampled for one in given), operations)


def _largest(description: dict[str, Any], arrays: Sequence[np.ndarray]) -> int:
    """Return an upper bound on the numbers that an operation processes."""
    sizes = [array.size for array in arrays]
    match str(description["operation"]):
        case "broadcast_to":
            return math.prod(int(size or 1) for size in description["shape"])
        case "concatenate" | "stack":
            return sum(sizes)
        case "take":
            return sizes[0] * sizes[1]
        case "matmul":
            one, other = (np.atleast_2d(array).shape for array in arrays)
            leading = np.broadcast_shapes(one[:-2], other[:-2])
            return math.prod((*leading, *one[-2:], max(other[-2:])))
        case "einsum":
            letters = str(description["subscripts"]).partition("->")[0].split(",")
            pairs = zip(letters, arrays, strict=True)
            lengths = {x: n for of, one in pairs for x, n in zip(of, one.shape, strict=True)}
            return math.prod(lengths.values())
        case name if name in _FUNCTIONS:
            return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return max(sizes)


def _check_size(size: int, most: int) -> None:
    """Check that a computation has at most `most` numbers, raise ValueError otherwise."""
    if size > most:
        raise ValueError(f"{size:,} numbers")


def told(description: dict[str, Any]) -> str:
    """Return a description as a formula, such as ``(attention + inputs)``, shortened if long."""
    formula = _formula(description)
    return formula if len(formula) <= _LONGEST_FORMULA else f"{description['operation']}(...)"


def _formula(description: dict[str, Any]) -> str:
    for key in ("tensor", "weight"):
        if key in description:
            return str(description[key])
    if "input" in description:
        return "input"
    if "constant" in description:
        return str(description["constant"])
    if "range" in description:
        return "range"
    inner = [_formula(one) for one in description["of"]]
    name = str(description["operation"])
    if name in _NUMBERS:
        return "(" + _NUMBERS[name].format(*inner) + ")"
    if name in ("cast", "reshape", "broadcast_to"):
        return inner[0]
    return f"{name}({', '.join(inner)})"


def _computed(description: dict[str, Any], given: Sequence[Derived]) -> tuple[np.ndarray, int]:
    name, arrays = str(description["operation"]), [one.values for one in given]
    first = arrays[0]
    if name in _FUNCTIONS or name in ("leaky_relu", "softmax", "log_softmax"):
        return _entry_by_entry(description, given)
    if name in _REDUCING:
        axes = tuple(axis % first.ndim for axis in description["axis"])
        if given[0].sampled and 0 in axes:
            raise MixedSamplesError
        exact = first.astype(np.float64) if first.dtype.kind == "f" else first
        reduced = np.asarray(_REDUCING[name](exact, axes, keepdims=description["keepdims"]))
        return reduced.astype(first.dtype), first.size // max(1, reduced.size)
    if name in ("matmul", "einsum"):
        return _multiplied(description, given)
    with_samples = [one for one in given if one.sampled]
    match name:
        case "cast":
            of_type = "float32" if description["dtype"] == "bfloat16" else description["dtype"]
            return first.astype(of_type), 1
        case "reshape":
            shape = [-1 if size is None else size for size in description["shape"]]
            if given[0].sampled:
                shape[0] = 1 if -1 in shape[1:] else -1
            return first.reshape(shape), 0
        case "broadcast_to":
            shape = description["shape"]
            leading = 1 if given[0].sampled or shape[0] is None else shape[0]
            return np.broadcast_to(first, (leading, *shape[1:])), 0
        case "transpose":
            if with_samples and description["axes"][0] != 0:
                raise MixedSamplesError
            return first.transpose(description["axes"]), 0
        case "concatenate" | "stack":
            axis = description["axis"] % (first.ndim + (name == "stack"))
            if with_samples and axis == 0:
                raise MixedSamplesError
            return (np.concatenate if name == "concatenate" else np.stack)(arrays, axis), 0
        case "get_item":
            key = tuple(map(_key, description["key"]))
            if with_samples and key[:1] not in (
                (slice(None, None, 1),),
                (slice(None),),
                (Ellipsis,),
            ):
                raise MixedSamplesError
            return first[key], 0
        case "take":
            axis = description["axis"] % first.ndim
            if given[0].sampled and (axis == 0 or given[1].sampled):
                raise MixedSamplesError
            return np.take(first, arrays[1].astype(int), axis), 0
    raise MixedSamplesError


def _entry_by_entry(
    description: dict[str, Any], given: Sequence[Derived]
) -> tuple[np.ndarray, int]:
    name, arrays = str(description["operation"]), [one.values for one in given]
    ranks = {one.values.ndim for one in given if one.sampled}
    highest = max(one.values.ndim for one in given)
    if len(ranks) > 1 or (ranks and max(ranks) < highest):
        raise MixedSamplesError
    if name in ("softmax", "log_softmax"):
        function = FUNCTIONS[name]
    elif name == "leaky_relu":
        function = PARAMETRIC[name](description)
    else:
        function = _FUNCTIONS[name]
    exact = " ".join(_EXACT).split()
    floats = [one.dtype for one in arrays if one.dtype.kind == "f"]
    with np.errstate(all="ignore"):
        if name in exact or name == "where" or not floats:
            return np.asarray(function(*arrays)), 1
        values = np.asarray(function(*(one.astype(np.float64) for one in arrays)))
    return values.astype(floats[0]), arrays[0].shape[-1] if "softmax" in name else 2


def _multiplied(description: dict[str, Any], given: Sequence[Derived]) -> tuple[np.ndarray, int]:
    exact = [one.values.astype(np.float64) for one in given]
    of_type = np.result_type(*(one.values.dtype for one in given))
    if description["operation"] == "einsum":
        equation = str(description["subscripts"])
        left, _, out = equation.partition("->")
        for axes, one in zip(left.split(","), given, strict=True):
            if "." in axes or one.sampled != axes.startswith(out[:1]):
                raise MixedSamplesError
        product = np.einsum(equation, *exact)
    else:
        if given[1].sampled and (exact[1].ndim < 3 or exact[0].ndim < 3):
            raise MixedSamplesError
        turned = [
            np.swapaxes(one, -1, -2) if turn else one
            for one, turn in zip(exact, description["transposed"], strict=True)
        ]
        if given[0].sampled and description["transposed"][0] and exact[0].ndim < 3:
            raise MixedSamplesError
        product = turned[0] @ turned[1]
    return product.astype(of_type), max(one.shape[-1] for one in exact)


def _key(plain: Any) -> Any:
    """Return a part of the key of ``x[key]`` from its JSON form."""
    if isinstance(plain, dict):
        return slice(*plain["slice"])
    return Ellipsis if plain == "..." else plain
