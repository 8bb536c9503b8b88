"""Accounts of tensor products: ``einsum``, ``matmul`` and ``dot`` of ``keras.ops``."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.layer_call import LayerCall, Operand
from runner.arithmetic.operands import given_to, mixing

Place = tuple[int, ...]

_MOST_TERMS = 2**22


def einsum(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of ``keras.ops.einsum``: a sum over the contracted axes."""
    given = given_to(call)
    left, arrow, out = str(call.arguments["subscripts"]).replace(" ", "").partition("->")
    named = left.split(",")
    samples = out[:1]
    pairs = list(zip(named, given, strict=True))
    if not arrow or "." in left:
        raise not_covered(call.name, f"equations such as {call.arguments['subscripts']}")
    if any((axes.find(samples) != 0) == bool(one.source) for axes, one in pairs):
        raise mixing(call)
    named = [axes[1:] if one.source else axes for axes, one in pairs]
    at = dict(zip(out[1:], place, strict=True))
    sizes = {
        axis: size
        for axes, one in zip(named, given, strict=True)
        for axis, size in zip(axes, one.values.shape, strict=True)
    }
    inner = [axis for axis in sizes if axis not in at]
    check_growth(prod(sizes[axis] for axis in inner), _MOST_TERMS)
    terms = []
    for entry in product(*(range(sizes[axis]) for axis in inner)):
        here = at | dict(zip(inner, entry, strict=True))
        terms.append([tuple(here[axis] for axis in axes) for axes in named])
    return _products(call, given, terms)


def matmul(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of ``keras.ops.matmul``, or of ``dot`` with a matrix."""
    one, other = given_to(call)
    a, b = (x.values[None] if x.source else x.values for x in (one, other))
    out = (0, *place)
    vector = b.ndim == 1
    if a.ndim < 2 or (other.source and (b.ndim < 3 or b.ndim != a.ndim)):
        raise mixing(call)
    if not one.source and a.ndim != b.ndim and a.ndim != 2:
        raise mixing(call)
    if call.arguments["operation"] == "dot" and b.ndim > 2:
        raise not_covered(call.name, "dot products of tensors with more than two axes")
    row, batch = (out[-1], out[:-1]) if vector else (out[-2], out[:-2])

    def spread(values: np.ndarray) -> Place:
        sizes = values.shape[:-2]
        kept = batch[len(batch) - len(sizes) :]
        return tuple(0 if size == 1 else at for at, size in zip(kept, sizes, strict=True))

    terms = []
    for entry in range(a.shape[-1]):
        first = (*spread(a), row, entry)
        second: Place = (entry,) if vector else (*spread(b), entry, out[-1])
        terms.append([first[1:] if one.source else first, second[1:] if other.source else second])
    return _products(call, [one, other], terms)


def _products(call: LayerCall, given: list[Operand], places: list[list[Place]]) -> Account:
    """Return the account of a sum of products, each with one entry of every operand."""
    dtype = call.dtype.type
    columns = [
        np.array([one.values[at[number]] for at in places], np.float64)
        for number, one in enumerate(given)
    ]
    products = np.prod(columns, axis=0)
    total = float(products.sum())
    labels = [
        " * ".join(one.label(at) for one, at in zip(given, row, strict=True) if one.source)
        for row in places
    ]
    named = {f"x{number}": values.astype(dtype) for number, values in enumerate(columns, 1)}
    terms = table_of(labels, **named, product=products.astype(dtype))
    size = float(np.abs(products).sum())
    return Account(terms, [("sum", dtype(total))], total, size, len(products))
