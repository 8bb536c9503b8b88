"""The number of a tensor's values that are infinite."""

import numpy as np

from runner.tables.statistic import Chunk, Statistic, Tally


class _Infinite(Tally):
    count = 0

    def add(self, chunk: Chunk) -> None:
        if chunk.finite.size < chunk.values.size:
            self.count += int(np.count_nonzero(np.isinf(chunk.values)))

    def merge(self, other: "_Infinite") -> None:
        self.count += other.count


INF = Statistic(
    _Infinite,
    lambda tally: tally.count,
    title="number of infinite values",
    definition="number of values that are infinite, positive or negative",
    of="values",
    order=80,
    is_in_every_run=True,
)
