"""The record of a training: its checkpoints and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, FiniteFloat
from pydantic_core import PydanticKnownError

from runner.bounds import Count, Entries, FileName, Items, Sha256
from runner.file_names import step_folder
from runner.stores.digests import FileDigest

_MOST_FIGURES: Final = 10_000  # each is a column of a sweep's table


def _counted(figures: dict[str, Any]) -> dict[str, Any]:
    if len(figures) > _MOST_FIGURES:
        known = {"field_type": "Dictionary", "max_length": _MOST_FIGURES}
        raise PydanticKnownError("too_long", {**known, "actual_length": len(figures)})
    return figures


@dataclass(frozen=True)
class Checkpoint:
    """A point of the training at which the model is shown the probe.

    Attributes
    ----------
    step
        Number of completed epochs, or of batches with ``unit: step``.
    epoch
        Number of completed epochs.
    """

    step: int
    epoch: int

    @property
    def folder(self) -> str:
        """Path of the checkpoint's tables inside the run."""
        return step_folder(self.step)


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """The record of one checkpoint of a training.

    The tensors are the same as in the record's layers, which refer to the files of the last
    checkpoint.

    Attributes
    ----------
    step, epoch
        As in `Checkpoint`.
    folder
        Path of the checkpoint's tables inside the run.
    sha256
        SHA-256 over all weights of the model at the checkpoint.
    files
        Digests of the tables, by path in `folder`.
    """

    step: Count
    epoch: Count
    folder: FileName
    sha256: Sha256
    files: Entries[FileName, FileDigest]


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """The record of a training.

    Attributes
    ----------
    epochs
        Number of epochs.
    unit
        Unit of steps: ``epoch``, or ``step`` (a batch).
    history
        Values of each figure (``loss``, ``val_accuracy``) after each epoch; ``None`` for a
        value that is not finite.
    data
        Source of the training samples, in one line; ``None`` if unknown, because ``fit`` was
        called from Python.
    rows
        Number of samples, including those for validation.
    sha256, targets_sha256
        SHA-256 over the inputs, as for a probe, and over the targets of the loss.
    """

    epochs: Count
    unit: Literal["epoch", "step"]
    history: Annotated[
        Entries[str, Items[FiniteFloat | None]],
        AfterValidator(_counted),
        Field(json_schema_extra={"maxProperties": _MOST_FIGURES}),
    ]
    data: str | None = None
    rows: Count | None = None
    sha256: Sha256 | None = None
    targets_sha256: Sha256 | None = None
