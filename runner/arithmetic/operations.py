"""Accounts of the ``keras.ops`` operations in a Functional model, such as ``x * 2``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.elementwise import mapped
from runner.arithmetic.functions import ACROSS, FUNCTIONS, PARAMETRIC
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.operands import given_to, mixing
from runner.arithmetic.rearrangements import MOVES, rearranged
from runner.arithmetic.tensor_products import einsum, matmul

Place = tuple[int, ...]
Accounting = Callable[[LayerCall, Place, str], Account]

_NUMPY = (
    "abs absolute arccos arccosh arcsin arcsinh arctan arctanh ceil cos cosh deg2rad exp exp2",
    "expm1 floor isfinite isinf isnan log log10 log1p log2 logical_not negative rad2deg",
    "reciprocal sign sin sinh sqrt square tan tanh trunc",
    "add arctan2 divide equal floor_divide greater greater_equal less less_equal logaddexp",
    "logical_and logical_or logical_xor maximum minimum mod multiply not_equal power subtract",
    "true_divide",
)
_PASSING = ("copy", "identity", "stop_gradient")

_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in " ".join(_NUMPY).split()},
    **{name: function for name, function in FUNCTIONS.items() if name not in ACROSS},
    **dict.fromkeys(_PASSING, lambda entry: entry),
    "rsqrt": lambda entry: 1 / np.sqrt(entry),
    "where": np.where,
}

_REDUCING: dict[str, Callable[[np.ndarray], Any]] = {
    "all": np.all,
    "amax": np.max,
    "amin": np.min,
    "any": np.any,
    "argmax": np.argmax,
    "argmin": np.argmin,
    "logsumexp": np.logaddexp.reduce,
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "prod": np.prod,
    "std": np.std,
    "sum": np.sum,
    "var": np.var,
}


def operation(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of an operation.

    Raises
    ------
    InputError
        If the operation is not covered, mixes samples, or has an operand that is not stored.
    """
    name = str(call.arguments["operation"])
    if name not in OPERATIONS:
        raise not_covered(call.name, f"values of keras.ops.{name}", "docs/explain.md lists what is")
    return OPERATIONS[name](call, place, name)


def covered() -> list[str]:
    """Return the names of the operations of ``keras.ops`` that are covered."""
    return sorted(OPERATIONS)


def _parametric(name: str, call: LayerCall) -> Callable[..., Any]:
    return PARAMETRIC[name](call.arguments)


def _clip(call: LayerCall) -> Callable[..., Any]:
    least, most = call.arguments.get("x_min"), call.arguments.get("x_max")
    if not all(isinstance(limit, (int, float)) for limit in (least, most)):
        raise not_covered(call.name, "limits that are tensors")
    return lambda entry: np.clip(entry, least, most)


def _round(call: LayerCall) -> Callable[..., Any]:
    return lambda entry: np.round(entry, call.arguments.get("decimals", 0))


def _cast(call: LayerCall) -> Callable[..., Any]:
    return lambda entry: np.asarray(entry).astype(call.output.dtype)


_WITH_ARGUMENTS: dict[str, Callable[[LayerCall], Callable[..., Any]]] = {
    **{name: partial(_parametric, name) for name in PARAMETRIC if name in _ELEMENTWISE},
    "cast": _cast,
    "clip": _clip,
    "round": _round,
}
"""Elementwise operations with arguments: each maps the call to a function of its entries."""


def entrywise(function: Callable[..., Any]) -> Accounting:
    """Return the accounting of an operation whose values depend on one value of each operand.

    Parameters
    ----------
    function
        Takes these values, and returns that of the operation.
    """
    return partial(_elementwise, lambda _call: function)


