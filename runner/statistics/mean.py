"""The mean of a tensor."""

from math import nan

from runner.tables.moments import Moments
from runner.tables.statistic import Statistic

MEAN = Statistic(
    Moments,
    lambda moments: moments.mean if moments.count else nan,
    title="mean",
    definition="mean of the finite values, in float64",
    order=30,
    is_shown=True,
    is_in_every_run=True,
)
