"""Estimates how much a model computes for a sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runner.capture.call import Call, Leaf
from runner.model.backend import framework
from runner.model.keras_internals import sublayers

# Writing and reading a value takes about as long as this many multiplications.
_A_VALUE = 32

Lengths = tuple[int, ...]


def cost_of(calls: Sequence[Call]) -> int:
    """Estimate the cost of a forward pass per sample, in multiplications.

    Counted are the values that layers output, and the products of kernels with the inputs. What
    is computed in a loop is counted once, and so is an axis of unknown length.

    Parameters
    ----------
    calls
        All calls of the pass.
    """
    kernels: dict[int, list[Lengths]] = {}
    cost = 0
    for call in calls:
        key = id(call.operation)
        if key not in kernels:
            kernels[key] = _kernels(call.operation)
        outputs = _lengths(call.outputs)
        cost += _A_VALUE * sum(map(math.prod, outputs))
        if outputs and kernels[key]:
            given = {length for lengths in _lengths(call.inputs) for length in lengths}
            cost += sum(
                _products(kernel, outputs[0]) for kernel in kernels[key] if given & {*kernel}
            )
    return cost


def _kernels(operation: object) -> list[Lengths]:
    """Return the shapes of an operation's own weights that are not vectors."""
    below = {id(weight) for child in sublayers(operation) for weight in child.weights}
    own = [weight for weight in getattr(operation, "weights", []) if id(weight) not in below]
    return [tuple(weight.shape) for weight in own if len(weight.shape) > 1]


def _products(kernel: Lengths, output: Lengths) -> int:
    """Return the number of products: the kernel is used at each position of the output.

    The last axes of the output, those that the kernel has too, are its units.
    """
    units = 1
    while units < len(output) and kernel[-units - 1 :] == output[-units - 1 :]:
        units += 1
    return math.prod(output[:-units]) * math.prod(kernel)


def _lengths(leaves: Sequence[Leaf]) -> list[Lengths]:
    """Return the shape of a sample of each tensor."""
    shapes = [framework().shape_of(tensor) for _, tensor in leaves]
    return [tuple(length or 1 for length in shape[1:]) for shape in shapes if shape]
