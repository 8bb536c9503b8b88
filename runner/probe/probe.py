"""The probe: the inputs shown to a model, read in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from runner.errors import InputError
from runner.probe.batch import Batch, Batches, without_first
from runner.tensors import InputSpec

SampleType = Literal["int64", "string"]


@dataclass(frozen=True)
class Probe:
    """Inputs to show to a model, read in blocks; they need not fit into memory together.

    Attributes
    ----------
    source
        Description of the source in one line, for people.
    inputs
        Name, shape and dtype of each input.
    blocks
        Function that returns an iterator over all samples, in blocks of any size.
    seek
        Function that returns an iterator over the samples from a row on, without reading those
        before it. ``None``: they are read, and left out.
    rows
        Number of samples; ``None`` if unknown before reading to the end.
    sample_type
        Type of the sample ids.
    has_labels, has_targets
        Whether the samples have labels, and targets.
    columns
        Names of the entries of a single input that comes from a table.
    locate
        Function that returns the position of a row in a text file (``data.csv:7``).
    notes
        Parts of the source that are not shown, or not completely, for the record.
    integers
        Function that returns for each entry of a single input whether all samples had integers
        there before conversion to floats: floats may be rounded to the model's dtype, integers
        may not. ``None`` if the dtype of the array tells it.
    picture
        Height and width of the picture, if each sample is one vector of its pixels, row by
        row; ``None`` otherwise.
    """

    source: str
    inputs: tuple[InputSpec, ...]
    blocks: Callable[[], Iterator[Batch]]
    rows: int | None = None
    sample_type: SampleType = "int64"
    has_labels: bool = False
    has_targets: bool = False
    columns: tuple[str, ...] = ()
    locate: Callable[[int], str] | None = None
    notes: tuple[str, ...] = ()
    integers: Callable[[], Sequence[bool]] | None = None
    picture: tuple[int, int] | None = None
    seek: Callable[[int], Iterator[Batch]] | None = None

    def blocks_from(self, row: int) -> Iterator[Batch]:
        """Return an iterator over the samples from a row on, in blocks of any size."""
        if self.seek is not None:
            return self.seek(row)
        return without_first(self.blocks(), row)

    def part(self, start: int, rows: int) -> Probe:
        """Return the probe of some of the samples."""

        def blocks() -> Iterator[Batch]:
            left = rows
            for block in self.blocks_from(start) if left else ():
                yield block[:left]
                left -= min(left, len(block))
                if not left:
                    return

        return replace(self, blocks=blocks, seek=None, rows=rows)

    def batches(self, size: int) -> Batches:
        """Return all samples in batches of `size`; the last one may be smaller."""
        return Batches(self.blocks(), size)

    def mistake(
        self, row: int, message: str, advice: str = "", which: str = "", column: str = ""
    ) -> InputError:
        """Return the error about a value in a row; rows are counted from 0."""
        place, at = "probe", [which, f"row {row}", column]
        if self.locate is not None:
            place, at = self.locate(row), [which, column]
        where = ", ".join(filter(None, at))
        if self.locate is None:
            where = f"{self.source}: counted from 0, {where}"
        return InputError.of(place, f"{where}: {message}" if where else message, advice)