def _elementwise(
    function_of: Callable[[LayerCall], Callable[..., Any]],
    call: LayerCall,
    place: Place,
    name: str,
) -> Account:
    function = function_of(call)
    given, dtype = given_to(call), call.dtype.type
    if len({one.values.ndim for one in given if one.source}) > 1:
        raise not_covered(call.name, "operands of different ranks")
    entries, labels = [], []
    for one in given:
        axes = one.values.ndim
        if axes > len(place) + (not one.source):
            raise mixing(call)
        if axes > len(place):  # a constant with a sample axis of length 1
            at: Place = (0, *place)
        else:
            at = place[len(place) - axes :]
        at = tuple(
            0 if size == 1 else here for here, size in zip(at, one.values.shape, strict=True)
        )
        entry = one.values[at]
        entries.append(np.float64(entry) if one.values.dtype.kind == "f" else entry)
        labels.append(one.label(at) if one.source else "constant")
    with np.errstate(all="ignore"):
        value = float(function(*entries))
    terms = table_of(labels, input=np.array([float(entry) for entry in entries]).astype(dtype))
    size = abs(value)
    if name in ("add", "subtract", "gelu"):  # terms may cancel
        size += sum(abs(float(entry)) for entry in entries)
    return Account(terms, [(name, dtype(value))], value, size, len(entries), summed=name == "add")


def reducing(function: Callable[[np.ndarray], Any]) -> Accounting:
    """Return the accounting of an operation that reduces the values along some axes to one.

    Parameters
    ----------
    function
        Takes these values, of shape (value,), and returns that of the operation.
    """
    return partial(_reduced, function)


def _reduced(
    function: Callable[[np.ndarray], Any], call: LayerCall, place: Place, name: str
) -> Account:
    given, dtype = call.operand, call.dtype.type
    axes = call.arguments.get("axis")
    rank = given.values.ndim + 1
    if axes is None or axes == []:
        raise mixing(call)
    chosen = {int(axis) % rank for axis in (axes if isinstance(axes, list) else [axes])}
    if 0 in chosen:
        raise mixing(call)
    rest = iter(place)
    index: list[Any] = []
    for axis in range(1, rank):
        if axis not in chosen:
            index.append(next(rest))
            continue
        index.append(slice(None))
        if call.arguments.get("keepdims"):
            next(rest)
    sources = np.arange(given.values.size).reshape(given.values.shape)[tuple(index)].ravel()
    entries = given.values.ravel()[sources].astype(np.float64)
    value = float(function(entries))
    places = zip(*np.unravel_index(sources, given.values.shape), strict=True)
    labels = [given.label(tuple(map(int, at))) for at in places]
    terms = table_of(labels, input=entries.astype(dtype))
    exact = name in ("max", "min", "amax", "amin", "argmax", "argmin", "any", "all")
    size = float(np.abs(entries).sum())
    if name in ("var", "std", "prod"):
        size = float(np.square(entries).sum() + abs(value))
    steps = [(f"{name} of {len(entries)}", dtype(value))]
    operations = 0 if exact else len(entries)
    return Account(terms, steps, value, 0.0 if exact else size, operations, summed=name == "sum")


def _across(call: LayerCall, place: Place, name: str) -> Account:
    axis = call.arguments.get("axis", -1)
    if not isinstance(axis, int) or axis == 0:
        raise mixing(call)
    return mapped(call, place, name, axis - 1 if axis > 0 else axis)


OPERATIONS: dict[str, Accounting] = {
    **{name: entrywise(function) for name, function in _ELEMENTWISE.items()},
    **{name: partial(_elementwise, function_of) for name, function_of in _WITH_ARGUMENTS.items()},
    **{name: reducing(function) for name, function in _REDUCING.items()},
    **dict.fromkeys(ACROSS, _across),
    **dict.fromkeys(MOVES, rearranged),
    **dict.fromkeys(("dot", "matmul"), lambda call, place, _name: matmul(call, place)),
    "einsum": lambda call, place, _name: einsum(call, place),
}
"""Functions that return the account of a value, by the name of the operation."""
