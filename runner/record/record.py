"""The record of a run: what was run, on what, and which files hold what came out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import FiniteFloat

from runner.bounds import (
    Count,
    FileName,
    Moment,
    RunId,
    Sha256,
    SweepId,
    TableFormat,
)
from runner.config.environment_values import EnvironmentValues
from runner.model.backend import Backend
from runner.record.environment import Environment, read_environment
from runner.record.layer_record import LayerRecord, TensorRecord
from runner.record.probe_layout import ProbeColumns
from runner.record.publication import FileDigest
from runner.record.training_record import StepRecord, TrainingRecord
from runner.table_formats import FORMATS
from runner.tensors import InputSpec

SCHEMA_VERSION: Final = 1

DIGEST = b'  "record_sha256": "'
"""What stands in the text of a record before its own hash."""

Status = Literal["COMPLETED", "FAILED", "INTERRUPTED"]


@dataclass(frozen=True)
class ModelRecord:
    """The model as built.

    Attributes
    ----------
    model_class
        Name of its class.
    weights
        How many numbers its weights hold.
    outputs
        Names of its outputs' tensors, empty where they could not be told.
    sha256
        Hash over all its weights before the probe was shown.
    """

    model_class: str
    weights: Count
    outputs: tuple[str, ...]
    sha256: Sha256


@dataclass(frozen=True)
class ProbeRecord:
    """The inputs shown to the model.

    Attributes
    ----------
    source
        Where they came from, in one line.
    rows
        How many samples.
    inputs
        Name, shape and dtype of each.
    sample_type
        Type of the sample ids.
    has_labels, has_targets
        Whether samples carry them.
    sha256
        Hash over all values.
    sample_ids_sha256
        Hash over the sample ids in their order.
    file
        Name of the file that holds sample ids, labels, targets and inputs.
    has_inputs
        Whether it does hold the inputs: not those too large, or too wide for the format.
    columns
        Which columns of that file hold what; ``None`` in records older than this key.
    picture
        Height and width of the picture whose pixels the one vector of a sample holds, row by
        row; ``None`` for all else.
    notes
        What of the source was not shown, or not whole.
    training
        Whether the layers ran as in training when they were shown.
    mixed_by
        Name of the first tensor whose values for a sample were found to depend on the samples
        that it was shown with. ``None`` where there is none, and where it was not measured.
    batch_size
        How many samples were shown at once; the last batch was filled up to as many, but in
        training and where samples depend on each other.
    compared_sizes
        How many samples the batches had in which those of the first batch were shown again, to
        measure the tensors' `invariance`; empty where it was not measured.
    """

    source: str
    rows: Count
    inputs: tuple[InputSpec, ...]
    sample_type: Literal["int64", "string"]
    has_labels: bool
    has_targets: bool
    sha256: Sha256
    sample_ids_sha256: Sha256
    file: FileName
    has_inputs: bool
    columns: tuple[ProbeColumns, ...] | None = None
    picture: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    training: bool = False
    mixed_by: str | None = None
    batch_size: Count | None = None
    compared_sizes: tuple[Count, ...] = ()


@dataclass(frozen=True)
class Headline:
    """The statistics of a run in four numbers.

    Attributes
    ----------
    tensors
        How many were captured per sample, aliases apart.
    dead_units
        How many of their units were 0 for every sample.
    nan, inf
        How many values were NaN, and how many infinite.
    """

    tensors: Count
    dead_units: Count
    nan: Count
    inf: Count


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything known about a run apart from its tables; the content of ``run.json``.

    Attributes
    ----------
    run_id
        Eight hexadecimal characters; ``<sweep>-<job>`` for a job of a sweep.
    name
        The name given to the run, if any.
    status
        Whether it came to its end; INTERRUPTED is a training of which what there was by
        then was kept.
    error
        What stopped it; ``None`` for a completed run.
    started, ended
        When, in UTC.
    seconds
        How long it took.
    sweep
        Id of the sweep that it belongs to, if any.
    config
        The configuration as composed, ``${oc.env:NAME}`` left as text.
    overrides
        What the command line changed.
    seed, seeding
        The seed and how weights were drawn from it; ``None`` for a model made by hand.
    format
        Of the tables.
    environment, backend
        What it ran on; no backend where it failed before one was loaded.
    model, probe
        What was shown to what; ``None`` where it failed before.
    layers
        Every layer of the model in call order.
    own_build_because
        Why a job of a sweep did not share one built model with those that differ in their
        seed alone; ``None`` where it did, and outside sweeps.
    fingerprint
        SHA-256 over what the run was made of: its resolved configuration, the files that
        it names and the versions of packages.
    training
        How the model was trained; ``None`` where it was not.
    steps
        The checkpoints of the training in their order, the last of which is what `layers`
        are about; empty where only the trained model was captured.
    files
        The digests of the files that hold no captured tensor.
    headline
        Statistics over all tables; ``None`` for a failed run.
    schema_version
        Version of this structure.
    record_sha256
        SHA-256 over the bytes of the file up to this value.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: RunId
    name: str | None = None
    status: Status
    error: str | None = None
    started: Moment
    ended: Moment
    seconds: FiniteFloat
    sweep: SweepId | None = None
    config: dict[str, Any]
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    seeding: str | None = None
    format: TableFormat
    environment: Environment
    backend: Backend | None = None
    model: ModelRecord | None = None
    probe: ProbeRecord | None = None
    layers: tuple[LayerRecord, ...] = ()
    own_build_because: str | None = None
    fingerprint: Sha256 | None = None
    training: TrainingRecord | None = None
    steps: tuple[StepRecord, ...] = ()
    files: dict[FileName, FileDigest]
    headline: Headline | None = None
    record_sha256: str | None = None

    @property
    def job(self) -> int | None:
        """The number of a job in its sweep; ``None`` for a single run."""
        number = self.run_id.rpartition("-")[2]
        return int(number) if "-" in self.run_id else None

    @property
    def digests(self) -> dict[str, FileDigest]:
        """The size and hash of every file but the record, by its path in the folder."""
        tables = {tensor.file: FileDigest(tensor.bytes, tensor.sha256) for tensor in self.tensors}
        steps = {
            f"{step.folder}/{name}": digest
            for step in self.steps
            for name, digest in step.files.items()
        }
        return {**self.files, **tables, **steps}

    @property
    def last_figures(self) -> dict[str, float | None]:
        """The figures of a training after its last epoch."""
        history = {} if self.training is None else self.training.history
        return {name: values[-1] for name, values in history.items()}

    @property
    def tensors(self) -> tuple[TensorRecord, ...]:
        """Every captured tensor, layer by layer."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    def to_json(self) -> bytes:
        """Return the record as indented JSON."""
        plain = {key: value for key, value in vars(self).items() if key != "record_sha256"}
        text = json.dumps(plain, indent=2, ensure_ascii=False, default=_plain).encode()
        return sealed(text.removesuffix(b"\n}") + b",\n" + DIGEST)


