"""The record of a run: the content of ``run.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from runner.bounds import (
    Count,
    Entries,
    FileName,
    Items,
    Moment,
    RunId,
    Seconds,
    Sha256,
    SweepId,
    TableFormat,
)
from runner.engines.settings import ADOPTED, Backend
from runner.record.effect_record import EffectRecord
from runner.record.environment import Environment
from runner.record.layer_record import LayerRecord, TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.training_record import StepRecord, TrainingRecord
from runner.record.uptime import Uptime
from runner.stores.digests import FileDigest

SCHEMA_VERSION: Final = 1

DIGEST = b'  "record_sha256": "'
"""The text of a record just before its own hash."""

Status = Literal["COMPLETED", "FAILED", "INTERRUPTED"]


@dataclass(frozen=True)
class ModelRecord:
    """The model as built.

    Attributes
    ----------
    model_class
        Name of the model's class.
    weights
        Number of values in all weights.
    outputs
        Names of the tensors of the outputs; empty if unknown.
    sha256
        SHA-256 over all weights before the probe was shown.
    """

    model_class: str
    weights: Count
    outputs: Items[str]
    sha256: Sha256


@dataclass(frozen=True)
class Headline:
    """Four key statistics of a run.

    Attributes
    ----------
    tensors
        Number of tensors captured per sample, without aliases.
    dead_units
        Number of their units that were 0 for every sample.
    nan, inf
        Number of NaN, and of infinite values.
    """

    tensors: Count
    dead_units: Count
    nan: Count
    inf: Count


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The record of a run: all facts except its tables; the content of ``run.json``.

    Attributes
    ----------
    run_id
        Eight hexadecimal characters; ``<sweep>-<job>`` for a job of a sweep.
    name
        Name given to the run, if any.
    status
        Outcome of the run; INTERRUPTED is a training that was stopped and kept.
    error
        Error that stopped the run; ``None`` if it did not fail.
    started, ended
        Time of the start and the end, in UTC.
    seconds
        Duration of the run.
    uptime
        Time since the start of the machine when the run ended; ``None`` if it is unknown, as on
        other systems than Linux.
    sweep
        Id of the sweep that the run belongs to, if any.
    config
        Composed configuration, with ``${oc.env:NAME}`` left as text.
    overrides
        Overrides given on the command line.
    seed, seeding
        Seed, and the method by which weights were drawn from it; ``None`` for a model built
        in Python.
    format
        Format of the tables.
    environment, backend
        Environment of the run; no backend if the run failed before one was loaded.
    model, probe
        Model and probe of the run; ``None`` if the run failed before.
    layers
        All layers of the model in call order.
    own_build_because
        Reason why a job of a sweep built its own model instead of sharing one with jobs that
        differ only in cheap keys, such as the seed; ``None`` if it shared one, and outside sweeps.
    weights_of
        Run whose weights the model was given; ``None`` if they are its own.
    fingerprint
        SHA-256 over the resolved configuration, the files that it names and the versions of
        packages.
    effects
        What interventions did to the outputs of the model.
    effect_rows
        Number of rows of the table of effects for each class or sample; 0 if there is none.
    training
        Training of the model; ``None`` if it was not trained.
    steps
        Checkpoints of the training in order, the last of which `layers` describes; empty if
        only the trained model was captured.
    files
        Digests of the files other than tables of tensors.
    headline
        Key statistics over all tables; ``None`` for a failed run.
    schema_version
        Version of this structure.
    record_sha256
        SHA-256 over the bytes of the file before this value.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: RunId
    name: str | None = None
    status: Status
    error: str | None = None
    started: Moment
    ended: Moment
    seconds: Seconds
    uptime: Uptime | None = None
    sweep: SweepId | None = None
    config: dict[str, Any]
    overrides: Items[str] = ()
    seed: int | None = None
    seeding: str | None = None
    format: TableFormat
    environment: Environment
    backend: Backend | None = None
    model: ModelRecord | None = None
    probe: ProbeRecord | None = None
    layers: Items[LayerRecord] = ()
    own_build_because: str | None = None
    weights_of: RunId | None = None
    fingerprint: Sha256 | None = None
    effects: Items[EffectRecord] = ()
    effect_rows: Count = 0
    training: TrainingRecord | None = None
    steps: Items[StepRecord] = ()
    files: Entries[FileName, FileDigest]
    headline: Headline | None = None
    record_sha256: str | None = None

    @property
    def job(self) -> int | None:
        """The number of a job in its sweep; ``None`` for a single run."""
        number = self.run_id.rpartition("-")[2]
        return int(number) if "-" in self.run_id else None

    @property
    def is_adopted(self) -> bool:
        """Whether its tensors were computed elsewhere."""
        return self.backend is not None and self.backend.name == ADOPTED

    @property
    def keeps_values(self) -> bool:
        """Whether it holds the values of its tensors, not only their statistics."""
        return all(tensor.digest is not None for tensor in self.tensors)

    @property
    def digests(self) -> dict[str, FileDigest]:
        """The size and hash of every file except the record, by path in the folder."""
        tables = {name: d for tensor in self.tensors for name, d in tensor.digests.items()}
        steps = {
            f"{step.folder}/{name}": digest
            for step in self.steps
            for name, digest in step.files.items()
        }
        return {**self.files, **tables, **steps}

    @property
    def last_figures(self) -> dict[str, float | None]:
        """The figures of the training after the last epoch."""
        history = {} if self.training is None else self.training.history
        return {name: values[-1] for name, values in history.items()}

    @property
    def tensors(self) -> tuple[TensorRecord, ...]:
        """Every captured tensor, layer by layer."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    def to_json(self) -> bytes:
        """Return the record as indented JSON."""
        return sealed_json(self)


def sealed_json(record: Any) -> bytes:
    """Return a record, a dataclass, as indented JSON that ends with its own hash."""
    plain = {key: value for key, value in vars(record).items() if key != "record_sha256"}
    text = json.dumps(plain, indent=2, ensure_ascii=False, default=_plain).encode()
    return sealed(text.removesuffix(b"\n}") + b",\n" + DIGEST)


def is_sealed(text: bytes) -> bool:
    """Return whether a text is one of `sealed_json` that was not changed since."""
    return text == sealed(text[: text.rfind(DIGEST) + len(DIGEST)])


def _plain(value: Any) -> Any:
    """Return a JSON-compatible form of a part of a record, or of a value set from Python."""
    if dataclasses.is_dataclass(value):
        return vars(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return value.tolist()
    return str(value)


def sealed(start: bytes) -> bytes:
    """Return the complete text of a record, given the text before its own hash."""
    return start + hashlib.sha256(start).hexdigest().encode() + b'"\n}\n'
