"""A forward pass compiled by XLA, without fusion across layers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from runner.engines.engine import Found, Pass, Traced
from runner.engines.jax.tensors import is_of_this_trace, is_passed, tracing_with

lanes = 48
"""As in TensorFlow, whose kernels of matrix products on the CPU XLA shares."""

COMPILER_OPTIONS = {"xla_disable_hlo_passes": "fusion"}
"""Which operations XLA fuses depends on the requested tensors, and fused ones round differently."""


def trace(
    forward: Callable[[list[Any], Any], Pass[Found]], values: list[Any], batch: Any
) -> Traced[Found]:
    """Trace and compile a forward pass for batches of this size; raises what `forward` raises."""
    passes: list[Pass[Found]] = []

    def run(values: list[Any], batch: Any) -> tuple[list[Any], list[Any], list[Any]]:
        with tracing_with(jax.tree.leaves((values, batch))[0]):
            passed = forward(values, batch)
            refused = [
                one
                for one in passed.refused
                if isinstance(one, jax.core.Tracer) and is_passed(one) and is_of_this_trace(one)
            ]
        passes.append(passed)
        # A dtype that is given is not weak: the next pass takes arguments of the same types.
        updates = [jnp.asarray(value, value.dtype) for value in passed.updates.values()]
        return passed.tensors, updates, refused

    shapes = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, jax.dtypes.canonicalize_dtype(array.dtype)),
        batch,
    )
    traced = jax.jit(run, compiler_options=COMPILER_OPTIONS).trace(values, shapes)
    example = passes[-1]
    calls_back = any("callback" in equation.primitive.name for equation in _within(traced.jaxpr))
    return Traced(
        traced.lower().compile(),
        example,
        runs_python=calls_back,
        varies=calls_back,
        fixed_axes=frozenset(range(len(example.tensors))),
        largest=_largest(traced.jaxpr),
        rows=len(jax.tree.leaves(batch)[0]),
    )


def _within(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a traced function, and of those inside it."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    for equation in jaxpr.eqns:
        yield equation
        for below in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda one: hasattr(one, "eqns")
        ):
            if hasattr(getattr(below, "jaxpr", below), "eqns"):
                yield from _within(below)


def _largest(jaxpr: Any) -> tuple[str, int]:
    """Return the operation with the largest result, and its bytes."""
    sizes = [
        (math.prod(out.aval.shape) * out.aval.dtype.itemsize, str(one.source_info.name_stack))
        for one in jaxpr.eqns
        for out in one.outvars
        if hasattr(out.aval, "shape")
    ]
    size, operation = max(sizes, default=(0, ""))
    return operation, size


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Compute values that do not depend on which others are captured, as a traced pass does."""
    yield


@contextlib.contextmanager
def watching(
    is_mine: Callable[[], bool],  # noqa: ARG001
    was_read: Callable[[Any], None],  # noqa: ARG001
) -> Iterator[None]:
    """Do nothing: functions that JAX would compile are left compiled."""
    yield


noting_origins = contextlib.nullcontext
"""Nothing has to be noted: the traced function tells how a tensor is computed."""
