"""The number of a tensor's values that are NaN."""

import numpy as np

from runner.tables.statistic import Chunk, Statistic, Tally


class _NaN(Tally):
    count = 0

    def add(self, chunk: Chunk) -> None:
        if chunk.finite.size < chunk.values.size:
            self.count += int(np.count_nonzero(np.isnan(chunk.values)))

    def merge(self, other: "_NaN") -> None:
        self.count += other.count


NAN = Statistic(
    _NaN,
    lambda tally: tally.count,
    title="number of NaN values",
    definition="number of values that are NaN",
    of="values",
    order=70,
    is_in_every_run=True,
)
