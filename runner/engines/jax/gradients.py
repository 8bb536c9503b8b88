"""Gradients in JAX, at tensors that are known only once the pass has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from runner.engines.engine import Marks, Result
from runner.engines.jax.derivations import depends_on
from runner.engines.jax.tensors import is_floating, is_of_this_trace


def differentiated(run: Callable[[Marks], tuple[Any, Result]]) -> tuple[Result, _Gradients]:
    """Run a pass, and once more to differentiate its loss.

    JAX differentiates a function with respect to its arguments. The first run tells which tensors
    are marked; in the second, each is added to an argument of its shape, which is zero. Values
    are those of the first run, which does not depend on the second. What both compute is compiled
    once.
    """
    marks = _Marks()
    first, result = run(marks)

    def loss_of(*added: Any) -> Any:
        return run(_Repeated(marks.answers, added))[0]

    zeros = [jnp.zeros(tensor.shape, tensor.dtype) for tensor in marks.tensors]
    marks.answers = tuple(marks.answers)  # those of this run alone
    return result, _Gradients(marks.tensors, first, loss_of, zeros)


def shows_logits(tensor: Any) -> bool:  # noqa: ARG001
    """Return whether Keras finds the logits of a tensor by the operation that made it."""
    return False


class _Marks:
    """Notes which tensors of the first run fit, and which are marked."""

    def __init__(self) -> None:
        self.answers: Any = []
        self.tensors: list[Any] = []

    def fits(self, value: Any) -> bool:
        fits = is_floating(value) and is_of_this_trace(value)
        if isinstance(self.answers, list):
            self.answers.append(fits)
        return fits

    def apart(self, tensor: Any) -> Any:
        self.tensors.append(jnp.array(tensor, copy=True))
        return self.tensors[-1]

    def mark(self, tensor: Any) -> None:
        """Do nothing: a tensor that was not set apart cannot be marked in JAX."""


class _Repeated:
    """Gives the answers of the first run, and adds arguments to the marked tensors."""

    def __init__(self, answers: Sequence[bool], added: Sequence[Any]) -> None:
        self._answers: Iterator[bool] = iter(answers)
        self._added = iter(added)

    def fits(self, value: Any) -> bool:  # noqa: ARG002
        return next(self._answers)

    def apart(self, tensor: Any) -> Any:
        return _added(tensor, next(self._added))

    def mark(self, tensor: Any) -> None:
        """Do nothing, as in the first run."""


# Gives the tensor as it is: adding a zero would change the sign of another zero.
_added = jax.custom_jvp(lambda tensor, zero: tensor)  # noqa: ARG005
_added.defjvp(lambda primals, tangents: (primals[0], tangents[0] + tangents[1]))


class _Gradients:
    def __init__(
        self, marked: list[Any], first: Any, loss_of: Callable[..., Any], zeros: list[Any]
    ) -> None:
        self._places = {id(tensor): place for place, tensor in enumerate(marked)}
        self._marked = marked
        self._first = first
        self._loss_of = loss_of
        self._zeros = zeros

    def at(self, tensors: Sequence[Any]) -> list[Any]:
        loss, backward = jax.vjp(self._loss_of, *self._zeros)
        one = jnp.ones_like(loss)
        gradients = backward(one)
        passed = _depending(jax.make_jaxpr(backward)(one).jaxpr)
        found = [
            gradient if is_passed else None
            for gradient, is_passed in zip(gradients, passed, strict=True)
        ]
        return [
            found[self._places[id(tensor)]] if id(tensor) in self._places else None
            for tensor in tensors
        ]

    def depends_on(self, tensor: Any) -> bool:
        return depends_on(self._first, tensor)


def _depending(jaxpr: Any) -> list[bool]:
    """Return which results of a function depend on its argument: the others are always zero."""
    known = {*jaxpr.invars}
    for equation in jaxpr.eqns:
        if any(_is_in(known, one) for one in equation.invars):
            known |= {*equation.outvars}
    return [_is_in(known, out) for out in jaxpr.outvars]


def _is_in(known: set[Any], atom: Any) -> bool:
    return isinstance(atom, Var) and atom in known
