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
    """The results of one forward pass.

    Attributes
    ----------
    inventory
        The layers and tensors of the pass.
    tensors
        The selected tensors, in the order of ``inventory.tensors``.
    updates
        New values of variables, by their position among the given ones.
    assigned
        Further variables that would have been assigned, each with its new value.
    size
        Number of values that all layers together output for a sample.
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
        The pass as traced; its tensors are symbolic tensors of the graph.
    resources
        The variables and tables of TensorFlow that running it changes.
    runs_python
        Whether running it runs Python code.
    variables
        All TensorFlow variables that it uses, kept from being deleted with the layers that
        the trace made.
    fixed_axes
        Positions of the tensors whose first axis has a fixed length in the graph.
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
        Function that runs it on the values of variables, inputs and targets.
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


# Passes of TensorFlow's optimizer that change arithmetic depending on the requested tensors:
# x * a * b becomes x * (a * b) unless x * a is requested too.
_REWRITES = ("remapping", "arithmetic_optimization", "constant_folding")
_rewriting = ContextVar("_rewriting", default=True)


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Prevent TensorFlow from fusing operations of different layers inside the scope.

    Which operations it fuses depends on the requested tensors, and a fused operation rounds
    differently: without this, a value would depend on which others are captured. `Capture`
    enters it for every batch; enter it once around many batches to save the switching.
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
    """Return arrays, in any structure, as tensors."""
    return keras.tree.map_structure(
        lambda array: None if array is None else tf.convert_to_tensor(array), arrays
    )


def as_array(tensor: Any) -> np.ndarray:
    """Return the values of a tensor: a view of its memory, where NumPy has its dtype."""
    if np.dtype(tensor.dtype.as_numpy_dtype).isbuiltin != 1:  # bfloat16, float8: no buffer format
        return np.asarray(tensor.numpy())
    return np.asarray(memoryview(tensor))
