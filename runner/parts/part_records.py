"""The plan of a run that is made in parts, and the record of a part: JSON in hidden folders."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pydantic
import pydantic_core

from runner.bounds import Count, Entries, FileName, Items, Moment, RunId, Sha256
from runner.errors import DamagedError
from runner.file_names import LOG, RECORD
from runner.probe.probe_hash import BlockHashes
from runner.record.reading import check_record, record_text
from runner.record.record import RunRecord, is_sealed, sealed_json
from runner.record.training_record import TrainingRecord
from runner.saving.saving import PART_FORMAT
from runner.showing.division import Division
from runner.stores.digests import FileDigest
from runner.stores.store import StoredRun
from runner.tensors import Kind

WEIGHTS = "weights.bin"
"""The weights of a trained model, one after another, beside the plan."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all parts of a run have in common.

    Attributes
    ----------
    run_id, fingerprint, started
        As in `runner.record.record.RunRecord`.
    division
        The samples of each part.
    training
        The training of the model, which is done before the parts are made; ``None`` without one.
    weights
        SHA-256 over the weights of the trained model, which are in a file beside the plan.
    files
        Digests of the files beside the plan.
    """

    is_plan: Literal[True] = True
    run_id: RunId
    fingerprint: Sha256
    started: Moment
    division: Division
    training: TrainingRecord | None
    weights: Sha256 | None
    files: Entries[FileName, FileDigest]
    record_sha256: str | None = None

    def to_json(self) -> bytes:
        """Return the plan as JSON."""
        return sealed_json(self)


@dataclass(frozen=True)
class TensorStates:
    """The statistics of a tensor in a part, before they are joined.

    Attributes
    ----------
    name, kind
        As in `runner.tensors.TensorSpec`.
    states
        As from `runner.tables.summary.RunningStatistics.states`.
    """

    name: str
    kind: Kind
    states: Mapping[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """The record of a part of a run.

    Attributes
    ----------
    part
        Number of the part, from 0.
    start
        Its first row in the probe, counted from 0.
    record
        What the record of a run would say of its samples alone; of a part that failed, the error.
    hashes
        Hashes of the blocks of samples that begin in the part; ``None`` if it failed.
    statistics
        Statistics of each tensor, in the order of the summary.
    """

    part: Count
    start: Count
    record: RunRecord
    hashes: BlockHashes | None = None
    statistics: Items[TensorStates] = ()
    record_sha256: str | None = None

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return sealed_json(self)


def read_plan(run: StoredRun) -> Plan:
    """Return the plan in a folder.

    Raises
    ------
    DamagedError
        If there is none, or it is damaged.
    """
    what = "the plan of a run made in parts"
    plan: Plan = _read(run, Plan, what)
    has_files = LOG in plan.files and (WEIGHTS in plan.files) == (plan.weights is not None)
    if not has_files or not plan.division.is_complete:
        raise DamagedError.of(run.place(RECORD), f"is not {what}")
    return plan


def read_part(run: StoredRun) -> PartRecord:
    """Return the record of a part in its folder.

    Raises
    ------
    DamagedError
        If there is none, or it is damaged.
    """
    part: PartRecord = _read(run, PartRecord, "the record of a part")
    place = run.place(RECORD)
    check_record(part.record, place, PART_FORMAT)
    own = {(tensor.kind, tensor.name) for tensor in part.record.tensors if tensor.alias_of is None}
    told = [(each.kind, each.name) for each in part.statistics]
    is_failed = part.record.status == "FAILED"
    if not is_failed and (part.hashes is None or len(told) != len(own) or {*told} != own):
        raise DamagedError.of(place, "lacks hashes, or statistics of a tensor")
    return part


def _read(run: StoredRun, kind: type, what: str) -> Any:
    place = run.place(RECORD)
    text = record_text(run)
    if not is_sealed(text):
        raise DamagedError.of(place, "was changed after it was written")
    try:
        return _adapter(kind).validate_python(pydantic_core.from_json(text))
    except ValueError as error:
        raise DamagedError.of(place, f"is not {what}") from error


@functools.cache
def _adapter(kind: type) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)
