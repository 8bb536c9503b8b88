"""Probes that are in memory, or made on the way."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from runner.errors import InputError, Problem
from runner.probe import Batch, Probe, each_input, is_text, named_inputs
from runner.probe_config import (
    DigitsConfig,
    InlineConfig,
    IrisConfig,
    RandomConfig,
)
from runner.tensors import InputSpec

# Random rows are drawn in blocks of their own seed, so that any batch size sees the same.
_RANDOM_BLOCK = 1024


def tutorial() -> Probe:
    """Return the tutorial's three samples: the rows of the identity matrix."""
    identity = np.eye(3, dtype="float32")
    return array_probe(
        "the tutorial's identity matrix", identity, targets=np.array([[0], [1], [1]])
    )


def inline(config: InlineConfig) -> Probe:
    """Return samples written out in a configuration."""
    if isinstance(config.inputs, dict):
        inputs: Any = {
            name: _rectangular(rows, f"probe.inputs.{name}") for name, rows in config.inputs.items()
        }
    else:
        inputs = _rectangular(config.inputs, "probe.inputs")
    return array_probe(
        "inline", inputs, config.ids, config.labels, _or_none(config.targets, "probe.targets")
    )


def digits(config: DigitsConfig, expected: Sequence[InputSpec]) -> Probe:
    """Return scikit-learn's handwritten digits, from 0 to 1, in the shape the model expects."""
    data = _scikit_learn("load_digits")
    shape = expected[0].shape if expected else (64,)
    images = (data.images / 16).astype("float32")
    if len(shape) <= 1:
        images = images.reshape(len(images), 64)
    elif len(shape) == 3:
        images = images[..., None]
    rows = _first(config.rows, len(images), "digits")
    return array_probe(
        "digits (scikit-learn)", images[rows], None, data.target[rows], data.target[rows]
    )


def iris(config: IrisConfig) -> Probe:
    """Return scikit-learn's flowers: lengths and widths of sepal and petal in centimetres."""
    data = _scikit_learn("load_iris")
    rows = _first(config.rows, len(data.data), "iris")
    labels = data.target_names[data.target].astype(object)
    return array_probe(
        "iris (scikit-learn)",
        data.data[rows].astype("float32"),
        None,
        labels[rows],
        data.target[rows],
    )


