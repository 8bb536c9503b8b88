"""A probe being shown to a model, batch by batch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from runner.capture.batches import LANES, fixed_batch, has_fixed_batches, padded
from runner.capture.capture import Capture
from runner.capture.selection import Selection
from runner.config.experiment_config import CaptureConfig
from runner.errors import InputError
from runner.model.building import output_shape
from runner.preflight import check_size
from runner.probe.probe import Batch, Probe
from runner.probe.targets import Targets
from runner.tables.workbook import check_installed
from runner.tensors import OnNan, TensorSpec


@dataclass(frozen=True)
class Settings:
    """How a probe is shown and its tables are written.

    Attributes
    ----------
    selection
        What to keep.
    batch_size
        Samples shown at once, rounded up to a multiple of 8.
    training
        Whether the layers run as in training.
    format
        Of the tables.
    max_bytes
        Tables estimated to be larger are refused.
    times
        How often the whole probe will be shown.
    on_nan
        Whether a run with values that are NaN or infinite is published in silence, with
        a warning, or not at all.
    """

    selection: Selection = field(default_factory=Selection)
    batch_size: int = 256
    training: bool = False
    format: str = "parquet"
    max_bytes: int = 10 * 2**30
    times: int = 1
    on_nan: OnNan = "keep"

    @classmethod
    def of(cls, capture: CaptureConfig, format: str) -> Settings:
        """Return the settings of what is to be kept.

        Raises
        ------
        InputError
            If the format needs what is not installed.
        """
        check_installed(format)
        selection = Selection(
            tuple(capture.include),
            tuple(capture.exclude),
            frozenset(capture.kinds),
            dict(capture.reduce),
            capture.dtype,
        )
        return cls(
            selection,
            capture.batch_size,
            capture.training,
            format,
            capture.max_bytes,
            on_nan=capture.on_nan,
        )


class Showing:
    """A probe being shown to a model.

    Making one shows the first batch: everything about the tables is then known but
    their values, and nothing is written.

    Attributes
    ----------
    model, probe, settings
        As given.
    capture : Capture
        The model, traced.
    first : list[numpy.ndarray]
        The values of ``capture.tensors`` for the first batch.
    rows : int or None
        Samples in all, where that is known before the end.
    mixed_by : str or None
        Name of the first tensor whose values for a sample were found to depend on the
        samples that it is shown with; with such a one no batch is padded.

    Raises
    ------
    InputError
        If the probe is empty or the selection names nothing of the model, or the
        tables would be too large.
    RunError
        If the model cannot be called on the probe.
    """

    def __init__(self, model: keras.Model, probe: Probe, settings: Settings) -> None:
        self.rows = probe.rows
        size = settings.batch_size if self.rows is None else min(settings.batch_size, self.rows)
        # In training a sample changes what the others get: none is added.
        self._pad = not settings.training
        free = self._pad and not has_fixed_batches(model)
        rounded = -(-size // LANES) * LANES if free else size
        self._size = fixed_batch(model) or rounded
        self.model, self.probe, self.settings = model, probe, settings
        self.mixed_by: str | None = None
        self._begin()
        self._targets: Targets | None = None
        if "gradient" in settings.selection.kinds:
            shape = output_shape(model, self._first.inputs)
            self._targets = Targets(probe, getattr(model, "loss", None), shape)
        self.capture = self._captured_first()
        if free and self.rows != self._size:
            self._check_independence()
        self.first = self.capture.first
        self.check_size(self.rows or len(self._first.samples))

    def renew(self) -> None:
        """Begin again from the first sample, with the model as it is now."""
        self._begin()
        self.capture.refresh()
        self.first = self._captured(self._first, 0)

    @property
    def specs(self) -> Iterator[TensorSpec]:
        """Every tensor that gets a table."""
        return itertools.chain(self.capture.tensors, (spec for spec, _ in self.capture.weights))

    def check_size(self, rows: int) -> None:
        """Refuse tables that are too large for `rows` samples."""
        settings = self.settings
        check_size(self.specs, rows, settings.format, settings.max_bytes, settings.times)

    def __iter__(self) -> Iterator[tuple[Batch, list[np.ndarray]]]:
        """Yield every batch with the values of ``capture.tensors`` for its samples."""
        shown = 0
        for batch in itertools.chain([self._first], self._batches):
            arrays = self._captured(batch, shown) if shown else self.first
            count = len(batch.samples)
            shown += count
            if self.rows is None:
                self.check_size(shown)
            yield batch, [array[:count] for array in arrays]
            del arrays  # their memory is where the next ones go, if nobody else has them

    def _begin(self) -> None:
        self._batches = self.probe.batches(self._size)
        first = next(self._batches, None)
        if first is None:
            raise InputError.of("probe", "has 0 rows")
        self._first = first

    def _captured_first(self) -> Capture:
        return Capture(
            self.model,
            self._padded(self._first.inputs),
            self.settings.selection,
            training=self.settings.training,
            targets=self._compared(self._first, 0),
        )

    def _check_independence(self) -> None:
        """Pad no batch if samples depend on each other, and say so if there are several."""
        first, targets = self._first.inputs, self._compared(self._first, 0)
        self.mixed_by = self.capture.mixed_by(self._padded(first), targets)
        if self.mixed_by is None:
            return
        self._pad = False
        self.capture = self._captured_first()
        if self.rows is None or self.rows > self._size:
            warnings.warn(
                f"what '{self.mixed_by}' puts out for a sample depends on the samples it is "
                f"shown with: these are batches of {self._size}, in the order of the probe",
                UserWarning,
                stacklevel=3,
            )

    def _captured(self, batch: Batch, row: int) -> list[np.ndarray]:
        return self.capture(self._padded(batch.inputs), self._compared(batch, row))

    def _compared(self, batch: Batch, row: int) -> np.ndarray | None:
        """Return the targets of a batch that begins at a row, if gradients need them."""
        if self._targets is None:
            return None
        targets: np.ndarray = self._padded(self._targets.of(batch, row))
        return targets

    def _padded(self, arrays: Any) -> Any:
        return padded(arrays, self._size) if self._pad else arrays
