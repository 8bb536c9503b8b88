"""Data of PyTorch in the form that a probe takes: tensors, data sets and data loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from runner.errors import InputError
from runner.torch_modules import tensors
from runner.torch_modules.stream_positions import positions, set_positions

_BATCH = 64
_BESIDE = ("sample_ids", "labels", "targets")


def converted(x: Any) -> Any:
    """Return a tensor as an array, and a data set or loader as a function that reads it.

    The function yields batches with their sample ids: the indices of the data set, whatever the
    order of a loader. It draws the same random numbers each time, and moves no stream.
    """
    if isinstance(x, torch.Tensor):
        return tensors.as_arrays([x])[0]
    loader = x if isinstance(x, DataLoader) else DataLoader(x, batch_size=_BATCH)
    start = positions()

    def read() -> Iterator[dict[str, Any]]:
        return _undisturbed(lambda: _records(loader), start)

    return read


def _records(loader: Any) -> Iterator[dict[str, Any]]:
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        row = 0
        for batch in loader:
            record = _record(batch)
            count = len(next(iter(_named(record["inputs"]).values())))
            yield {"sample_ids": np.arange(row, row + count), **record}
            row += count
        return
    for indices in loader.batch_sampler:
        batch = loader.collate_fn([loader.dataset[index] for index in indices])
        yield {"sample_ids": np.asarray(indices), **_record(batch)}


def _record(batch: Any) -> dict[str, Any]:
    """Return a batch split into inputs, and ids, labels or targets."""
    if isinstance(batch, Mapping):
        given = {str(name): _array(value) for name, value in batch.items()}
        beside = {name: given.pop(name) for name in _BESIDE if name in given}
        return {"inputs": given.get("inputs", given) if len(given) == 1 else given, **beside}
    if not isinstance(batch, (list, tuple)):
        return {"inputs": _array(batch)}
    if len(batch) == 1:
        return {"inputs": _array(batch[0])}
    if len(batch) != 2:
        raise InputError.of(
            "probe",
            f"a batch of the data loader has {len(batch)} parts, expected inputs and labels",
            "let the data set return a mapping: the model's arguments, sample_ids, labels, targets",
        )
    inputs, other = batch
    if isinstance(inputs, Mapping):
        inputs = {str(name): _array(value) for name, value in inputs.items()}
    elif isinstance(inputs, (list, tuple)):
        inputs = [_array(value) for value in inputs]
    else:
        inputs = _array(inputs)
    values = _array(other)
    are_labels = values.ndim == 1 and values.dtype.kind in "iuUO"
    return {"inputs": inputs, "labels" if are_labels else "targets": values}


def _array(value: Any) -> np.ndarray:
    return tensors.as_arrays([value])[0] if isinstance(value, torch.Tensor) else np.asarray(value)


def _named(inputs: Any) -> Mapping[Any, Any]:
    if isinstance(inputs, Mapping):
        return inputs
    return dict(enumerate(inputs if isinstance(inputs, list) else [inputs]))


def _undisturbed(make: Callable[[], Iterator[Any]], start: Any) -> Iterator[Any]:
    """Yield what an iterator yields, with random streams of its own."""
    own, items, done = start, None, object()
    while True:
        users = positions()
        set_positions(own)
        try:
            items = make() if items is None else items
            item = next(items, done)
            own = positions()
        finally:
            set_positions(users)
        if item is done:
            return
        yield item
