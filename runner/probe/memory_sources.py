"""Probes from arrays and other objects in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from runner.errors import InputError, Problem
from runner.probe.batch import Batch, each_input, named_inputs
from runner.probe.foreign_data import converted
from runner.probe.frames import FrameArray, common_index, index_ids, is_frame
from runner.probe.probe import Probe
from runner.probe.sample_ids import categories, identifiers
from runner.probe.stored_array import as_array
from runner.probe.streams import RECORD, is_record, specs_of, stream_probe


def as_probe(
    x: Any,
    sample_ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    source: str = "given in Python",
) -> Probe:
    """Return the probe of any supported Python object.

    Parameters
    ----------
    x
        An array of shape (sample, ...), or a list, tuple or mapping of arrays for several
        inputs; a DataFrame or Series, whose index is the sample ids; a mapping of ``inputs``
        and ``sample_ids``, optionally with ``labels`` and ``targets``; a ``tf.data.Dataset`` of
        batches; a ``DataLoader``, ``Dataset`` or tensor of PyTorch; or an iterable of batches of
        any size, or a function that returns one. A batch is inputs, a pair of inputs and targets,
        or such a mapping. A generator can be read only once.
    sample_ids, labels, targets
        One value per sample; pandas objects must have the same index. For batches also an
        iterable, or a function that returns one, of the values of each batch.
    source
        Description of the source in one line.

    Raises
    ------
    InputError
        If lengths or indices differ, or the object is not supported.
    """
    x, targets = converted(x), converted(targets)
    if hasattr(x, "toarray"):
        raise InputError.of(
            "probe",
            f"sparse arrays such as {type(x).__name__} are not supported",
            "pass x.toarray(), or dense batches",
        )
    beside = {"sample_ids": sample_ids, "labels": labels, "targets": targets}
    if is_record(x):
        twice = [name for name in RECORD if name in x and beside.get(name) is not None]
        if twice:
            raise InputError.of(
                "probe", f"{source} has {twice[0]}, and {twice[0]} are given as well"
            )
        beside |= {name: value for name, value in x.items() if name != "inputs"}
        return as_probe(x["inputs"], **beside, source=source)
    if isinstance(x, Mapping) or hasattr(x, "__array__"):
        return _given(source, x, sample_ids, labels, targets)
    if isinstance(x, (list, tuple)):
        several = bool(x) and all(getattr(part, "ndim", 0) for part in x)
        return _given(source, list(x) if several else _even(x), sample_ids, labels, targets)
    is_stream = hasattr(x, "as_numpy_iterator") or callable(x) or isinstance(x, Iterable)
    if not is_stream or isinstance(x, (str, bytes)):
        raise InputError.of("probe", f"expected arrays or batches, found {type(x).__name__}")
    return stream_probe(source, x, beside)


def _given(
    source: str, x: Any, ids: Iterable[Any] | None, labels: Iterable[Any] | None, targets: Any
) -> Probe:
    """Return the probe of arrays or pandas objects."""
    parts = x.values() if isinstance(x, Mapping) else x if isinstance(x, list) else [x]
    named = [*((part, "inputs") for part in parts), (labels, "labels"), (targets, "targets")]
    index = common_index(named)
    if ids is None and index is not None:
        ids = index_ids(index)
    if not is_frame(x):
        return array_probe(source, x, ids, labels, targets)
    frame = FrameArray(x)
    probe = array_probe(source, frame.array, ids, labels, targets, frame.columns)
    return replace(probe, integers=frame.integers)


def array_probe(
    source: str,
    inputs: Any,
    ids: Iterable[Any] | None = None,
    labels: Iterable[Any] | None = None,
    targets: Any = None,
    columns: tuple[str, ...] = (),
    block: int | None = None,
) -> Probe:
    """Return the probe of arrays.

    Parameters
    ----------
    source
        Description of the source in one line.
    inputs
        An array of shape (sample, ...), or a mapping or list of arrays.
    ids, labels, targets
        One value per sample; the default ids are row numbers.
    columns
        Names of the entries of a single input.
    block
        Number of rows to read at once; default: all rows.

    Raises
    ------
    InputError
        If lengths differ, or an id occurs twice.
    """
    inputs = each_input(inputs, as_array)
    named = named_inputs(inputs)
    if not named:
        raise InputError.of("probe", f"{source} has no input")
    if any(array.ndim == 0 for array in named.values()):
        raise InputError.of("probe", "expected arrays with a sample axis, found a single number")
    rows = len(next(iter(named.values())))
    samples = None if ids is None else identifiers(ids, "probe")
    kind: Any = "int64" if samples is None else samples.dtype
    given: dict[str, Any] = {f"rows of input '{name}'": array for name, array in named.items()}
    given |= {} if samples is None else {"sample ids": samples}
    known_labels = None if labels is None else categories(labels, "probe")
    known_targets = None if targets is None else as_array(targets)
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
    # Row numbers are created when needed: a row may have one byte, its id has eight.
    whole = Batch(np.empty(0, kind), inputs, known_labels, known_targets)
    step = block or max(rows, 1)

    def blocks(first: int = 0) -> Iterator[Batch]:
        for start in range(first, rows, step):
            piece = slice(start, min(start + step, rows))
            if samples is None:
                ids = np.arange(start, piece.stop, dtype=np.int64)
            else:
                ids = samples[piece]
            yield replace(whole[piece], samples=ids)

    return Probe(
        source,
        specs_of(inputs),
        blocks,
        rows,
        "int64" if kind == "int64" else "string",
        labels is not None,
        targets is not None,
        columns,
        seek=blocks,
    )


def _even(rows: Sequence[Any]) -> np.ndarray:
    try:
        return np.asarray(rows)
    except ValueError as error:
        raise InputError.of("probe", "rows differ in their shape") from error
