"""The share of a tensor's values that are 0."""

import numpy as np

from runner.tables.statistic import Chunk, Statistic, Tally


class _Zeros(Tally):
    zeros = total = 0

    def add(self, chunk: Chunk) -> None:
        self.total += chunk.values.size
        self.zeros += int(np.count_nonzero(chunk.is_zero))

    def merge(self, other: "_Zeros") -> None:
        self.total += other.total
        self.zeros += other.zeros


ZEROS = Statistic(
    _Zeros,
    lambda tally: tally.zeros / tally.total if tally.total else 0.0,
    title="share of zeros",
    definition="share of all values that are exactly 0",
    of="share",
    order=50,
    is_shown=True,
    is_in_every_run=True,
)
