"""Probes from streams of batches, with sample ids, labels and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.probe.batch import Batch, each_input, is_text, named_inputs
from runner.probe.probe import Probe
from runner.probe.sample_ids import categories
from runner.tensors import InputSpec

RECORD = ("inputs", "sample_ids", "labels", "targets")
"""Keys of a mapping that holds samples with their ids, labels and targets."""

_CALLED = {"sample_ids": "sample ids", "labels": "labels", "targets": "targets"}


def is_record(x: Any) -> bool:
    """Return whether an object is a mapping of inputs and sample ids, labels and targets.

    The key ``sample_ids`` is required, since a model may have inputs named ``labels`` or
    ``targets``.
    """
    return isinstance(x, Mapping) and {"inputs", "sample_ids"} <= {*x} <= {*RECORD}


def specs_of(inputs: Any) -> tuple[InputSpec, ...]:
    """Return the name, shape and dtype of each input."""
    return tuple(
        InputSpec(name, array.shape[1:], "string" if is_text(array) else array.dtype.name)
        for name, array in named_inputs(inputs).items()
    )


def stream_probe(source: str, x: Any, beside: Mapping[str, Any]) -> Probe:
    """Return the probe of a stream of batches; the first batch defines names and shapes.

    Parameters
    ----------
    source
        Description of the source in one line.
    x
        A ``tf.data.Dataset``, an iterable, or a function that returns one.
    beside
        Ids, labels and targets given separately from the batches, by the names in `RECORD`:
        one value per sample, or one sequence per batch; ``None`` if not given.

    Raises
    ------
    InputError
        If there is no batch; during reading, if batches or lengths differ.
    """
    apart = {name: value for name, value in beside.items() if value is not None}
    made = x.as_numpy_iterator if hasattr(x, "as_numpy_iterator") else _maker(x)

    def items() -> Iterator[_Item]:
        others = [_Beside(name, _maker(value)()) for name, value in apart.items()]
        row = 0
        for given in made():
            item = _Item.of(given)
            count = item.rows(source, row)
            for other in others:
                item = other.added(item, count, source, row)
            yield item
            row += count
        for other in others:
            other.check_end(source, row)

    is_once = any(isinstance(part, Iterator) for part in (x, *apart.values()))
    return _probe(source, _readable_once(source, items()) if is_once else items)


def _maker(x: Any) -> Callable[[], Any]:
    return x if callable(x) else lambda: x


@dataclass(frozen=True)
class _Item:
    """One batch as given by the user."""

    inputs: Any
    sample_ids: Any = None
    labels: Any = None
    targets: Any = None

    @classmethod
    def of(cls, given: Any) -> _Item:
        """Return a batch split into inputs and targets; sample weights are ignored."""
        if is_record(given):
            return cls(**given)
        if isinstance(given, tuple) and len(given) in (2, 3):
            return cls(given[0], targets=given[1])
        return cls(given)

    def rows(self, source: str, row: int) -> int:
        """Return the number of samples, after checking that all arrays have the same number."""
        beside = [each for each in (self.sample_ids, self.labels) if each is not None]
        arrays = [np.asarray(array) for array in named_inputs(self.inputs).values()]
        arrays += [] if self.targets is None else [np.asarray(self.targets)]
        lengths = [len(each) if np.ndim(each) else None for each in (*arrays, *beside)]
        if None in lengths or len(set(lengths)) != 1:
            found = " and ".join("no" if length is None else str(length) for length in lengths)
            raise InputError.of(
                "probe",
                f"{source}: the batch from row {row} on has {found} samples",
                "give every array of a batch the same sample axis",
            )
        return len(arrays[0])  # as long as all the others


class _Beside:
    """Ids, labels or targets given separately from the batches."""

    def __init__(self, name: str, values: Any) -> None:
        self._name = name
        # A target may be an array: each entry of a sequence belongs to one sample.
        whole = hasattr(values, "__array__") or (
            name == "targets" and isinstance(values, (list, tuple))
        )
        self._whole = np.asarray(values) if whole else None
        self._length = len(values) if hasattr(values, "__len__") else None
        self._values = iter(() if whole else values)
        self._is_flat = True

    def added(self, item: _Item, count: int, source: str, row: int) -> _Item:
        """Return a batch with its ids, labels or targets added."""
        if getattr(item, self._name) is not None:
            what = _CALLED[self._name]
            raise InputError.of("probe", f"{source} has {what}, and {what} are given as well")
        end = row + count
        values: Any = self._next(count) if self._whole is None else self._whole[row:end]
        if len(values) != count:
            found = f"{len(values)} {_CALLED[self._name]}"
            raise InputError.of(
                "probe",
                f"{source}: the batch from row {row} on has {count} samples, and {found}",
                "give one for each sample, or those of each batch",
            )
        return replace(item, **{self._name: values})

    def check_end(self, source: str, rows: int) -> None:
        """Check that there are not more values than samples, raise InputError otherwise."""
        if self._is_flat and self._length is not None and self._length > rows:
            found = f"{self._length} {_CALLED[self._name]} for {rows} rows"
            raise InputError.of("probe", f"{source} has {found}")

    def _next(self, count: int) -> list[Any]:
        """Return the values of the next batch: `count` single values, or one sequence."""
        first = list(islice(self._values, 1))
        if first and (self._name == "targets" or not _is_single(first[0])):
            self._is_flat = False
            return list(first[0])
        return [*first, *islice(self._values, max(0, count - len(first)))]


def _is_single(value: Any) -> bool:
    return isinstance(value, (str, bytes)) or np.ndim(value) == 0


def _probe(source: str, items: Callable[[], Iterator[_Item]]) -> Probe:
    def blocks() -> Iterator[Batch]:
        row = 0
        expected = ""
        ids = _Values("sample ids", source, unique=True)
        labels = _Values("labels", source)
        for item in items():
            count = item.rows(source, row)
            described = _described(item)
            expected = expected or described
            if described != expected:
                raise InputError.of(
                    "probe",
                    f"{source}: from row {row} on it has {described}, before that {expected}",
                    "make all samples alike",
                )
            yield _batch(item, ids, labels, row, count)
            row += count

    start = next(blocks(), None)
    if start is None:
        raise InputError.of("probe", f"{source} has 0 rows", "give at least one sample")
    return Probe(
        source,
        specs_of(start.inputs),
        blocks,
        sample_type="string" if start.samples.dtype == object else "int64",
        has_labels=start.labels is not None,
        has_targets=start.targets is not None,
    )


class _Values:
    """Ids or labels of a stream: all integers or all text, as in the first batch."""

    def __init__(self, what: str, source: str, *, unique: bool = False) -> None:
        self._what = what
        self._source = source
        self._seen: dict[Any, int] | None = {} if unique else None
        self._is_text: bool | None = None

    def of(self, values: Any, row: int) -> np.ndarray:
        """Return the values of the batch that begins at a row, of shape (sample,)."""
        found = categories(np.asarray(values) if hasattr(values, "__array__") else values, "probe")
        is_text = found.dtype == object
        if self._is_text is None:
            self._is_text = is_text
        if is_text and not self._is_text:
            text = next(value for value in found.tolist() if isinstance(value, str))
            raise InputError.of(
                "probe",
                f"{self._source}: from row {row} on the {self._what} are text such as {text!r}, "
                "before integers",
                "give all of them as text",
            )
        if self._is_text and not is_text:
            found = found.astype(str).astype(object)
        if self._seen is not None:
            self._check(found, row, self._seen)
        return found

    def _check(self, found: np.ndarray, row: int, seen: dict[Any, int]) -> None:
        """Check that no id is empty or repeated, raise InputError otherwise."""
        for at, sample in enumerate(found.tolist(), start=row):
            if sample == "":
                raise InputError.of("probe", f"{self._source}: row {at}: the sample id is empty")
            if sample in seen:
                raise InputError.of(
                    "probe",
                    f"{self._source}: rows {seen[sample]} and {at} have the same sample id "
                    f"{sample!r}",
                )
            seen[sample] = at


def _batch(item: _Item, ids: _Values, labels: _Values, row: int, count: int) -> Batch:
    numbers = np.arange(row, row + count, dtype="int64")
    return Batch(
        numbers if item.sample_ids is None else ids.of(item.sample_ids, row),
        each_input(item.inputs, np.asarray),
        None if item.labels is None else labels.of(item.labels, row),
        None if item.targets is None else np.asarray(item.targets),
    )


def _described(item: _Item) -> str:
    """Return a description of the names and shapes of a batch."""
    arrays = named_inputs(each_input(item.inputs, np.asarray))
    if item.targets is not None:
        arrays["target"] = np.asarray(item.targets)
    shapes = [f"{name} {array.shape[1:]}" for name, array in arrays.items()]
    shapes += ["sample ids"] if item.sample_ids is not None else []
    shapes += ["labels"] if item.labels is not None else []
    return ", ".join(shapes)


def _readable_once(source: str, items: Iterator[_Item]) -> Callable[[], Iterator[_Item]]:
    """Return a function that reads a stream which can be read only once."""
    first = list(islice(items, 1))
    read = False

    def resumed() -> Iterator[_Item]:
        nonlocal read
        if read:
            raise InputError.of(
                "probe", f"{source} can be read only once", "give a function that returns it"
            )
        # Reading only the first batch does not use up the stream.
        yield from first
        read = True
        first.clear()
        yield from items

    return resumed
