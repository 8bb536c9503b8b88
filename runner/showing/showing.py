"""Shows a probe to a model, batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from runner.caller_warnings import warn_caller
from runner.capture.batches import Shown, full_size
from runner.capture.capture import Capture
from runner.capture.invariance import Comparison
from runner.capture.model_libraries import library_of
from runner.capture.model_library import Targets, has_fixed_batches
from runner.capture.selection import Selection
from runner.config.effects_config import By
from runner.errors import CallError, InputError
from runner.intervening.edits import Edits
from runner.preflight import check_size, estimated_bytes
from runner.probe.batch import Batch, is_text, named_inputs
from runner.probe.fitting import check_numbers
from runner.probe.probe import Probe
from runner.record.batch_dependence import batch_warning
from runner.record.effect_record import EffectRecord
from runner.showing.division import Division
from runner.showing.settings import Settings
from runner.sizes import check_memory
from runner.tensors import Invariance, TensorSpec


class MeasuredEffects(Protocol):
    """The effects of edits on what a model returns (see `runner.intervening.effects`)."""

    def records(self) -> tuple[EffectRecord, ...]:
        """Show the probe once, and return the effect on each output."""

    @property
    def parts(self) -> list[tuple[tuple[By, str], EffectRecord]]:
        """The effects on each class or sample, once those on the whole probe are known."""

    @property
    def notes(self) -> Sequence[str]:
        """How they were measured, for the run's log, once they are known."""