@dataclass(frozen=True)
class Header:
    """What is known about a run before anything is shown to its model.

    Attributes
    ----------
    run_id, name, sweep, config, overrides, seed, seeding, own_build_because, fingerprint, started
        As in `RunRecord`.
    files, variables
        Further files of the run's folder, by their path in it, and environment variables used.
    began
        Seconds of a clock that nobody sets, at the same moment as `started`.
    """

    run_id: str
    name: str | None = None
    sweep: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    seeding: str | None = None
    own_build_because: str | None = None
    fingerprint: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    variables: EnvironmentValues = field(default_factory=EnvironmentValues)
    began: float = field(default_factory=time.monotonic)

    def record(self, table_format: str, **known: Any) -> RunRecord:
        """Return the record of a run that ends now.

        The time between its beginning and its end is right even if the system's clock is set
        in between.
        """
        seconds = time.monotonic() - self.began
        ended = self.started + timedelta(seconds=seconds)
        return RunRecord(
            run_id=self.run_id,
            name=self.name,
            sweep=self.sweep,
            config=dict(self.config),
            overrides=self.overrides,
            seed=self.seed,
            seeding=self.seeding,
            own_build_because=self.own_build_because,
            fingerprint=self.fingerprint,
            started=self.started,
            ended=ended,
            seconds=seconds,
            format=FORMATS[table_format].stored_as,
            environment=read_environment(Path.cwd()),
            **known,
        )


def _plain(value: Any) -> Any:
    """Return what JSON has for a part of a record, or a value that Python code configured."""
    if dataclasses.is_dataclass(value):
        return vars(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        return value.tolist()
    return str(value)


def sealed(start: bytes) -> bytes:
    """Return the whole of a record whose text is written up to its own hash."""
    return start + hashlib.sha256(start).hexdigest().encode() + b'"\n}\n'
