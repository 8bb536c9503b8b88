"""Checks that the parts of a record agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

from runner.record.layer_record import TensorRecord
from runner.record.publication import RECORD, FileDigest
from runner.record.record import ProbeRecord, RunRecord
from runner.table_formats import STORED
from runner.tables.layout import stored_dtype

_MOST_ROW_VALUES = 2**31 - 1  # the longest fixed-size list of Arrow, which holds one row
_MOST_PER_BYTE = 16
_SLACK = 4096


def contradictions(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield each key whose value contradicts another part of the record, and the reason.

    The types and bounds of the values have already been checked.
    """
    yield from _outcome(record)
    yield from _layers(record)
    yield from _files(record)
    yield from _steps(record)
    if record.probe is not None:
        yield from _shown(record)
        yield from _probe_columns(record.probe)
        yield from _sizes(record, record.probe.rows)
    if record.training is not None:
        lengths = {len(values) for values in record.training.history.values()}
        if lengths and (len(lengths) > 1 or lengths == {0}):
            yield "training.history", "the figures are not of the same epochs"


def _outcome(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Check that a completed run has tables, and that a failed run has an error."""
    if record.sweep is not None and "-" not in record.run_id:
        yield "run_id", f"a job of a sweep ends in -<number>, found '{record.run_id}'"
    failed = record.status == "FAILED"
    if failed != (record.error is not None):
        yield "error", f"a run that is {record.status} has {'one' if failed else 'none'}"
    for key in ("model", "probe", "headline"):
        if failed == (getattr(record, key) is not None):
            yield key, f"a run that is {record.status} has {'none' if failed else 'one'}"
    if failed and (record.layers or record.steps):
        yield "layers", "a run that is FAILED has none"


def _layers(record: RunRecord) -> Iterator[tuple[str, str]]:
    tensors = record.tensors
    own = {(t.kind, t.name): t for t in tensors if t.alias_of is None}
    by_file = {tensor.file: tensor for tensor in own.values()}
    for layer in record.layers:
        for tensor in layer.tensors:
            if tensor.layer_path != layer.path:
                yield tensor.name, f"is of layer '{tensor.layer_path}', recorded at '{layer.path}'"
            if tensor.per_sample == (tensor.call is None):
                yield tensor.name, "a weight is of no call of its layer, all else is of one"
            if tensor.axes is not None and len(tensor.axes) != len(tensor.shape):
                yield tensor.name, f"has {len(tensor.shape)} axes, of which {tensor.axes} are named"
            owner = by_file.get(tensor.file)
            if tensor.alias_of is not None and not _is_alias(tensor, owner):
                yield tensor.name, f"is not the same tensor as '{tensor.alias_of}'"
    names = Counter((tensor.kind, tensor.name) for tensor in tensors)
    for (kind, name), count in names.items():
        if count > 1:
            yield name, f"{count} tensors of kind {kind} have this name"
    if len(by_file) < len(own):
        yield "layers", "two tensors have the same file"


def _is_alias(tensor: TensorRecord, owner: TensorRecord | None) -> bool:
    if owner is None or tensor.alias_of != owner.name or tensor.per_sample != owner.per_sample:
        return False
    return (owner.shape, owner.dtype, _digest(owner)) == (
        *(tensor.shape, tensor.dtype, _digest(tensor)),
    )


def _files(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Check that the names of files are unique and that tables are in the format of the run."""
    tables = {tensor.file for tensor in record.tensors}
    suffix = STORED[record.format].suffix
    for name in sorted(tables):
        if not name.endswith(suffix):
            yield "layers", f"expected a table that ends in {suffix}, found '{name}'"
    for name in sorted(tables & record.files.keys()):
        yield "files", f"'{name}' is a tensor's table"
    if RECORD in record.digests:
        yield "files", f"'{RECORD}' is the record itself"
    if record.status != "FAILED":
        needed = {"probe", "summary"} | ({"steps"} if record.steps else set())
        needed |= {"history"} if record.training is not None else set()
        for stem in sorted(needed):
            if stem + suffix not in record.files:
                yield "files", f"expected '{stem}{suffix}', found none"


def _steps(record: RunRecord) -> Iterator[tuple[str, str]]:
    steps = record.steps
    if [step.step for step in steps] != sorted({step.step for step in steps}):
        yield "steps", "expected each step once, in their order"
    for step in steps:
        if step.folder != f"steps/{step.step}":
            yield "steps", f"step {step.step} is said to be in '{step.folder}'"
    if not steps:
        return
    start = f"{steps[-1].folder}/"
    inside = {tensor.file.removeprefix(start): _digest(tensor) for tensor in record.tensors}
    if not all(tensor.file.startswith(start) for tensor in record.tensors):
        yield "layers", f"the tables of the last step are in {start}"
    elif steps[-1].files != inside:
        yield "steps", "the last step has other tables than the layers"
    for step in steps:
        if step.files.keys() != inside.keys():
            yield "steps", f"step {step.step} has other tables than the layers"


def _shown(record: RunRecord) -> Iterator[tuple[str, str]]:
    probe = record.probe
    if probe is None:
        return
    expected = f"probe{STORED[record.format].suffix}"
    if probe.file != expected:
        yield "probe.file", f"expected '{expected}', found '{probe.file}'"
    names = [given.name for given in probe.inputs]
    if not names or len(set(names)) < len(names):
        yield "probe.inputs", "expected names that differ"
    stored = record.files.get(probe.file)
    if stored is not None and not 0 < probe.rows <= stored.bytes:
        yield "probe.rows", f"{probe.rows:,} samples are not in a file of {stored.bytes:,} bytes"


def _probe_columns(probe: ProbeRecord) -> Iterator[tuple[str, str]]:
    """Check that every column of the probe's table after the first belongs to one array."""
    if probe.columns is None:
        return
    first = 1
    for part in probe.columns:
        if part.first != first:
            why = f"'{part.name}' begins at column {part.first}, expected {first}"
            yield "probe.columns", why
        if part.count not in {1, prod(part.shape)}:
            yield "probe.columns", f"{part.count} columns hold '{part.name}'"
        first += part.count
    arrays = [(part.role, part.name) for part in probe.columns]
    if len(set(arrays)) < len(arrays):
        yield "probe.columns", "expected each array once"
    if probe.has_labels != (("label", "label") in arrays):
        yield "probe.columns", "expected labels where the probe has labels, and only there"


def _sizes(record: RunRecord, rows: int) -> Iterator[tuple[str, str]]:
    """Check that the files, which are uncompressed, are large enough for the tensors' shapes."""
    for tensor in record.tensors:
        index = 1 if tensor.per_sample else max(0, len(tensor.shape) - 1)
        size = prod(tensor.shape if tensor.per_sample else tensor.shape[-1:])
        lines = rows if tensor.per_sample else prod(tensor.shape[:-1])
        needed = lines * (8 * index + size * stored_dtype(tensor).itemsize)
        sizes = [tensor.bytes, *(s.files[_inside(record, tensor)].bytes for s in record.steps)]
        if size > _MOST_ROW_VALUES or needed > _MOST_PER_BYTE * min(sizes) + _SLACK:
            axes = (rows, *tensor.shape) if tensor.per_sample else tensor.shape
            yield (
                tensor.name,
                f"{' x '.join(map(str, axes))} values are not in a file of {min(sizes):,} bytes",
            )


def _inside(record: RunRecord, tensor: TensorRecord) -> str:
    return tensor.file.removeprefix(f"{record.steps[-1].folder}/")


def _digest(tensor: TensorRecord) -> FileDigest:
    return FileDigest(tensor.bytes, tensor.sha256)
