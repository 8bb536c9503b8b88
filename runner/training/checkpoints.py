"""A Keras callback that shows a probe to a model during training."""

from __future__ import annotations

from typing import Any

from runner.file_names import HISTORY
from runner.record.record import Status
from runner.record.training_record import Checkpoint
from runner.saving.saving import Saving
from runner.stores.store import StoredRun
from runner.training.history import History
from runner.training.schedule import Schedule


class Checkpoints(History):
    """Shows a probe at the scheduled steps of a training, and keeps the training history.

    It must be the last callback: it can then see that another callback ended the training, and
    captures the model after all other callbacks.

    Parameters
    ----------
    schedule
        The steps to capture.
    saving
        The run to write to; entered already.
    """

    def __init__(self, schedule: Schedule, saving: Saving | None = None) -> None:
        super().__init__(schedule.unit)
        self.schedule = schedule
        self.saving = saving
        self._batches = 0
        self._began = False
        if schedule.unit == "step":
            # Not a method: Keras would then synchronize after every batch, whatever the unit.
            self.on_train_batch_end = self._after_batch

    @property
    def step(self) -> int:
        """Number of completed steps, in the unit of the schedule."""
        return self._batches if self.schedule.unit == "step" else self.epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Capture the model before its first batch, if scheduled."""
        if not self._began:
            self._began = True
            self.epoch = epoch
            self._capture_if_due()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Capture the model if scheduled, unless this was the last epoch."""
        super().on_epoch_end(epoch, logs)
        if self.epoch != self.params.get("epochs") and not self.model.stop_training:
            self._capture_if_due()

    def on_train_end(self, logs: Any = None) -> None:
        """Capture the trained model."""
        self.finish()

    def finish(self) -> None:
        """Capture the model in its current state, as the last step."""
        if self.schedule.only_last:
            self._write_tensors()
        else:
            self._capture()

    def publish(self, status: Status = "COMPLETED", **data: Any) -> StoredRun:
        """Publish the run with the history of its training.

        Parameters
        ----------
        status
            Status of the run.
        **data
            Fields of `runner.record.training_record.TrainingRecord` about the data.
        """
        assert self.saving is not None
        self.saving.write_table(HISTORY, self.table())
        return self.saving.publish(status=status, training=self.record(**data))

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        self._batches += 1
        # The last batch of an epoch is captured after other callbacks have ended the epoch.
        if batch + 1 != self.params.get("steps") and not self.model.stop_training:
            self._capture_if_due()

    def _capture_if_due(self) -> None:
        if not self.schedule.only_last and self.schedule.is_due(self.step):
            self._capture()

    def _capture(self) -> None:
        assert self.saving is not None
        # A callback after this one may end the training early.
        if self.step not in {checkpoint.step for checkpoint in self.saving.steps.checkpoints}:
            self._write_tensors(Checkpoint(self.step, self.epoch))

    def _write_tensors(self, checkpoint: Checkpoint | None = None) -> None:
        assert self.saving is not None
        self.saving.showing.renew()
        self.saving.write_tensors(checkpoint)
