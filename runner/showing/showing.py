"""Shows a probe to a model, batch by batch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from runner.capture.batches import Shown, fixed_batch, full_size, has_fixed_batches, has_states
from runner.capture.capture import Capture
from runner.capture.failures import batch_size_advice
from runner.capture.invariance import Comparison
from runner.capture.selection import Selection
from runner.capture.state import left_alone
from runner.errors import InputError, RunError
from runner.model.building import input_specs, output_shape
from runner.preflight import check_size, estimated_bytes
from runner.probe.batch import Batch, grouped, named_inputs
from runner.probe.fitting import check_numbers
from runner.probe.probe import Probe
from runner.probe.targets import Targets
from runner.showing.settings import Settings
from runner.sizes import check_memory
from runner.tensors import InputSpec, Invariance, TensorSpec


class Showing:
    """One showing of a probe to a model.

    Its creation shows the first batch: everything about the tables except their values is then
    known, and nothing is written. The batch is filled up so that all samples are rounded alike,
    and its samples are shown once more in other batches. If their values do not stay the same,
    the batch is shown again as given, and so are all later ones.

    Attributes
    ----------
    model, probe, settings
        As given.
    capture : Capture
        The traced model.
    first : list[numpy.ndarray or None]
        The values of ``capture.tensors`` for the first batch.
    rows : int or None
        Total number of samples, if known before the end.
    batch_size : int
        Number of samples shown at once.
    compared_sizes : tuple[int, ...]
        Sizes of the batches in which the samples of the first were shown again; empty if that
        was not done: in training mode, and for layers that keep a state.
    invariance : dict[TensorSpec, str or None]
        How the values of each tensor compare between those batches (see
        `runner.capture.invariance.Findings`).
    mixed_by : str or None
        Name of the first tensor whose values for a sample depend on the other samples of its
        batch; if there is one, no batch is padded.

    Raises
    ------
    InputError
        If the probe is empty, the selection matches nothing in the model, or the tables would
        be too large.
    RunError
        If the model cannot be called on the probe.
    """

    def __init__(self, model: keras.Model, probe: Probe, settings: Settings) -> None:
        probe = check_numbers(probe, input_specs(model) or _cast_inputs(model, probe))
        self.rows = probe.rows
        fixed = fixed_batch(model)
        asked = fixed or settings.capture.batch_size
        self.batch_size = asked if self.rows is None else min(asked, self.rows)
        self.model, self.probe, self.settings = model, probe, settings
        self.mixed_by: str | None = None
        self.compared_sizes: tuple[int, ...] = ()
        self.invariance: dict[TensorSpec, Invariance | None] = {}
        # In training a sample changes the values of the others: none is added.
        self._pad = not settings.capture.training
        self._begin()
        self._targets: Targets | None = None
        if "gradient" in settings.capture.kinds:
            with left_alone(model):
                shape = output_shape(model, self._first.inputs)
            self._targets = Targets(
                probe, getattr(model, "loss", None), shape, keras.config.floatx()
            )
        self.batch_size = fixed or len(self._first)  # less, if the probe's length was unknown
        self._more = len(self._first) == asked if self.rows is None else self.rows > asked
        given = self.batch_size
        if fixed:
            for name, array in named_inputs(self._first.inputs).items():
                # Padded, it is held as array and as tensor, and so is the batch it is compared to.
                check_memory(name, array.nbytes * fixed // len(array), copies=4)
        shown = self._shown(self._first, 0)
        try:
            self.capture = Capture(
                model,
                shown,
                Selection.of(settings.capture),
                training=settings.capture.training,
                enlarged=self._enlarged if self._pad and not has_fixed_batches(model) else None,
            )
        except RunError as error:
            advice = batch_size_advice(error, model, shown.inputs, self.rows)
            if not advice:
                raise
            raise RunError(f"{error}; {advice}") from error
        if self.capture.rows < self.batch_size:
            self._regroup(given)
        self.first: list[Any] = list(self.capture.first)
        if self.capture.tensors and not has_states(model):
            if not settings.capture.training:
                self._compare(given)
            elif self.capture.fixed_axes:
                self._find_samples()
        self.check_size(self.rows or len(self._first.samples))

    def renew(self) -> None:
        """Start again at the first sample, with the current state of the model."""
        self._begin()
        self.capture.drop_lost()
        self.capture.refresh()
        self.first = self._captured(self._first, 0)

    @property
    def specs(self) -> Iterator[TensorSpec]:
        """Every tensor that gets a table."""
        return itertools.chain(self.capture.tensors, (spec for spec, _ in self.capture.weights))

    def summary(self) -> str:
        """Return the comparison of the values of samples in other batches as one line."""
        if not self.compared_sizes:
            return "whether samples depend on their batch was not measured"
        found = list(self.invariance.values())
        sizes = " and ".join(map(str, self.compared_sizes))
        return (
            f"the first {len(self._first)} samples in batches of {sizes}: {found.count('bitwise')} "
            f"tensors bit-for-bit identical, {found.count('rounding')} equal up to rounding, "
            f"{found.count('none')} different, {found.count(None)} random or counted"
        )

    def check_size(self, rows: int) -> None:
        """Check that tables of `rows` samples are not too large, raise InputError otherwise."""
        settings = self.settings
        check_size(self.specs, rows, settings.format, settings.capture.max_bytes, settings.times)

    def bytes_of_tables(self) -> int:
        """Return the estimated size of all tables."""
        rows, settings = self.rows or 1, self.settings
        once = sum(estimated_bytes(spec, rows, settings.format) for spec in self.specs)
        return once * settings.times

    def __iter__(self) -> Iterator[tuple[Batch, list[np.ndarray | None]]]:
        """Yield every batch with the values of ``capture.tensors`` for its samples.

        The values of a tensor are ``None`` once it was found to fit no table.
        """
        shown = 0
        for batch in itertools.chain([self._first], self._batches):
            arrays = self._captured(batch, shown) if shown else self.first
            count = len(batch.samples)
            shown += count
            if self.rows is None:
                self.check_size(shown)
            yield batch, [array if array is None else array[:count] for array in arrays]
            del arrays  # their memory is reused for the next ones if nothing else refers to them

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
            self._shown(first, 0),
            len(first),
            self._more,
            fixed=has_fixed_batches(self.model),
        )

    def _find_samples(self) -> None:
        """Leave out tensors whose first axis has the length of the batch but is no sample axis."""
        reasons = self._comparison().findings().reasons
        self.capture.leave_out(
            {spec: reason for spec, reason in reasons.items() if spec in self.capture.fixed_axes}
        )
        self.first = list(self.capture.first)

    def _compare(self, given: int) -> None:
        """Measure whether values depend on the batch, and choose the batch size accordingly."""
        findings = self._comparison().findings()
        if self.batch_size > given and (findings.mixed_by or findings.reasons):
            tensors, filled, size = self.capture.tensors, self.capture.first, self.batch_size
            self._regroup(given)
            self.capture.begin(self._shown(self._first, 0))
            if findings.reasons:  # which must be about the batch as given
                findings = self._comparison().findings()
            else:
                before = dict(zip(tensors, filled, strict=True))
                findings = findings.of_smaller(self.capture, before, size)
        self.capture.leave_out(findings.reasons)
        self.first = list(self.capture.first)
        self.invariance, self.mixed_by = findings.invariance, findings.mixed_by
        self.compared_sizes = findings.sizes
        if self.mixed_by is not None:
            self._pad = not findings.any_size
            if self._more:
                warnings.warn(
                    f"the output of '{self.mixed_by}' for a sample depends on the samples beside "
                    f"it: batches have {self.batch_size} samples, in the order of the probe",
                    UserWarning,
                    stacklevel=4,
                )

    def _enlarged(self, cost: int) -> Shown | None:
        """Return the first batch, filled up so that all samples are rounded alike."""
        size = full_size(len(self._first), cost)
        if size == len(self._first):
            return None
        self._regroup(size)
        return self._shown(self._first, 0)

    def _regroup(self, size: int) -> None:
        """Change the batch size, starting with the first batch."""
        held = len(self._first)
        self._batches = grouped(itertools.chain([self._first], self._batches), size)
        self.batch_size = size
        self._first = next(self._batches)
        count = len(self._first)
        if self.rows is None:
            self._more = held > size or (self._more and count == size)
        else:
            self._more = self.rows > count

    def _captured(self, batch: Batch, row: int) -> list[np.ndarray | None]:
        return self.capture(self._shown(batch, row))

    def _shown(self, batch: Batch, row: int) -> Shown:
        """Return the batch that begins at a row as it is shown, with targets if they are needed."""
        targets = None if self._targets is None else self._targets.of(batch, row)
        shown = Shown(batch.inputs, targets)
        return shown.padded(self.batch_size) if self._pad else shown


def _cast_inputs(model: keras.Model, probe: Probe) -> list[InputSpec]:
    """Return the inputs of a model that declares none, in the dtype to which Keras casts them."""
    cast = [spec for spec in probe.inputs if "float" in spec.dtype] if model.autocast else []
    return [replace(spec, dtype=str(model.compute_dtype)) for spec in cast]
