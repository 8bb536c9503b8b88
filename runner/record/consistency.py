"""Checks that the parts of a record agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

from runner.file_names import (
    EFFECTS,
    HISTORY,
    PROBE,
    RECORD,
    STEPS,
    SUMMARY,
    plain_table,
    step_folder,
)
from runner.record.layer_record import PartFile, TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.record import RunRecord
from runner.record.training_record import StepRecord
from runner.table_formats import FORMATS
from runner.tables.layout import stored_dtype

_MOST_ROW_VALUES = 2**31 - 1  # the longest fixed-size list of Arrow, which holds one row
_MOST_PER_BYTE = 16
_SLACK = 4096

Tensors = tuple[TensorRecord, ...]
Steps = tuple[StepRecord, ...]


def contradictions(record: RunRecord, probe_format: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield each key whose value contradicts another part of the record, and the reason.

    Parameters
    ----------
    record
        The record. The types and bounds of its values have already been checked.
    probe_format
        Format of the probe's table; by default that of the run.
    """
    probe_file = plain_table(PROBE, probe_format or record.format)
    tensors = record.tensors
    yield from _outcome(record)
    yield from _layers(record, tensors)
    tables = {name for tensor in tensors for name in tensor.digests}
    yield from _files(record, tables, probe_file)
    yield from _effects(record)
    yield from _steps(record.steps, tensors)
    if record.probe is not None:
        yield from _shown(record, record.probe, probe_file)
        yield from _probe_columns(record.probe)
        yield from _sizes(record.steps, tensors, record.probe.rows)
        yield from _parts(record.steps, tensors, record.probe.rows)
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


def _layers(record: RunRecord, tensors: Tensors) -> Iterator[tuple[str, str]]:
    own = [tensor for tensor in tensors if tensor.alias_of is None]
    by_file = {tensor.file: tensor for tensor in own}
    for layer in record.layers:
        for tensor in layer.tensors:
            if tensor.layer_path != layer.path:
                yield tensor.name, f"is of layer '{tensor.layer_path}', recorded at '{layer.path}'"
            if tensor.per_sample == (tensor.call is None):
                yield tensor.name, "a weight is of no call of its layer, all else is of one"
            if tensor.axes is not None and len(tensor.axes) != len(tensor.shape):
                yield tensor.name, f"has {len(tensor.shape)} axes, of which {tensor.axes} are named"
            if tensor.alias_of is not None and not _is_alias(tensor, by_file.get(tensor.file)):
                yield tensor.name, f"is not the same tensor as '{tensor.alias_of}'"
    names = [(tensor.kind, tensor.name) for tensor in tensors]
    if len(set(names)) < len(names):
        (kind, name), count = Counter(names).most_common(1)[0]
        yield name, f"{count} tensors of kind {kind} have this name"
    if len(by_file) < len(own):
        yield "layers", "two tensors have the same file"


def _is_alias(tensor: TensorRecord, owner: TensorRecord | None) -> bool:
    if owner is None or tensor.alias_of != owner.name or tensor.per_sample != owner.per_sample:
        return False
    return (owner.shape, owner.dtype, owner.digest) == (
        *(tensor.shape, tensor.dtype, tensor.digest),
    )


def _files(record: RunRecord, tables: set[str], probe_file: str) -> Iterator[tuple[str, str]]:
    """Check that the names of files are unique and that tables are in the format of the run."""
    suffix = FORMATS[record.format].suffix
    for name in sorted(tables):
        if not name.endswith(suffix):
            yield "layers", f"expected a table that ends in {suffix}, found '{name}'"
    for name in sorted(tables & record.files.keys()):
        yield "files", f"'{name}' is a tensor's table"
    if RECORD in record.files:
        yield "files", f"'{RECORD}' is the record itself"
    if record.status != "FAILED":
        needed = {SUMMARY} | ({STEPS} if record.steps else set())
        needed |= {HISTORY} if record.training is not None else set()
        needed |= {EFFECTS} if record.effect_rows else set()
        for name in sorted({probe_file, *(stem + suffix for stem in needed)}):
            if name not in record.files:
                yield "files", f"expected '{name}', found none"


def _effects(record: RunRecord) -> Iterator[tuple[str, str]]:
    for place, effect in enumerate(record.effects):
        parts = (effect.head, effect.unit, effect.position)
        if effect.layer is None and parts != (None, None, None):
            yield f"effects.{place}", "a head, unit or position is of a layer, and none is named"


def _steps(steps: Steps, tensors: Tensors) -> Iterator[tuple[str, str]]:
    if not steps:
        return
    if [step.step for step in steps] != sorted({step.step for step in steps}):
        yield "steps", "expected each step once, in their order"
    for step in steps:
        if step.folder != step_folder(step.step):
            yield "steps", f"step {step.step} is said to be in '{step.folder}'"
    start = f"{steps[-1].folder}/"
    inside = {tensor.file.removeprefix(start): tensor.digest for tensor in tensors}
    if not all(tensor.file.startswith(start) for tensor in tensors):
        yield "layers", f"the tables of the last step are in {start}"
    elif steps[-1].files != inside:
        yield "steps", "the last step has other tables than the layers"
    for step in steps:
        if step.files.keys() != inside.keys():
            yield "steps", f"step {step.step} has other tables than the layers"


def _shown(record: RunRecord, probe: ProbeRecord, expected: str) -> Iterator[tuple[str, str]]:
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
    inputs = [given.name for given in probe.inputs] if probe.has_inputs else []
    if sorted(inputs) != sorted(part.name for part in probe.columns if part.role == "input"):
        yield "probe.columns", "expected the inputs where the table has inputs, and only there"


def _parts(steps: Steps, tensors: Tensors, rows: int) -> Iterator[tuple[str, str]]:
    """Check that the files of a tensor of a run that was made in parts are those of all rows."""
    for tensor in [tensor for tensor in tensors if tensor.parts]:
        files = [part.file for part in tensor.parts]
        if steps or not tensor.per_sample:
            yield tensor.name, "only what is captured once for each sample has several files"
        if len({*files}) < len(files) or not all(f"{tensor.file}/" in file for file in files):
            yield tensor.name, f"its files are not those of the folder '{tensor.file}'"
        if (found := sum(part.rows for part in tensor.parts)) != rows:
            yield tensor.name, f"its files have {found:,} rows, and the probe {rows:,}"
        if PartFile.together(tensor.parts) != tensor.digest:
            yield tensor.name, "its size and hash are not those of its files"


def _sizes(steps: Steps, tensors: Tensors, rows: int) -> Iterator[tuple[str, str]]:
    """Check that the files, which are uncompressed, are large enough for the tensors' shapes."""
    last = f"{steps[-1].folder}/" if steps else ""
    for tensor in tensors:
        shape = tensor.shape
        if tensor.per_sample:
            lines, index, size = rows, 1, prod(shape)
        else:
            lines, index, size = prod(shape[:-1]), max(0, len(shape) - 1), prod(shape[-1:])
        needed = lines * (8 * index + size * stored_dtype(tensor).itemsize)
        found = tensor.bytes
        if tensor.digest is None:  # its values are in no file
            needed = 0
        elif steps:
            inside = tensor.file.removeprefix(last)
            found = min(step.files[inside].bytes for step in steps)
        whole = size or prod(filter(None, shape))  # an axis beside an empty one is bounded, too
        if whole > _MOST_ROW_VALUES or needed > _MOST_PER_BYTE * found + _SLACK:
            axes = (rows, *shape) if tensor.per_sample else shape
            yield (
                tensor.name,
                f"{' x '.join(map(str, axes))} values are not in a file of {found:,} bytes",
            )
