"""All measures of similarity by name: those of `runner.measures`, and of other packages."""

from __future__ import annotations

from runner.config.options import options_in
from runner.errors import InputError, suggest
from runner.registry import Registry
from runner.similarity.measure import Measure

MEASURES: Registry[Measure] = Registry(
    "runner.measures", "metric", lambda value: isinstance(value, Measure)
)
"""All measures with their default options, by the names that ``metric=`` takes."""


def measure_of(metric: str) -> Measure:
    """Return the measure that a text names, with the options behind it: ``knn:neighbours=5``.

    Raises
    ------
    InputError
        If there is no such measure, or it has no such option or value of it.
    """
    name, colon, _ = metric.partition(":")
    if name not in MEASURES:
        advice = suggest(name, MEASURES) or f"there are {', '.join(MEASURES)}"
        raise InputError.of("metric", f"unknown metric '{name}'", advice)
    measure = MEASURES[name]
    if not colon:
        return measure
    return options_in(metric, measure.options, "metric").measure()


def title_of(metric: str) -> str:
    """Return the name of a measure in figures, or that of a user's function, with its options."""
    name, colon, options = metric.partition(":")
    title = name in MEASURES and MEASURES[name].title
    return f"{title or name} ({options})" if colon else title or metric
