"""Shows the probe without and with interventions, and compares what the model returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from runner.capture.capture import Capture
from runner.config.capture_config import CaptureConfig
from runner.errors import InputError, RunError
from runner.intervening.edits import Edits
from runner.intervening.effect import Effect, Part, Unchanged, keys_of
from runner.intervening.losses import Losses
from runner.probe.batch import Batch
from runner.record.effect_record import EffectRecord
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.tensors import Kind

Outputs = list[np.ndarray]


class Effects:
    """The effects of interventions on the outputs of a model.

    Parameters
    ----------
    plain
        A showing of the probe without interventions, which captures what the model returns.
    edits
        What is done.
    """

    notes: Sequence[str] = ()

    def __init__(self, plain: Showing, edits: Edits) -> None:
        self._plain = plain
        self._changed: Showing | None = None
        self.renew(edits)

    def renew(self, edits: Edits) -> None:
        """Start again with other edits of the same form, and the current state of the model."""
        self._edits = edits
        if self._changed is not None:
            self._changed.renew(edits)
        self.parts: list[tuple[Part, EffectRecord]] = []

    def records(self) -> tuple[EffectRecord, ...]:
        """Show the probe once, and return the effect on each output with values of its own."""
        plain, changed, settings = self._plain, self._changed, self._plain.settings
        if changed is None:
            alone = outputs_alone(settings)
            changed = Showing(plain.model, plain.probe, alone, self._edits, like=plain)
            self._changed = changed
        effects = [Effect(name) for name in names_of(self._plain.capture)]
        losses = Losses(self._plain, 2)
        row = 0
        with self._plain.capture.library.exact():
            for batch, before, after in self._shown(changed):
                keys = keys_of(batch, settings.effects_by)
                for effect, one, other in zip(effects, before, after, strict=True):
                    units = settings.logit_difference
                    effect.add(Unchanged(one, batch.labels, keys=keys, logits=units), other)
                targets = losses.targets(batch, row)
                losses.add(0, targets, before)
                losses.add(1, targets, after)
                row += len(batch.samples)
        self.parts = [part for effect in effects for part in effect.part_records()]
        return tuple(effect.record(losses.mean(0), losses.mean(1)) for effect in effects)

    def _shown(self, changed: Showing) -> Iterator[tuple[Batch, Outputs, Outputs]]:
        """Yield samples with the outputs without and with interventions."""
        plain = self._plain
        for (batch, before), (_, after) in zip(plain, changed, strict=True):
            yield batch, returned_in(plain.capture, before), returned_in(changed.capture, after)


def outputs_alone(
    settings: Settings, include: Sequence[str] = (), kinds: Sequence[Kind] = ("activation",)
) -> Settings:
    """Return settings to capture what the model returns, and layers, without interventions."""
    capture = CaptureConfig(
        include=[*include],
        kinds=[*kinds],
        batch_size=settings.capture.batch_size,
        training=settings.capture.training,
        max_bytes=2**62,  # nothing is written
    )
    return replace(settings, capture=capture, intervene={}, outputs=True)


def check_logits(capture: Capture, units: Sequence[int] | None) -> None:
    """Check that a model returns the units whose logits are compared, raise InputError otherwise.

    Raises
    ------
    InputError
        If none of its outputs has so many units.
    """
    shapes = [capture.tensors[at].shape for at in capture.returned]
    most = max((shape[-1] for shape in shapes if shape), default=1)
    if units is not None and max(units) >= most:
        raise InputError.of(
            "effects.logit_difference",
            f"{max(units)} out of range",
            f"the units of the model's output are 0 to {most - 1}",
        )


def names_of(capture: Capture) -> list[str]:
    """Return the names of what a model returns: those of the layers that return it, if known."""
    if len(capture.outputs) == len(capture.returned):
        return list(capture.outputs)
    return [capture.tensors[at].output or "output" for at in capture.returned]


def returned_in(capture: Capture, arrays: list[np.ndarray | None]) -> Outputs:
    """Return what the model returned, among the values of a batch.

    Raises
    ------
    RunError
        If it has another shape than in the first batch.
    """
    found = [array for at in capture.returned if (array := arrays[at]) is not None]
    if len(found) < len(capture.returned):
        raise RunError("an output of the model has another shape in a later batch")
    return found
