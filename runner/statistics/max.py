"""The largest value of a tensor."""

from math import inf, isfinite, nan

from runner.tables.statistic import Chunk, Statistic, Tally


class _Most(Tally):
    most = -inf

    def add(self, chunk: Chunk) -> None:
        self.most = max(self.most, chunk.most)

    def merge(self, other: "_Most") -> None:
        self.most = max(self.most, other.most)


MAX = Statistic(
    _Most,
    lambda tally: tally.most if isfinite(tally.most) else nan,
    title="maximum",
    definition="largest finite value",
    order=20,
    is_in_every_run=True,
)
