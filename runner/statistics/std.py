"""The standard deviation of a tensor."""

from math import nan, sqrt

from runner.tables.moments import Moments
from runner.tables.statistic import Statistic

STD = Statistic(
    Moments,
    lambda moments: sqrt(moments.squares / moments.count) if moments.count else nan,
    title="standard deviation",
    definition="standard deviation of the finite values (of the population), in float64",
    order=40,
    is_in_every_run=True,
)
