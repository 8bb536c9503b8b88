"""The record of a training: what was captured along its way, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.bounds import Count, FileName, Sha256
from runner.record.publication import FileDigest


@dataclass(frozen=True)
class Checkpoint:
    """A point of a training at which the model was shown the probe.

    Attributes
    ----------
    step
        Epochs, or with ``unit: step`` batches, that were behind it.
    epoch
        Epochs that were behind it.
    """

    step: int
    epoch: int

    @property
    def folder(self) -> str:
        """Where its tables are, inside the run."""
        return f"steps/{self.step}"


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What was captured at one checkpoint of a training.

    Its tensors are those of the record's layers, which point to the files of the last one.

    Attributes
    ----------
    step, epoch
        As in `Checkpoint`.
    folder
        Path of its tables inside the run.
    sha256
        Hash over all weights of the model as it was then.
    files
        The digests of its tables, by their path in `folder`.
    """

    step: Count
    epoch: Count
    folder: FileName
    sha256: Sha256
    files: dict[FileName, FileDigest]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How the model was trained.

    Attributes
    ----------
    epochs
        How many it was trained for.
    unit
        What steps count: ``epoch`` or ``step``, a batch.
    history
        Name of a figure (``loss``, ``val_accuracy``) to its value after each epoch; ``None``
        stands for what is no finite number.
    data
        Where the samples come from that it was trained on, in one line; ``None`` where
        only whoever called ``fit`` knows.
    rows
        How many, those to validate on included.
    sha256, targets_sha256
        Hashes over their inputs, as of a probe, and over what the loss compared with.
    """

    epochs: Count
    unit: Literal["epoch", "step"]
    history: dict[str, tuple[float | None, ...]]
    data: str | None = None
    rows: Count | None = None
    sha256: Sha256 | None = None
    targets_sha256: Sha256 | None = None
