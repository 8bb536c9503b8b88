"""A forward pass as a TensorFlow function, computed without rewrites across layers."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from runner.engines.engine import Found, Pass, Traced
from runner.engines.tensorflow.effects import changed_by, runs_python, varies
from runner.engines.tensorflow.tensors import current_graph, is_passed
from runner.engines.tensorflow.variables import noting_reads
from runner.patching import patched

lanes = 48
"""Rows that matrix products compute side by side: three vectors of 8 numbers with AVX, of 16 with
AVX-512. Remaining rows, and smaller batches, are rounded differently."""

_TracedFunction: Any = type(tf.function(lambda: None))

_NO_SCOPE = re.compile(r"[^A-Za-z0-9_./-]")

# TensorFlow's graph optimizer changes arithmetic depending on the requested tensors: x * a * b
# becomes x * (a * b) unless x * a is requested too. A first pass takes half as long without it, and
# later ones as long.
_OPTIMIZER = "disable_meta_optimizer"
_rewriting = ContextVar("_rewriting", default=True)


def trace(
    forward: Callable[[list[Any], Any], Pass[Found]], values: list[Any], batch: Any
) -> Traced[Found]:
    """Trace a forward pass for batches of any size; raises what `forward` raises."""
    passes: list[Pass[Found]] = []

    def run(values: list[Any], batch: Any) -> tuple[list[Any], list[Any], list[Any]]:
        passed = forward(values, batch)
        passes.append(passed)
        refused = [tensor for tensor in passed.refused if _is_of(current_graph(), tensor)]
        return passed.tensors, list(passed.updates.values()), refused

    signature = keras.tree.map_structure(
        lambda array: (
            None if array is None else tf.TensorSpec((None, *array.shape[1:]), array.dtype)
        ),
        batch,
    )
    function = tf.function(run, autograph=False).get_concrete_function(values, signature)
    example = passes[-1]
    fixed = {place for place, tensor in enumerate(example.tensors) if tensor.shape[0] is not None}
    return Traced(
        _without_checks(function),
        example,
        changed_by(function.graph),
        runs_python(function.graph),
        varies(function.graph),
        frozenset(fixed),
        tuple(function.graph.variables),
        _largest(function.outputs, len(keras.tree.flatten(batch)[0])),
    )


def _without_checks(function: Any) -> Callable[[list[Any], Any], Any]:
    """Return what calls a traced function without comparing its arguments with its signature.

    The comparison takes about as long as a pass of a small model.
    """

    def run(values: list[Any], batch: Any) -> Any:
        inputs = [tensor for tensor in keras.tree.flatten(batch) if tensor is not None]
        return function._call_flat([*values, *inputs], function.captured_inputs)

    return run


def _is_of(graph: Any, value: Any) -> bool:
    """Return whether a value is a tensor of a graph, not of a loop or a branch in it."""
    return isinstance(value, tf.Tensor) and is_passed(value) and value.graph is graph


def _largest(outputs: Iterable[Any], rows: int) -> tuple[str, int]:
    """Return the operation with the largest result if a batch has `rows` samples, and its bytes.

    TensorFlow computes only what leads to the outputs.
    """
    operations = {tensor.op for tensor in outputs}
    waiting = [*operations]
    while waiting:
        before = {tensor.op for tensor in waiting.pop().inputs} - operations
        operations |= before
        waiting += before
    sizes = {
        operation.name: tensor.dtype.size
        * math.prod(
            (1 if axis else rows) if length is None else length
            for axis, length in enumerate(tensor.shape)
        )
        for operation in operations
        if operation.inputs  # what is given to the pass, such as its weights, is no result
        for tensor in operation.outputs
        if tensor.shape.rank is not None
    }
    return max(sizes.items(), key=lambda item: item[1], default=("", 0))


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Prevent TensorFlow from rewriting graphs inside the scope.

    Which operations it fuses or regroups depends on the requested tensors, and the result rounds
    differently: without this, a value would depend on which others are captured. A capture
    enters it for every batch; enter it once around many batches to save the switching.
    """
    if not _rewriting.get():
        yield
        return
    options = tf.config.optimizer
    before = options.get_experimental_options().get(_OPTIMIZER, False)
    options.set_experimental_options({_OPTIMIZER: True})
    token = _rewriting.set(False)
    try:
        yield
    finally:
        _rewriting.reset(token)
        options.set_experimental_options({_OPTIMIZER: before})


@contextlib.contextmanager
def watching(is_mine: Callable[[], bool], was_read: Callable[[Any], None]) -> Iterator[None]:
    """Run every ``tf.function`` and ``tf.recompute_grad`` in the scope as plain Python code.

    A ``tf.function`` would hide its layers, and keep this pass's tensors in a trace that
    outlives it; ``tf.recompute_grad`` (a remat scope of Keras) would hide layers from a
    gradient.

    Parameters
    ----------
    is_mine
        Tells whether the current thread is that of the pass.
    was_read
        Called with each ``tf.Variable`` that is read in that thread.
    """
    name_scope, recompute = tf.Graph.name_scope, tf.recompute_grad
    function_call = _TracedFunction.__call__

    def call_function(function: Any, *args: Any, **kwargs: Any) -> Any:
        # A compiled function uses other kernels, and is left compiled.
        if not is_mine() or getattr(function, "_jit_compile", None):
            return function_call(function, *args, **kwargs)
        return function.python_function(*args, **kwargs)

    def computed_once(function: Any) -> Any:
        return function if is_mine() else recompute(function)

    def scope_of_any_name(graph: Any, name: str | None) -> Any:
        # Layer names are arbitrary; scope names of TensorFlow's graphs are restricted.
        fit = _NO_SCOPE.sub("_", name) if name else name
        return name_scope(graph, f".{fit}" if fit and fit[0] in "_/-" else fit)

    with (
        patched(tf.Graph, name_scope=scope_of_any_name),
        patched(_TracedFunction, __call__=call_function),
        patched(tf, recompute_grad=computed_once),
        noting_reads(lambda variable: was_read(variable) if is_mine() else None),
    ):
        yield


noting_origins = contextlib.nullcontext
"""Nothing has to be noted: the graph tells how a tensor is computed."""
