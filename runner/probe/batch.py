"""A batch of a probe: inputs, sample ids, labels and targets of some samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.tensors import InputSpec


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes
    ----------
    samples
        Sample ids, shape (sample,): int64, or objects that are text.
    inputs
        Inputs of the model: an array of shape (sample, ...), or a mapping or sequence of
        arrays.
    labels
        Labels, shape (sample,): int64, or objects that are text; ``None`` without labels.
    targets
        Targets, shape (sample, ...); ``None`` without targets.
    """

    samples: np.ndarray
    inputs: Any
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Batch:
        return self._each(lambda array: array[rows])

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Batch:
        return Batch(
            change(self.samples),
            each_input(self.inputs, change),
            None if self.labels is None else change(self.labels),
            None if self.targets is None else change(self.targets),
        )


def each_input(inputs: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Return inputs of the same structure, with a function applied to every array."""
    if isinstance(inputs, Mapping):
        return {name: change(array) for name, array in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return [change(array) for array in inputs]
    return change(inputs)


def named_inputs(inputs: Any, specs: Sequence[InputSpec] = ()) -> dict[str, np.ndarray]:
    """Return the arrays of inputs by name; ``input0``... for a sequence without names."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if isinstance(inputs, (list, tuple)):
        names = [spec.name for spec in specs] or [f"input{place}" for place in range(len(inputs))]
        return dict(zip(names, inputs, strict=True))
    return {specs[0].name if specs else "input": inputs}


def is_text(array: np.ndarray) -> bool:
    """Return whether an array holds text rather than numbers."""
    return array.dtype.kind in "OSTU"


class Batches(Iterator[Batch]):
    """The samples of blocks, in batches of a size that can be changed at any time.

    A batch is a view of its block, unless it needs samples of several blocks.

    Parameters
    ----------
    blocks
        The samples, in blocks of any size.
    size
        The number of samples of a batch; the last one may be smaller.
    """

    def __init__(self, blocks: Iterable[Batch], size: int) -> None:
        self._blocks = (block for block in blocks if len(block))
        self._waiting: list[Batch] = []
        self.size = size

    def __next__(self) -> Batch:
        parts: list[Batch] = []
        missing = self.size
        while missing:
            block = self._waiting.pop() if self._waiting else next(self._blocks, None)
            if block is None:
                break
            if len(block) > missing:
                self._waiting.append(block[missing:])
                block = block[:missing]
            parts.append(block)
            missing -= len(block)
        if not parts:
            raise StopIteration
        return _joined(parts)

    def put_back(self, batch: Batch) -> None:
        """Return the last batch, whose samples will come again."""
        self._waiting.append(batch)


def without_first(blocks: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """Yield the blocks without their first rows."""
    for block in blocks:
        if rows < len(block):
            yield block[rows:] if rows else block
        rows = max(0, rows - len(block))


def _joined(blocks: list[Batch]) -> Batch:
    if len(blocks) == 1:
        return blocks[0]

    def joined(arrays: Iterable[Any]) -> np.ndarray:
        return np.concatenate(list(arrays))

    first = blocks[0]
    inputs: Any
    if isinstance(first.inputs, Mapping):
        inputs = {name: joined(block.inputs[name] for block in blocks) for name in first.inputs}
    elif isinstance(first.inputs, (list, tuple)):
        inputs = [
            joined(block.inputs[place] for block in blocks) for place in range(len(first.inputs))
        ]
    else:
        inputs = joined(block.inputs for block in blocks)
    return Batch(
        joined(block.samples for block in blocks),
        inputs,
        None if first.labels is None else joined(block.labels for block in blocks),
        None if first.targets is None else joined(block.targets for block in blocks),
    )
