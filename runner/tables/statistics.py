"""All statistics of a tensor by name: those of `runner.statistics`, and of other packages."""

from __future__ import annotations

from typing import Any

from runner.registry import Registry
from runner.tables.statistic import Statistic

STATISTICS: Registry[Statistic[Any]] = Registry(
    "runner.statistics", "statistic", lambda value: isinstance(value, Statistic)
)
"""All statistics, by the names of their columns in the summary."""
