"""The smallest value of a tensor."""

from math import inf, isfinite, nan

from runner.tables.statistic import Chunk, Statistic, Tally


class _Least(Tally):
    least = inf

    def add(self, chunk: Chunk) -> None:
        self.least = min(self.least, chunk.least)

    def merge(self, other: "_Least") -> None:
        self.least = min(self.least, other.least)


MIN = Statistic(
    _Least,
    lambda tally: tally.least if isfinite(tally.least) else nan,
    title="minimum",
    definition="smallest finite value",
    order=10,
    is_in_every_run=True,
)
