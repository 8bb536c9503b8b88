"""Accounts of elementwise layers, merging layers, Concatenate and Embedding."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from statistics import fmean

import numpy as np

from runner.arithmetic.account import Account, not_covered, table_of
from runner.arithmetic.functions import ACROSS, FUNCTIONS
from runner.arithmetic.layer_call import LayerCall
from runner.arithmetic.quantization import embedding_row

Place = tuple[int, ...]

_MERGED: dict[str, Callable[[list[float]], float]] = {
    "Add": sum,
    "Average": fmean,
    "Maximum": max,
    "Minimum": min,
    "Multiply": prod,
    "Subtract": lambda entries: entries[0] - entries[1],
}
MERGING = tuple(_MERGED)
"""Names of the layer classes that merge several inputs."""


def activation(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Activation."""
    return mapped(call, place, call.activation, -1)


def softmax(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Softmax."""
    axes = call.arguments.get("axis", -1)
    if isinstance(axes, list) and len(axes) == 1:
        [axes] = axes
    if not isinstance(axes, int):
        raise not_covered(call.name, "softmaxes over several axes")
    return mapped(call, place, "softmax", axes - 1 if axes > 0 else axes)


def relu(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of ReLU, with its slope, threshold and limit."""
    known = call.arguments
    slope, least = float(known.get("negative_slope", 0)), float(known.get("threshold", 0))
    # TensorFlow rounds these to float32 before it casts them to any type.
    most, bound = (float(np.float32(one)) for one in (known.get("max_value", np.inf), least))
    if least == 0 and "max_value" not in known:  # computed by TensorFlow's leaky_relu
        slope = float(np.float32(slope))
    entry = float(call.operand.values[place])
    above = min(entry, most) if entry > bound else 0.0
    return one_value(call, place, above - slope * max(least - entry, 0.0))


def leaky_relu(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of LeakyReLU."""
    entry = float(call.operand.values[place])
    slope = float(np.float32(call.arguments["negative_slope"]))  # rounded by TensorFlow in any type
    return one_value(call, place, entry if entry > 0 else entry * slope)


def elu(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of ELU."""
    entry = float(call.operand.values[place])
    return one_value(call, place, entry if entry > 0 else call.arguments["alpha"] * np.expm1(entry))


def rescaling(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Rescaling."""
    scale, offset = call.arguments.get("scale"), call.arguments.get("offset", 0.0)
    if not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)):
        raise not_covered(call.name, "scales for each channel")
    dtype = call.dtype.type
    steps = [("scale", dtype(scale)), ("offset", dtype(offset))]
    return one_value(call, place, float(call.operand.values[place]) * scale + offset, steps)


def same(call: LayerCall, place: Place) -> Account:
    """Return the account of an unchanged value, as of Dropout outside of training."""
    if call.training:
        raise not_covered(call.name, "random numbers drawn in training")
    return one_value(call, place, float(call.operand.values[place]))


def merged(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Add, Subtract, Multiply, Average, Maximum or Minimum."""
    given, dtype = call.operands, call.dtype.type
    if len({operand.values.ndim for operand in given}) > 1:
        raise not_covered(call.name, "inputs of different ranks")
    places = [
        tuple(0 if size == 1 else at for at, size in zip(place, one.values.shape, strict=True))
        for one in given
    ]
    values = [float(one.values[at]) for one, at in zip(given, places, strict=True)]
    kind = call.layer.layer_class
    value = _MERGED[kind](values)
    labels = [one.label(at) for one, at in zip(given, places, strict=True)]
    terms = table_of(labels, input=np.array(values).astype(dtype))
    size = sum(map(abs, values)) if kind != "Multiply" else abs(value)
    steps = [(kind.lower(), dtype(value))]
    return Account(terms, steps, float(value), size, len(values), summed=kind == "Add")


def concatenated(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Concatenate: a value of one of the inputs."""
    axis = int(call.arguments.get("axis", -1))
    axis = axis - 1 if axis > 0 else len(place) + axis
    at = list(place)
    for operand in call.operands:
        if at[axis] < operand.values.shape[axis]:
            break
        at[axis] -= operand.values.shape[axis]
    entry, dtype = operand.values[tuple(at)], call.dtype.type
    terms = table_of([operand.label(tuple(at))], input=entry.astype(dtype))
    return Account(terms, [("passed on", dtype(entry))], float(entry), 0.0, 0, summed=False)


def embedding(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Embedding: an entry of the row given by the input."""
    given, dtype = call.operand, call.dtype.type
    row, unit = int(given.values[place[:-1]]), place[-1]
    entries, behind, operations = embedding_row(call, row, call.output.shape[-1])
    entry = entries[unit]
    terms = table_of([given.label(place[:-1])], row=np.array([row]))
    steps = [(name, dtype(values[unit])) for name, values in behind]
    steps.append((f"embeddings[{row}, {unit}]", dtype(entry)))
    return Account(terms, steps, float(entry), abs(float(entry)), operations, summed=False)


def mapped(call: LayerCall, place: Place, name: str, axis: int) -> Account:
    """Return the account of a value of a function of one number, or of an axis's numbers."""
    given, dtype = call.operand, call.dtype.type
    values = np.moveaxis(given.values.astype(np.float64), axis, -1) if place else given.values
    at = list(range(len(place)))
    at.append(at.pop(axis))
    ordered = tuple(place[one] for one in at)
    with np.errstate(all="ignore"):
        if name in ACROSS:
            line = values[ordered[:-1]]
            value = FUNCTIONS[name](line)[ordered[-1]]
        else:
            line = values[ordered][None]
            value = FUNCTIONS[name](line)[0]
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    steps = [("input", dtype(given.values[place]))]
    size = float(np.abs(line).max())
    return Account(terms, steps, float(value), size, len(line), name, len(line), summed=False)


def one_value(
    call: LayerCall,
    place: Place,
    value: float,
    steps: list[tuple[str, np.generic]] | None = None,
) -> Account:
    """Return the account of a value that is computed from the input's value in its place."""
    given, dtype = call.operand, call.dtype.type
    terms = table_of([given.label(place)], input=given.values[place].astype(dtype))
    size = abs(float(given.values[place])) + abs(value)
    last = ("output", dtype(value))
    return Account(terms, [*(steps or []), last], float(value), size, 2, summed=False)
