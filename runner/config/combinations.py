"""Every combination of the values in a sweep's overrides."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

from runner.errors import InputError, Problem, some

MOST_JOBS = 1_000_000
"""Limit on the runs of a sweep: beyond what disks hold folders for, but reached by a typo."""


def words_of(params: Mapping[str, Any] | None) -> list[str]:
    """Return ``hydra.sweeper.params`` as overrides.

    Parameters
    ----------
    params
        Values by key, as written on a command line (``"0,1,2"``); nested mappings stand for
        keys with dots.
    """
    return [f"{key}={_typed(value)}" for key, value in _flat(params or {}, "")]


def combined(overrides: Sequence[Override]) -> list[Override]:
    """Return the overrides with only the last one of each key."""
    return list({(each.key_or_group, each.package): each for each in overrides}.values())


def check_sweeps(overrides: Sequence[Override]) -> None:
    """Check that the values of sweeps can be listed, raise InputError otherwise.

    Raises
    ------
    InputError
        With one problem per override, or if there are too many combinations.
    """
    if problems := [problem for each in overrides for problem in _sweep_problems(each)]:
        raise InputError(problems)
    jobs = math.prod(_count(each) for each in overrides)
    if jobs > MOST_JOBS:
        raise InputError.of(
            "sweep", f"asks for {jobs:,} runs, the limit is {MOST_JOBS:,}", "name fewer values"
        )


def values_of(override: Override) -> list[str]:
    """Return an override as overrides with a single value, one for each of its values.

    The order of a shuffled sweep is always the same, so that it can be resumed.
    """
    if not override.is_sweep_override():
        return [str(override.input_line)]
    with _same_order():
        return [
            f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()
        ]


def jobs_of(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """Return the overrides of every job of a sweep, in the order of the jobs' numbers."""
    return list(itertools.product(*map(values_of, combined(overrides))))


def _flat(params: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _typed(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sweep_problems(override: Override) -> Iterator[Problem]:
    value, key = override.value(), override.key_or_group
    text = str(override.input_line).partition("=")[2]
    if not override.is_sweep_override():
        return
    if key.startswith(("hydra.", "hydra/")):
        yield Problem(key, f"must have one value for the whole sweep, found {text}")
    elif isinstance(value, IntervalSweep):
        advice = "list the values to run, such as range(0,10,2) or 0,5,10"
        yield Problem(
            key, f"{text} has no single values: only an optimizer can choose from it", advice
        )
    elif isinstance(value, RangeSweep) and not value.step:
        yield Problem(key, f"{text} has a step of 0", "give another step, or leave it out")
    elif isinstance(value, RangeSweep) and not math.isfinite(_steps(value)):
        yield Problem(key, f"{text} has no end", "give a number")
    elif not _count(override):
        advice = "glob(...) chooses among the configs of a group"
        if isinstance(value, Glob) and override.config_loader is not None:
            options = override.config_loader.get_group_options(key)
            advice = f"there are {some(options)}" if options else advice
        yield Problem(key, f"{text} contains no value", advice if "glob" in text else "")


def _count(override: Override) -> int:
    """Return the number of values of an override, without listing a range."""
    value = override.value()
    if isinstance(value, RangeSweep):
        return max(0, math.ceil(round(_steps(value), 9)))
    return sum(1 for _ in override.sweep_iterator()) if override.is_sweep_override() else 1


def _steps(value: RangeSweep) -> float:
    """Return the length of a range in steps; infinite or NaN if it has no end."""
    try:
        ends = float(value.start or 0), float(value.stop or 0), float(value.step)
    except OverflowError:  # an integer of hundreds of digits
        return math.inf
    if not all(map(math.isfinite, ends)):
        return math.nan
    start, stop, step = ends
    return (stop - start) / step


@contextlib.contextmanager
def _same_order() -> Iterator[None]:
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
