"""The steps of a training at which the probe is shown, and the checks of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

from runner.config.arguments import shown
from runner.config.strict import not_among, refuse
from runner.errors import InputError, Problem

Unit = Literal["epoch", "step"]


def moment_problems(moments: Iterable[Any]) -> Iterator[Problem]:
    """Yield a problem for each entry that names no step, at its position."""
    for position, moment in enumerate(moments):
        whole = isinstance(moment, int) and not isinstance(moment, bool)
        if moment != "last" and not (whole and moment >= 0):
            message = f"expected an integer >= 0 or last, found {shown(moment)}"
            yield Problem(str(position), message)


class Schedule:
    """The steps of a training at which a model is captured; the last one always is.

    Parameters
    ----------
    at
        Step numbers; 0 is the untrained model, ``last`` the trained one.
    every
        Interval between steps, starting at 0.
    unit
        Unit of the steps: epochs, or with ``step`` batches.

    Raises
    ------
    InputError
        If an entry is negative or not a number, or the interval or the unit is invalid.
    """

    def __init__(
        self, at: Iterable[int | str] = (), every: int | None = None, unit: Unit = "epoch"
    ) -> None:
        moments = list(at)
        refuse(
            replace(problem, place=f"capture_at.{problem.place}")
            for problem in moment_problems(moments)
        )
        if every is not None and every < 1:
            raise InputError.of("every", f"must be >= 1, found {every}")
        if unit not in get_args(Unit):
            raise InputError([not_among("unit", unit, get_args(Unit))])
        self.unit = unit
        self._at = {moment for moment in moments if isinstance(moment, int)}
        self._every = every
        self.only_last = not moments and every is None

    def is_due(self, step: int) -> bool:
        """Return whether a step is captured."""
        return step in self._at or (self._every is not None and step % self._every == 0)

    def times(self, last: int) -> int:
        """Return the number of captures in a training of `last` steps."""
        return sum(map(self.is_due, range(last))) + 1
