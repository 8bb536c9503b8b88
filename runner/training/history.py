"""A Keras callback that keeps the figures of a training."""

from __future__ import annotations

import math
from typing import Any

import keras
import pyarrow as pa

from runner.record.training_record import TrainingRecord
from runner.training.schedule import Unit


class History(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the figures of each epoch of a training.

    Parameters
    ----------
    unit
        Unit of steps.

    Attributes
    ----------
    epoch : int
        Number of completed epochs.
    """

    def __init__(self, unit: Unit = "epoch") -> None:
        super().__init__()
        self.epoch = 0
        self.history: dict[str, list[float]] = {}
        self._unit = unit

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the figures of an epoch."""
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            name = f"{name}_" if name == "epoch" else name  # the name of the table's first column
            values = self.history.setdefault(name, [])
            values += [math.nan] * (epoch - len(values))
            values.append(float(value))

    def table(self) -> pa.Table:
        """Return the figures as a table, a row per epoch."""
        history = self._even()
        epochs = {"epoch": pa.array(range(1, self._rows + 1), pa.int64())}
        columns = {name: pa.array(values, pa.float64()) for name, values in history.items()}
        return pa.table(epochs | columns)

    def record(self, **data: Any) -> TrainingRecord:
        """Return the record of the training.

        Parameters
        ----------
        **data
            Fields of `runner.record.training_record.TrainingRecord` about the data.
        """
        return TrainingRecord(
            epochs=self.epoch,
            unit=self._unit,
            history={
                name: tuple(value if math.isfinite(value) else None for value in values)
                for name, values in self._even().items()
            },
            **data,
        )

    @property
    def _rows(self) -> int:
        return max(map(len, self.history.values()), default=0)

    def _even(self) -> dict[str, list[float]]:
        """Return the figures, NaN after the last epoch that had one."""
        return {
            name: values + [math.nan] * (self._rows - len(values))
            for name, values in self.history.items()
        }
