"""A probe being shown to a model, batch by batch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from runner.capture.batches import (
    fixed_batch,
    full_size,
    has_fixed_batches,
    has_states,
    padded,
)
from runner.capture.capture import Capture
from runner.capture.invariance import Comparison
from runner.capture.selection import Selection
from runner.capture.state import left_alone
from runner.config.experiment_config import CaptureConfig
from runner.errors import InputError
from runner.model.building import output_shape
from runner.preflight import check_size
from runner.probe.probe import Batch, Probe, grouped
from runner.probe.targets import Targets
from runner.tables.workbook import check_installed
from runner.tensors import Invariance, OnNan, TensorSpec


@dataclass(frozen=True)
class Settings:
    """How a probe is shown and its tables are written.

    Attributes
    ----------
    selection
        What to keep.
    batch_size
        Samples shown at once; more, where their values would round differently otherwise
        (see `runner.capture.batches.full_size`).
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
    batch_size: int = 240
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
    their values, and nothing is written. It is shown as it was given, and then its samples
    once more in other batches: whether their values stay the same decides how many are
    shown at once from then on.

    Attributes
    ----------
    model, probe, settings
        As given.
    capture : Capture
        The model, traced.
    first : list[numpy.ndarray or None]
        The values of ``capture.tensors`` for the first batch.
    rows : int or None
        Samples in all, where that is known before the end.
    batch_size : int
        Samples shown at once.
    compared_sizes : tuple[int, ...]
        How many samples the batches had in which those of the first were shown again;
        none where that was not done: in training, and where layers keep a state.
    invariance : dict[TensorSpec, str or None]
        How the values of each tensor held in those batches (see
        `runner.capture.invariance.Findings`).
    mixed_by : str or None
        Name of the first tensor whose values for a sample were found to depend on the
        samples that it is shown with; with such a one no batch is filled up.

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
        fixed = fixed_batch(model)
        asked = fixed or settings.batch_size
        self.batch_size = asked if self.rows is None else min(asked, self.rows)
        self.model, self.probe, self.settings = model, probe, settings
        self.mixed_by: str | None = None
        self.compared_sizes: tuple[int, ...] = ()
        self.invariance: dict[TensorSpec, Invariance | None] = {}
        # In training a sample changes what the others get: none is added.
        self._pad = not settings.training
        self._begin()
        self._targets: Targets | None = None
        if "gradient" in settings.selection.kinds:
            with left_alone(model):
                shape = output_shape(model, self._first.inputs)
            self._targets = Targets(probe, getattr(model, "loss", None), shape)
        self.batch_size = fixed or len(self._first)  # less, if the probe could not tell
        self._more = len(self._first) == asked if self.rows is None else self.rows > asked
        self.capture = Capture(
            model,
            self._padded(self._first.inputs),
            settings.selection,
            training=settings.training,
            targets=self._compared(self._first, 0),
        )
        self.first: list[Any] = list(self.capture.first)
        if self.capture.tensors and not has_states(model):
            if not settings.training:
                self._compare()
            elif self.capture.fixed_axes:
                self._find_samples()
        self.check_size(self.rows or len(self._first.samples))

    def renew(self) -> None:
        """Begin again from the first sample, with the model as it is now."""
        self._begin()
        self.capture.drop_lost()
        self.capture.refresh()
        self.first = self._captured(self._first, 0)

    @property
    def specs(self) -> Iterator[TensorSpec]:
        """Every tensor that gets a table."""
        return itertools.chain(self.capture.tensors, (spec for spec, _ in self.capture.weights))

    def summary(self) -> str:
        """Return in one line how the values of samples held in other batches."""
        if not self.compared_sizes:
            return "whether samples depend on their batch was not measured"
        found = list(self.invariance.values())
        sizes = " and ".join(map(str, self.compared_sizes))
        return (
            f"the first {len(self._first)} samples in batches of {sizes}: {found.count('bitwise')} "
            f"tensors identical bit for bit, {found.count('rounding')} up to rounding, "
            f"{found.count('none')} not, {found.count(None)} drawn or counted anew"
        )

    def check_size(self, rows: int) -> None:
        """Refuse tables that are too large for `rows` samples."""
        settings = self.settings
        check_size(self.specs, rows, settings.format, settings.max_bytes, settings.times)

    def __iter__(self) -> Iterator[tuple[Batch, list[np.ndarray | None]]]:
        """Yield every batch with the values of ``capture.tensors`` for its samples.

        In place of values is ``None`` from where a tensor was found to fit no table.
        """
        shown = 0
        for batch in itertools.chain([self._first], self._batches):
            arrays = self._captured(batch, shown) if shown else self.first
            count = len(batch.samples)
            shown += count
            if self.rows is None:
                self.check_size(shown)
            yield batch, [array if array is None else array[:count] for array in arrays]
            del arrays  # their memory is where the next ones go, if nobody else has them

    def _begin(self) -> None:
        self._batches = self.probe.batches(self.batch_size)
        first = next(self._batches, None)
        if first is None:
            raise InputError.of("probe", "has 0 rows")
        self._first = first

    def _comparison(self) -> Comparison:
        first = self._first
        return Comparison(
            self.capture,
            self._padded(first.inputs),
            self._compared(first, 0),
            self._more,
            fixed=has_fixed_batches(self.model),
        )

    def _find_samples(self) -> None:
        """Leave out what only happens to be as long as the first batch."""
        reasons = self._comparison().findings().reasons
        self.capture.leave_out(
            {spec: reason for spec, reason in reasons.items() if spec in self.capture.fixed_axes}
        )
        self.first = list(self.capture.first)

    def _compare(self) -> None:
        """Find out whether the values of samples are their own, and show them accordingly."""
        comparison = self._comparison()
        findings = comparison.findings()
        self.capture.leave_out(findings.reasons)
        self.first = list(self.capture.first)
        self.invariance, self.mixed_by = findings.invariance, findings.mixed_by
        self.compared_sizes = findings.sizes
        if self.mixed_by is not None:
            self._pad = not findings.any_size
            if self._more:
                warnings.warn(
                    f"what '{self.mixed_by}' puts out for a sample depends on the samples it is "
                    f"shown with: these are batches of {self.batch_size}, in the order of the "
                    "probe",
                    UserWarning,
                    stacklevel=4,
                )
        elif findings.any_size:  # whatever was found: other weights are to get the same batches
            size = full_size(len(self._first), self.capture.size)
            if size > len(self._first):
                self._show_more(size, comparison)

    def _show_more(self, size: int, comparison: Comparison) -> None:
        """Show so many samples at once from the first batch on."""
        self._batches = grouped(itertools.chain([self._first], self._batches), size)
        self.batch_size = size
        self._first = next(self._batches)
        self.capture.refresh()
        arrays = self._captured(self._first, 0)
        self.capture.drop_lost()
        self.first = [array for array in arrays if array is not None]
        known = self.invariance
        for spec, found in comparison.held_to(self.first).items():
            self.invariance[spec] = found if known[spec] is not None else None

    def _captured(self, batch: Batch, row: int) -> list[np.ndarray | None]:
        return self.capture(self._padded(batch.inputs), self._compared(batch, row))

    def _compared(self, batch: Batch, row: int) -> np.ndarray | None:
        """Return the targets of a batch that begins at a row, if gradients need them."""
        if self._targets is None:
            return None
        targets: np.ndarray = self._padded(self._targets.of(batch, row))
        return targets

    def _padded(self, arrays: Any) -> Any:
        return padded(arrays, self.batch_size) if self._pad else arrays
