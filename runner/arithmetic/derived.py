"""Tensors that are not outputs of layers, recomputed from stored tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from runner.arithmetic.derived_operations import Derived, applied, is_entrywise
from runner.bounds import STORED_TYPE

_NUMBERS = {
    "absolute": "|{}|", "add": "{} + {}", "divide": "{} / {}", "maximum": "max({}, {})",
    "minimum": "min({}, {})", "multiply": "{} * {}", "negative": "-{}", "subtract": "{} - {}",
}  # fmt: skip


_LONGEST_FORMULA = 40

# A record may come from anyone: computations of more numbers, or of sums of more products, are
# refused.
_MOST_NUMBERS = 2**26
_MOST_PRODUCTS = 2**31


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
        return Derived(np.asarray(description["constant"], description["dtype"]))
    if "range" in description:
        _check_size(len(range(*description["range"])), _MOST_NUMBERS)
        return Derived(np.arange(*description["range"], dtype=description["dtype"]))
    if "operation" not in description:
        return source(description)
    given = [evaluate(one, source) for one in description["of"]]
    products = description["operation"] in ("matmul", "einsum")
    most = _MOST_PRODUCTS if products else _MOST_NUMBERS
    _check_size(_largest(description, [one.values for one in given]), most)
    found = applied(description, given)
    return replace(found, operations=found.operations + max(one.operations for one in given))


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
        case "index":
            shape = np.broadcast_shapes(*(array.shape for array in arrays[1:]))
            return math.prod(shape) * math.prod(arrays[0].shape[len(arrays) - 1 :])
        case "matmul":
            one, other = (np.atleast_2d(array).shape for array in arrays)
            leading = np.broadcast_shapes(one[:-2], other[:-2])
            return math.prod((*leading, *one[-2:], max(other[-2:])))
        case "einsum":
            letters = str(description["subscripts"]).partition("->")[0].split(",")
            pairs = zip(letters, arrays, strict=True)
            lengths = {x: n for of, one in pairs for x, n in zip(of, one.shape, strict=True)}
            return math.prod(lengths.values())
        case name if is_entrywise(name):
            return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return max(sizes)


def _check_size(size: int, most: int) -> None:
    """Check that a computation has at most `most` numbers, raise ValueError otherwise."""
    if size > most:
        raise ValueError(f"{size:,} numbers")


def told(description: dict[str, Any]) -> str:
    """Return a description as a formula, such as ``(attention + inputs)``, shortened if long."""
    formula = _formula(description)
    if len(formula) <= _LONGEST_FORMULA or "operation" not in description:
        return formula
    return f"{description['operation']}(...)"


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
