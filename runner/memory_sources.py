"""Probes that are in memory, or made on the way."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import InputError, Problem
from runner.probe import Batch, Probe, each_input, named_inputs
from runner.probe_config import (
    DigitsConfig,
    FunctionConfig,
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
    rows = slice(config.rows)
    return array_probe(
        "digits (scikit-learn)", images[rows], None, data.target[rows], data.target[rows]
    )


def iris(config: IrisConfig) -> Probe:
    """Return scikit-learn's flowers: lengths and widths of sepal and petal in centimetres."""
    data = _scikit_learn("load_iris")
    rows = slice(config.rows)
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
    integers = [spec.name for spec in expected if np.dtype(spec.dtype).kind in "iu"]
    if integers and config.high is None:
        raise InputError.of(
            "probe.high",
            f"input '{integers[0]}' takes whole numbers; below which?",
            "set +probe.high=...",
        )

    def blocks() -> Iterator[Batch]:
        for start in range(0, config.rows, _RANDOM_BLOCK):
            count = min(_RANDOM_BLOCK, config.rows - start)
            generator = np.random.default_rng([config.seed, start // _RANDOM_BLOCK])
            inputs = {}
            for spec in expected:
                size = (_RANDOM_BLOCK, *(axis or 0 for axis in spec.shape))
                drawn: np.ndarray
                if spec.name in integers:
                    drawn = generator.integers(config.high or 1, size=size)
                elif config.distribution == "normal":
                    drawn = generator.normal(size=size)
                else:
                    drawn = generator.uniform(size=size)
                inputs[spec.name] = drawn[:count].astype(spec.dtype)
            only = inputs if len(inputs) > 1 else next(iter(inputs.values()))
            yield Batch(np.arange(start, start + count), only)

    source = f"random, {config.distribution}, seed {config.seed}"
    return Probe(source, tuple(expected), blocks, config.rows)


def function(config: FunctionConfig) -> Probe:
    """Return what Python code named by the configuration returns."""
    module_name, _, name = config.function.partition(":")
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe.function",
            f"no module '{error.name}' (looked in {directory} and in what is installed)",
        ) from error
    made = getattr(module, name, None)
    if not callable(made):
        raise InputError.of("probe.function", f"module '{module_name}' has no function '{name}'")
    return as_probe(made(**config.arguments), source=config.function)


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
        return array_probe(
            source, list(x) if several else np.asarray(x), sample_ids, labels, targets
        )
    if any(given is not None for given in (sample_ids, labels, targets)):
        raise InputError.of("probe", "sample ids, labels and targets go with arrays, not streams")
    if hasattr(x, "as_numpy_iterator"):
        return _stream(source, x.as_numpy_iterator)
    if callable(x):
        return _stream(source, x)
    if hasattr(x, "__iter__"):
        return _once(source, x)
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
    if any(array.ndim == 0 for array in named.values()):
        raise InputError.of("probe", "expected arrays with a sample axis, found a single number")
    rows = len(next(iter(named.values())))
    samples = np.arange(rows) if ids is None else identifiers(list(ids), "probe")
    given = {f"input '{name}'": array for name, array in named.items()}
    given |= {"sample ids": samples}
    known_labels = None if labels is None else categories(labels)
    known_targets = None if targets is None else np.asarray(targets)
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


def identifiers(ids: Sequence[Any], place: str) -> np.ndarray:
    """Return sample ids as int64 if all are whole numbers, else as text.

    Raises
    ------
    InputError
        If one is there twice, or is empty.
    """
    array = categories(ids)
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


def categories(values: Iterable[Any]) -> np.ndarray:
    """Return labels as int64 if all are whole numbers, else as text."""
    found = np.asarray(values).tolist() if hasattr(values, "__array__") else list(values)
    if all(isinstance(value, int) and not isinstance(value, bool) for value in found):
        return np.asarray(found, dtype="int64")
    array = np.empty(len(found), dtype=object)
    array[:] = [value.decode() if isinstance(value, bytes) else str(value) for value in found]
    return array


def _specs(inputs: Any) -> tuple[InputSpec, ...]:
    return tuple(
        InputSpec(name, array.shape[1:], array.dtype.name)
        for name, array in named_inputs(inputs).items()
    )


def _stream(source: str, batches: Callable[[], Iterable[Any]]) -> Probe:
    """Return batches as a probe; the first one tells what the others are like."""

    def blocks() -> Iterator[Batch]:
        row = 0
        for item in batches():
            pair = isinstance(item, tuple) and len(item) in (2, 3)
            inputs = each_input(item[0] if pair else item, np.asarray)
            count = len(next(iter(named_inputs(inputs).values())))
            targets = np.asarray(item[1]) if pair and item[1] is not None else None
            yield Batch(np.arange(row, row + count), inputs, None, targets)
            row += count

    first = next(blocks(), None)
    if first is None:
        raise InputError.of("probe", f"{source} has 0 rows", "give at least one sample")
    return Probe(source, _specs(first.inputs), blocks, has_targets=first.targets is not None)


def _once(source: str, batches: Iterable[Any]) -> Probe:
    """Return a generator, which can be read only once, as a probe."""
    iterator = iter(batches)
    first = next(iterator, None)
    waiting = [] if first is None else [first]

    def resumed() -> Iterator[Any]:
        while waiting:
            yield waiting[0]
            waiting.clear()
        yield from iterator

    return _stream(source, resumed)


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
        raise InputError.of(place, "expected numbers")
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
            "this data comes with scikit-learn",
            'type: pip install "activation-runner[data]"',
        ) from error
