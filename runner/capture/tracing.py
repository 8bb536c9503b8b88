"""A forward pass as a TensorFlow function, computed without rewrites across layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.capture.inventory import Inventory
from runner.capture.resources import Resource, changed_by, runs_python


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass gave.

    Attributes
    ----------
    inventory
        The layers and tensors that it went through.
    tensors
        The chosen ones, in the order of ``inventory.tensors``.
    updates
        New values of variables, by their position among those that were given.
    assigned
        Further variables that would have been assigned, each with its new value.
    size
        How many values all layers together put out for a sample.
    """

    inventory: Inventory
    tensors: list[Any]
    updates: dict[int, Any]
    assigned: list[tuple[keras.Variable, Any]]
    size: int


Forward = Callable[[list[Any], Any, Any], Pass]


@dataclass(frozen=True, eq=False)
class Traced:
    """A forward pass as a compiled function.

    Attributes
    ----------
    example
        The pass as traced; its tensors are those of the graph.
    resources
        The variables and tables of TensorFlow that running it changes.
    runs_python
        Whether running it runs Python code.
    variables
        All of TensorFlow's that it uses, kept from being deleted with the layers that the
        trace made.
    fixed_axes
        Positions of the tensors whose first axis the graph gives a fixed length.
    """

    example: Pass
    resources: tuple[Resource, ...]
    runs_python: bool
    variables: tuple[Any, ...]
    fixed_axes: frozenset[int]
    _function: Callable[..., Any]

    def __call__(self, values: list[Any], inputs: Any, targets: Any) -> Pass:
        """Run the pass."""
        tensors, updated = self._function(values, inputs, targets)
        updates = dict(zip(self.example.updates, updated, strict=True))
        return Pass(self.example.inventory, tensors, updates, [], self.example.size)


def trace(forward: Forward, values: list[Any], inputs: Any, targets: Any) -> Traced:
    """Trace a forward pass for batches of any size.

    Parameters
    ----------
    forward
        Runs it on the values of variables, on inputs and on targets.
    values, inputs, targets
        An example of each; arrays of shape (sample, ...).
    """
    passes: list[Pass] = []

    def run(values: list[Any], inputs: Any, targets: Any) -> tuple[list[Any], list[Any]]:
        passes.append(forward(values, inputs, targets))
        return passes[-1].tensors, list(passes[-1].updates.values())

    signature = keras.tree.map_structure(
        lambda array: (
            None if array is None else tf.TensorSpec((None, *array.shape[1:]), array.dtype)
        ),
        (inputs, targets),
    )
    function = tf.function(run, autograph=False).get_concrete_function(values, *signature)
    fixed = {
        place for place, tensor in enumerate(passes[-1].tensors) if tensor.shape[0] is not None
    }
    return Traced(
        passes[-1],
        changed_by(function.graph),
        runs_python(function.graph),
        tuple(function.graph.variables),
        frozenset(fixed),
        function,
    )


# What in TensorFlow's optimizer changes arithmetic, depending on which tensors are asked for:
# x * a * b becomes x * (a * b) unless x * a is wanted too.
_REWRITES = ("remapping", "arithmetic_optimization", "constant_folding")
_rewriting = ContextVar("_rewriting", default=True)


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Keep TensorFlow from fusing operations of different layers inside the scope.

    Which ones it fuses depends on which tensors are asked for, and a fused operation
    rounds differently: without this, a value would depend on what else is captured.
    `Capture` enters it for every batch; enter it once around many to save the switching.
    """
    if not _rewriting.get():
        yield
        return
    options = tf.config.optimizer
    found = options.get_experimental_options()
    before = {name: found.get(name, True) for name in _REWRITES}
    options.set_experimental_options(dict.fromkeys(_REWRITES, False))
    token = _rewriting.set(False)
    try:
        yield
    finally:
        _rewriting.reset(token)
        options.set_experimental_options(before)


def as_tensors(arrays: Any) -> Any:
    """Return arrays, in whatever structure, as tensors."""
    return keras.tree.map_structure(
        lambda array: None if array is None else tf.convert_to_tensor(array), arrays
    )


def as_array(tensor: Any) -> np.ndarray:
    """Return the values of a tensor: a view of its memory, where NumPy has its type."""
    if np.dtype(tensor.dtype.as_numpy_dtype).isbuiltin != 1:  # bfloat16, float8: no buffer has it
        return np.asarray(tensor.numpy())
    return np.asarray(memoryview(tensor))
