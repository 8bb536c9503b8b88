"""How a run is made in parts: which samples each part has, and what was measured beforehand."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from runner.bounds import Count, Items, Name
from runner.tensors import Invariance, Kind


@dataclass(frozen=True)
class Measured:
    """What the first batch of a probe showed of a tensor.

    Attributes
    ----------
    name, kind
        As in `runner.tensors.TensorSpec`.
    invariance
        As in `runner.record.layer_record.TensorRecord`.
    reason
        Why the tensor has no table, if so.
    """

    name: Name
    kind: Kind
    invariance: Invariance | None
    reason: str | None = None


@dataclass(frozen=True)
class Division:
    """The parts of a run.

    Attributes
    ----------
    rows
        Number of samples of the whole probe.
    batch_size
        Number of samples in every batch. Every part but the last consists of whole batches.
    starts
        The first row of each part, counted from 0.
    compared_sizes
        As in `runner.record.probe_record.ProbeRecord`.
    measured
        What the first batch showed of each tensor with a row per sample.
    """

    rows: Count
    batch_size: Count
    starts: Items[Count]
    compared_sizes: Items[Count]
    measured: Items[Measured]

    @property
    def is_complete(self) -> bool:
        """Whether each sample is in one part."""
        ends = *self.starts[1:], self.rows
        return self.starts[:1] == (0,) and all(map(operator.lt, self.starts, ends))

    @classmethod
    def starts_of(cls, parts: int, rows: int, batch_size: int) -> tuple[int, ...]:
        """Return the first rows of a number of parts with about equally many batches."""
        batches = -(-rows // batch_size)
        return tuple(batch_size * (batches * part // parts) for part in range(parts))

    def part(self, number: int) -> Part:
        """Return a part by its number, from 0."""
        ends = *self.starts[1:], self.rows
        return Part(number, self.starts[number], ends[number] - self.starts[number], self)


@dataclass(frozen=True)
class Part:
    """A part of a run: some of the samples, shown as in the whole run.

    Attributes
    ----------
    number
        Its number, from 0.
    start, rows
        Its first row in the probe, and its number of rows.
    division
        All parts.
    """

    number: int
    start: int
    rows: int
    division: Division
