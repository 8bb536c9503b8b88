"""Limits of what the interpolations of a configuration may unfold to.

A few lines that refer to each other ten times can stand for gigabytes of text. OmegaConf resolves
interpolations one by one, also those in keys and in the results of resolvers, so that each can be
counted, and the first one too many stops the resolution.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import omegaconf.base
from omegaconf import Container, Node
from omegaconf.errors import InterpolationResolutionError
from omegaconf.grammar_visitor import GrammarVisitor

from runner.errors import InputError

_LIMITS = {"interpolations": 10_000, "values": 100_000, "characters": 1_000_000}


class Unfolding:
    """What interpolations have unfolded to so far.

    Attributes
    ----------
    place
        Key path of the value being resolved.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._left = dict(_LIMITS)
        self.refusal: InputError | None = None

    def count(self, kind: str, number: int = 1) -> None:
        """Count interpolations, values or characters.

        Raises
        ------
        InputError
            If there are more than the limit.
        """
        self._left[kind] -= number
        if self._left[kind] < 0:
            self.refusal = self.refusal or InputError.of(
                self.place,
                f"unfolds to more than {_LIMITS[kind]:,} {kind} by its references",
                "write the value itself",
            )
            raise self.refusal


_current: ContextVar[Unfolding | None] = ContextVar("unfolding", default=None)


class _Visitor(GrammarVisitor):
    """OmegaConf's evaluation of a text, which counts every interpolation and its text."""

    def __init__(
        self,
        node_interpolation_callback: Callable[..., Any],
        resolver_interpolation_callback: Callable[..., Any],
        memo: set[int] | None,
    ) -> None:
        super().__init__(
            node_interpolation_callback, _called(resolver_interpolation_callback), memo
        )

    def visitInterpolation(self, ctx: Any) -> Any:
        unfolding = _current.get()
        if unfolding is None:
            return super().visitInterpolation(ctx)
        unfolding.count("interpolations")
        found = super().visitInterpolation(ctx)
        is_part = ctx.parentCtx.getChildCount() > 1  # of a text, which a copy becomes part of
        if is_part or not isinstance(found, Container):
            value = found._value() if isinstance(found, Node) else found
            unfolding.count("characters", len(str(value)))
        return found


def _called(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return OmegaConf's call of a resolver, without those whose results are far larger."""

    def called(name: str, args: tuple[Any, ...], args_str: tuple[str, ...]) -> Any:
        repeats = name == "oc.deprecated"  # its key as often as its message says
        is_yaml = name == "oc.create" and any(isinstance(value, str) for value in args)
        if _current.get() is not None and (repeats or is_yaml):
            raise InterpolationResolutionError(f"{name} is not available here")
        return call(name=name, args=args, args_str=args_str)

    return called


@contextlib.contextmanager
def bounded(place: str) -> Iterator[Unfolding]:
    """Bound what is resolved inside the context.

    OmegaConf may wrap or suppress the error, so it is kept and raised at the end.

    Parameters
    ----------
    place
        Key path to report, until `Unfolding.place` is set to another one.

    Raises
    ------
    InputError
        If the interpolations unfold to more than the limits.
    """
    unfolding = Unfolding(place)
    token = _current.set(unfolding)
    try:
        yield unfolding
    except Exception:
        if unfolding.refusal is not None:
            raise unfolding.refusal from None
        raise
    finally:
        _current.reset(token)
    if unfolding.refusal is not None:
        raise unfolding.refusal


omegaconf.base.GrammarVisitor = _Visitor  # type: ignore[attr-defined, assignment]
