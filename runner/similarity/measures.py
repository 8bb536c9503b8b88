"""All measures of similarity by name: those of `runner.measures`, and of other packages."""

from __future__ import annotations

from runner.registry import Registry
from runner.similarity.measure import Measure

MEASURES: Registry[Measure] = Registry(
    "runner.measures", "metric", lambda value: isinstance(value, Measure)
)
"""All measures, by the names that ``metric=`` takes."""