def random(config: RandomConfig, expected: Sequence[InputSpec]) -> Probe:
    """Return seeded random numbers in the shapes of a model's inputs."""
    if not expected:
        raise InputError.of(
            "probe", "random needs a model that tells its inputs", "use another probe"
        )
    unknown = [spec.name for spec in expected if None in spec.shape]
    if unknown:
        raise InputError.of(
            "probe", f"random needs to know every axis of input '{unknown[0]}'", "declare its shape"
        )
    texts = [spec.name for spec in expected if spec.dtype == "string"]
    if texts:
        raise InputError.of(
            "probe", f"random makes no text, which input '{texts[0]}' takes", "use another probe"
        )
    integers = {spec.name for spec in expected if spec.dtype.startswith(("int", "uint"))}
    dtypes = {spec.name: spec.dtype.replace("bfloat16", "float32") for spec in expected}

    def blocks() -> Iterator[Batch]:
        for start in range(0, config.rows, _RANDOM_BLOCK):
            count = min(_RANDOM_BLOCK, config.rows - start)
            generator = np.random.default_rng([config.seed, start // _RANDOM_BLOCK])
            inputs = {}
            for spec in expected:
                size = (_RANDOM_BLOCK, *(axis or 0 for axis in spec.shape))
                drawn: np.ndarray
                if spec.name in integers:
                    drawn = generator.integers(config.high, size=size)
                elif config.distribution == "normal":
                    drawn = generator.normal(size=size)
                else:
                    drawn = generator.uniform(size=size)
                inputs[spec.name] = drawn[:count].astype(dtypes[spec.name])
            only = inputs if len(inputs) > 1 else next(iter(inputs.values()))
            yield Batch(np.arange(start, start + count, dtype="int64"), only)

    kinds = ([] if len(integers) == len(expected) else [config.distribution]) + (
        [f"whole numbers below {config.high}"] if integers else []
    )
    source = f"random, {', '.join(kinds)}, seed {config.seed}"
    return Probe(source, tuple(expected), blocks, config.rows)


def as_probe(
    x: Any,
    sample_ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    source: str = "given in Python",
) -> Probe:
    """Return anything that a person may show to a model as a probe.

    Parameters
    ----------
    x
        An array of shape (sample, ...); a list, tuple or mapping of such for several
        inputs; a ``tf.data.Dataset`` of batches (with their targets as second part of a
        pair); or an iterable, or a function that returns one, of batches of any size.
        A generator can be read only once.
    sample_ids, labels, targets
        One of each per sample; with arrays only.
    source
        Where it comes from, in one line.

    Raises
    ------
    InputError
        If lengths differ or nothing of this kind is given.
    """
    if isinstance(x, Mapping) or hasattr(x, "__array__"):
        return array_probe(source, x, sample_ids, labels, targets)
    if isinstance(x, (list, tuple)):
        several = bool(x) and all(hasattr(part, "__array__") for part in x)
        return array_probe(source, list(x) if several else _even(x), sample_ids, labels, targets)
    if any(given is not None for given in (sample_ids, labels, targets)):
        raise InputError.of("probe", "sample ids, labels and targets go with arrays, not streams")
    if hasattr(x, "as_numpy_iterator"):
        return _stream(source, x.as_numpy_iterator)
    if callable(x):
        return _stream(source, x)
    if isinstance(x, Iterator):
        return _once(source, x)
    if isinstance(x, Iterable):
        return _stream(source, lambda: x)
    raise InputError.of("probe", f"expected arrays or batches, found {type(x).__name__}")


def array_probe(
    source: str,
    inputs: Any,
    ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    columns: tuple[str, ...] = (),
    block: int | None = None,
) -> Probe:
    """Return arrays as a probe.

    Parameters
    ----------
    source
        Where they come from, in one line.
    inputs
        An array of shape (sample, ...), or a mapping or list of such.
    ids, labels, targets
        One of each per sample; row numbers where there are no ids.
    columns
        Names for the entries of the one input.
    block
        Read so many rows at once; all of them if not given.

    Raises
    ------
    InputError
        If lengths differ, or an id is there twice.
    """
    inputs = each_input(inputs, np.asarray)
    named = named_inputs(inputs)
    if not named:
        raise InputError.of("probe", f"{source} has no input")
    if any(array.ndim == 0 for array in named.values()):
        raise InputError.of("probe", "expected arrays with a sample axis, found a single number")
    rows = len(next(iter(named.values())))
    samples = np.arange(rows, dtype="int64") if ids is None else identifiers(ids, "probe")
    given = {f"rows of input '{name}'": array for name, array in named.items()}
    given |= {"sample ids": samples}
    known_labels = None if labels is None else categories(labels, "probe")
    known_targets = None if targets is None else np.asarray(targets)
    if known_targets is not None and known_targets.ndim == 0:
        raise InputError.of("probe", "expected one target for each sample, found a single one")
    given |= {} if known_labels is None else {"labels": known_labels}
    given |= {} if known_targets is None else {"targets": known_targets}
    problems = [
        Problem("probe", f"has {len(array)} {what} for {rows} rows")
        for what, array in given.items()
        if len(array) != rows
    ]
    if problems:
        raise InputError(problems)
    whole = Batch(samples, inputs, known_labels, known_targets)
    step = block or max(rows, 1)

    def blocks() -> Iterator[Batch]:
        for start in range(0, rows, step):
            yield whole[start : start + step]

    return Probe(
        source,
        _specs(inputs),
        blocks,
        rows,
        "string" if samples.dtype == object else "int64",
        labels is not None,
        targets is not None,
        columns,
    )


def identifiers(ids: Iterable[Any], place: str) -> np.ndarray:
    """Return sample ids as int64 if all are whole numbers, else as text.

    Raises
    ------
    InputError
        If one is there twice, or is empty.
    """
    array = categories(ids, place)
    seen: dict[Any, int] = {}
    for row, sample in enumerate(array.tolist()):
        if sample == "":
            raise InputError.of(place, f"row {row}: the sample id is empty")
        if sample in seen:
            raise InputError.of(
                place, f"rows {seen[sample]} and {row} have the same sample id {sample!r}"
            )
        seen[sample] = row
    return array


def categories(values: Iterable[Any], place: str) -> np.ndarray:
    """Return labels as int64 if all are whole numbers, else as text.

    Raises
    ------
    InputError
        If one of them is not a single value.
    """
    found = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in found) and all(
        -(2**63) <= value < 2**63 for value in found
    ):
        return np.asarray(found, dtype="int64")
    array = np.empty(len(found), dtype=object)
    for row, value in enumerate(found):
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            raise InputError.of(
                place, f"row {row}: expected one id or label, found {len(value)} values"
            )
        array[row] = value.decode() if isinstance(value, bytes) else str(value)
    return array


def _specs(inputs: Any) -> tuple[InputSpec, ...]:
    return tuple(
        InputSpec(name, array.shape[1:], "string" if is_text(array) else array.dtype.name)
        for name, array in named_inputs(inputs).items()
    )


def _stream(source: str, batches: Callable[[], Iterable[Any]]) -> Probe:
    """Return batches as a probe; the first one tells what the others are like."""

    def blocks() -> Iterator[Batch]:
        row = 0
        first: Batch | None = None
        for item in batches():
            batch = _streamed(item, source, row)
            first = first or batch
            if _described(batch) != _described(first):
                raise InputError.of(
                    "probe",
                    f"{source}: from row {row} on it has {_described(batch)}, "
                    f"before {_described(first)}",
                    "make all samples alike",
                )
            yield batch
            row += len(batch)

    start = next(blocks(), None)
    if start is None:
        raise InputError.of("probe", f"{source} has 0 rows", "give at least one sample")
    return Probe(source, _specs(start.inputs), blocks, has_targets=start.targets is not None)


def _streamed(item: Any, source: str, row: int) -> Batch:
    pair = isinstance(item, tuple) and len(item) in (2, 3)
    inputs = each_input(item[0] if pair else item, np.asarray)
    targets = np.asarray(item[1]) if pair and item[1] is not None else None
    arrays = [*named_inputs(inputs).values(), *([] if targets is None else [targets])]
    lengths = [len(array) if array.ndim else None for array in arrays]
    if None in lengths or len(set(lengths)) != 1:
        found = " and ".join("no" if length is None else str(length) for length in lengths)
        raise InputError.of(
            "probe",
            f"{source}: the batch from row {row} on has {found} samples",
            "give every array of a batch the same sample axis",
        )
    samples = np.arange(row, row + len(arrays[0]), dtype="int64")
    return Batch(samples, inputs, None, targets)


def _described(batch: Batch) -> str:
    """Return the names and shapes that all batches of a stream share."""
    arrays = named_inputs(batch.inputs)
    if batch.targets is not None:
        arrays["target"] = batch.targets
    return ", ".join(f"{name} {array.shape[1:]}" for name, array in arrays.items())


def _once(source: str, batches: Iterator[Any]) -> Probe:
    """Return a generator, which can be read only once, as a probe."""
    first = list(islice(batches, 1))
    read = False

    def resumed() -> Iterator[Any]:
        nonlocal read
        if read:
            raise InputError.of(
                "probe", f"{source} can be read only once", "give a function that returns it"
            )
        # Whoever looks at the first batch and stops has read nothing that is lost.
        yield from first
        read = True
        first.clear()
        yield from batches

    return _stream(source, resumed)


def _first(rows: int | None, known: int, source: str) -> slice:
    if rows is not None and rows > known:
        raise InputError.of("probe.rows", f"{source} has {known:,} samples, found {rows:,}")
    return slice(rows)


def _even(rows: Sequence[Any]) -> np.ndarray:
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise InputError.of("probe", "rows differ in their shape") from error


def _rectangular(rows: list[Any], place: str) -> np.ndarray:
    lengths = [len(row) if isinstance(row, list) else None for row in rows]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise InputError.of(
                place, f"row {row}: {_values(length)}, expected {_values(lengths[0])}"
            )
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise InputError.of(place, "rows differ in their shape") from error
    if array.dtype.kind not in "biuf":
        for at, value in np.ndenumerate(array.astype(object)):
            if not isinstance(value, (int, float)) or abs(value) >= 2**63:
                inside = ", ".join(map(str, at[1:]))
                where = f"row {at[0]}" + (f", column {inside}" if inside else "")
                raise InputError.of(place, f"{where}: expected a number, found {value!r}")
    return array


def _or_none(rows: list[Any] | None, place: str) -> np.ndarray | None:
    return None if rows is None else _rectangular(rows, place)


def _values(count: int | None) -> str:
    return "a single number" if count is None else f"{count} values"


def _scikit_learn(name: str) -> Any:
    try:
        return getattr(importlib.import_module("sklearn.datasets"), name)()
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe",
            "needs scikit-learn",
            'type: pip install "activation-runner[data]"',
        ) from error