class Showing:
    """One showing of a probe to a model.

    Its creation shows the first batch: everything about the tables except their values is then
    known, and nothing is written. The batch is filled up so that all samples are rounded alike,
    and its samples are shown once more in other batches. If their values do not stay the same,
    the batch is shown again as given, and so are all later ones.

    Parameters
    ----------
    model, probe, settings
        The model, the probe, and how it is shown.
    edits
        What is done to the outputs of layers; see `runner.intervening.resolving`.
    like
        A showing of the same probe to the same model, whose batches, and what was measured with
        them, are used again.

    Attributes
    ----------
    model, settings, edits
        As given.
    probe, whole : Probe
        What is shown, which may be a part of the probe, and the probe as given.
    effects : MeasuredEffects or None
        The effects of the edits, once they are asked for; they hold their own traced models.
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
    left_out : dict[TensorSpec, str]
        The tensors that this comparison showed to fit no table, each with the reason.
    invariance : dict[TensorSpec, str or None]
        How the values of each tensor compare between those batches (see
        `runner.capture.invariance.Findings`).
    is_padded : bool
        Whether batches are filled up to `batch_size`.
    mixed_by : str or None
        Name of the first tensor whose values for a sample depend on the other samples of its
        batch; if there is one, no batch is padded.

    Raises
    ------
    InputError
        If the probe is empty, the selection matches nothing in the model, or the tables would
        be too large.
    CallError
        If the model cannot be called on the probe.
    """

    def __init__(
        self,
        model: Any,
        probe: Probe,
        settings: Settings,
        edits: Edits | None = None,
        *,
        like: Showing | None = None,
    ) -> None:
        self._library = library = library_of(model)
        self.whole = probe = check_numbers(probe, library.number_types(model, probe))
        if (part := settings.part) is not None:
            probe = probe.part(part.start, part.rows)
        self.rows = probe.rows
        fixed = library.fixed_batch(model)
        known = _known_size(settings, like)
        asked = fixed or known or settings.capture.batch_size
        self.batch_size: int = asked if known or self.rows is None else min(asked, self.rows)
        self.model, self.probe, self.settings, self.edits = model, probe, settings, edits
        self.effects: MeasuredEffects | None = None
        self.mixed_by: str | None = None if like is None else like.mixed_by
        self.compared_sizes: tuple[int, ...] = ()
        self.invariance: dict[TensorSpec, Invariance | None] = {}
        self.left_out: dict[TensorSpec, str] = {}
        # In training a sample changes the values of the others: none is added.
        self.is_padded: bool = not settings.capture.training if like is None else like.is_padded
        self._begin()
        self._targets: Targets | None = None
        if "gradient" in settings.capture.kinds:
            self._targets = library.targets_of(model, probe, self._first.inputs, settings.loss)
        self.batch_size = fixed or known or len(self._first)  # less, if the length was unknown
        self._more = len(self._first) == asked if self.rows is None else self.rows > asked
        given = self.batch_size
        if fixed:
            for name, array in named_inputs(self._first.inputs).items():
                # Padded, it is held as array and as tensor, and so is the batch it is compared to.
                check_memory(name, array.nbytes * fixed // len(array), copies=4)
        shown = self._shown(self._first, 0)
        can_grow = known is None and self.is_padded and not self._has_fixed_batches()
        try:
            self.capture = Capture(
                model,
                shown,
                replace(Selection.of(settings.capture), outputs=settings.outputs),
                training=settings.capture.training,
                enlarged=self._enlarged if can_grow else None,
                loss=settings.loss,
                changes=None if edits is None else edits.changes,
            )
        except CallError as error:
            advice = library.advice(error, model, shown.inputs, self.rows)
            if not advice:
                raise
            raise CallError(f"{error}; {advice}") from error
        if self.capture.rows < self.batch_size:
            self._regroup(given)
        self.first: list[Any] = list(self.capture.first)
        self._measure(given, like)
        self.check_size(self.rows or len(self._first.samples))

    def following(self) -> Iterator[Batch]:
        """Yield the samples of the whole probe that follow those shown of a part, in blocks."""
        part = self.settings.part
        return iter(()) if part is None else self.whole.blocks_from(part.start + part.rows)

    def renew(self, edits: Edits | None = None) -> None:
        """Start again at the first sample, with the current state of the model.

        Parameters
        ----------
        edits
            What is done to the outputs of layers from now on: edits of the same form as before,
            which stay if ``None``.
        """
        self.edits = edits or self.edits
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
        limit, times = settings.capture.max_bytes, settings.times
        check_size(self.specs, rows, settings.format, limit, times, self.id_bytes)

    def bytes_of_tables(self) -> int:
        """Return the estimated size of all tables."""
        rows, settings = self.rows or 1, self.settings
        once = sum(
            estimated_bytes(spec, rows, settings.format, self.id_bytes) for spec in self.specs
        )
        return once * settings.times

    @property
    def id_bytes(self) -> int:
        """The size of a sample id in a table in bytes, as those of the first batch tell."""
        ids = self._first.samples
        if not is_text(ids):
            return ids.itemsize
        return 4 + sum(len(sample.encode()) for sample in ids) // len(ids)

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
        self._first: Batch = first

    def _has_fixed_batches(self) -> bool:
        return has_fixed_batches(self._library, self.model)

    def _comparison(self) -> Comparison:
        first = self._first
        return Comparison(
            self.capture,
            self._shown(first, 0),
            len(first),
            self._more,
            fixed=self._has_fixed_batches(),
        )

    def _measure(self, given: int, like: Showing | None) -> None:
        """Show the first samples in other batches, unless layers keep a state, or that was done."""
        if self.settings.part is not None:
            self._take_over(self.settings.part.division)
            return
        if not self.capture.tensors or self._library.has_states(self.model):
            return
        if like is None and not self.settings.capture.training:
            self._compare(given)
        elif self.capture.fixed_axes:
            self._find_samples()

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
        self.first, self.left_out = list(self.capture.first), findings.reasons
        self.invariance, self.mixed_by = findings.invariance, findings.mixed_by
        self.compared_sizes = findings.sizes
        if self.mixed_by is not None:
            self.is_padded = not findings.any_size
            if self._more:
                warn_caller(batch_warning(self.mixed_by, self.batch_size))

    def _take_over(self, division: Division) -> None:
        """Take over what was measured before the run was made in parts."""
        known = {(one.kind, one.name): one for one in division.measured}
        found = {spec: known[spec.kind, spec.name] for spec in self.capture.tensors}
        self.capture.leave_out({spec: one.reason for spec, one in found.items() if one.reason})
        self.first = list(self.capture.first)
        self.invariance = {spec: found[spec].invariance for spec in self.capture.tensors}
        self.compared_sizes = division.compared_sizes

    def _enlarged(self, cost: int) -> Shown | None:
        """Return the first batch, filled up so that all samples are rounded alike."""
        size = full_size(len(self._first), cost, self._library.lanes())
        if size == len(self._first):
            return None
        self._regroup(size)
        return self._shown(self._first, 0)

    def _regroup(self, size: int) -> None:
        """Change the batch size, starting with the first batch."""
        held = len(self._first)
        self._batches.put_back(self._first)
        self._batches.size = self.batch_size = size
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
        row += 0 if self.settings.part is None else self.settings.part.start
        targets = None if self._targets is None else self._targets.of(batch, row)
        patches = None if self.edits is None else self.edits.patches(row, batch.samples)
        shown = Shown(batch.inputs, targets, patches)
        return shown.padded(self.batch_size) if self.is_padded else shown


def _known_size(settings: Settings, like: Showing | None) -> int | None:
    """Return the size of the batches if it was measured before."""
    if settings.part is not None:
        return settings.part.division.batch_size
    return None if like is None else like.batch_size
