"""The effects of changing the units, heads or positions of a layer one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from runner.capture.changing import Output
from runner.intervening.clean import Clean
from runner.intervening.edits import Edits
from runner.intervening.effect import Effect, Part, Unchanged, keys_of
from runner.intervening.effects import Outputs, names_of, returned_in
from runner.intervening.losses import Losses
from runner.intervening.one_by_one import OneByOne
from runner.probe.batch import Batch
from runner.record.effect_record import EffectRecord
from runner.showing.showing import Showing
from runner.tensors import TensorSpec

# Outputs that wait until their effects are computed, beside the next pass.
_WAITING = 8


class EachEffects:
    """The effects on a model's outputs if units, heads or positions are changed one at a time.

    The probe is shown once without interventions. For each batch, the rest of the model is then
    given what the layer returned, once for each way to change it.

    Parameters
    ----------
    plain
        A showing of the probe without interventions, which captures the layers and what the model
        returns.
    edits
        What is done to the layers, one edit for each output.
    """

    def __init__(self, plain: Showing, edits: Edits) -> None:
        self._plain = plain
        self._changes = [OneByOne(plain, edit) for edit in edits.edits]
        self.renew(edits)

    def renew(self, edits: Edits) -> None:
        """Start again with other edits of the same form, and the current state of the model."""
        self._edits = edits.edits
        for change, edit in zip(self._changes, self._edits, strict=True):
            change.renew(edit)
        self._cleans = [
            Clean(self._plain.capture, edit.action, f"intervene.{edit.pattern}")
            for edit in self._edits
        ]
        self.parts: list[tuple[Part, EffectRecord]] = []

    @property
    def notes(self) -> list[str]:
        """Where units or positions were changed, if that is a later output."""
        return [note for change in self._changes if (note := change.note) is not None]

    def records(self) -> tuple[EffectRecord, ...]:
        """Show the probe once, and return the effect of each way on each output."""
        capture = self._plain.capture
        effects = [
            [[Effect(name) for name in names_of(capture)] for _ in change.ways]
            for change in self._changes
        ]
        losses = Losses(self._plain, 1 + sum(map(len, effects)))
        row = 0
        with capture.library.exact(), ThreadPoolExecutor(1, "runner-effects") as thread:
            for batch, arrays in self._plain:
                before = returned_in(capture, arrays)
                targets = losses.targets(batch, row)
                losses.add(0, targets, before)
                first = 1
                for number, of_ways in enumerate(effects):
                    for rows, unchanged, shown in self._parts(number, batch, row, arrays):
                        part = None if targets is None else targets[rows]
                        waiting = deque[Future[None]]()
                        for way, after in enumerate(shown):
                            if len(waiting) == _WAITING:
                                waiting.popleft().result()
                            waiting.append(thread.submit(_add, of_ways[way], unchanged, after))
                            losses.add(first + way, part, after)
                        for added in waiting:
                            added.result()
                    first += len(of_ways)
                row += len(batch.samples)
        return tuple(self._told(effects, losses))

    def _parts(
        self, number: int, batch: Batch, row: int, arrays: list[np.ndarray | None]
    ) -> Iterator[tuple[slice, list[Unchanged], Iterator[Outputs]]]:
        """Yield parts of a batch with its outputs, and those in each way to change a layer."""
        edit, outputs = self._edits[number], returned_in(self._plain.capture, arrays)
        settings = self._plain.settings
        all_keys = keys_of(batch, settings.effects_by)
        cleans = self._cleans[number].of(row, batch.samples)
        own = self._own(edit.spec, arrays)
        for rows, shown in self._changes[number].parts(batch, row, own):
            labels = None if batch.labels is None else batch.labels[rows]
            keys = {by: array[rows] for by, array in all_keys.items()}
            unchanged = [
                Unchanged(
                    array[rows],
                    labels,
                    None if clean is None else clean[rows],
                    keys,
                    settings.logit_difference,
                )
                for array, clean in zip(outputs, cleans, strict=True)
            ]
            yield rows, unchanged, shown

    def _told(self, effects: list[list[list[Effect]]], losses: Losses) -> Iterator[EffectRecord]:
        number = 1
        for edit, change, of_ways in zip(self._edits, self._changes, effects, strict=True):
            for way, of_outputs in zip(change.ways, of_ways, strict=True):
                place = {
                    "layer": edit.layer,
                    "head": way.head,
                    "unit": way.unit,
                    "position": way.position,
                }
                for effect in of_outputs:
                    self.parts += effect.part_records(**place)
                    yield effect.record(losses.mean(0), losses.mean(number), **place)
                number += 1

    def _own(self, spec: TensorSpec, arrays: list[np.ndarray | None]) -> np.ndarray:
        """Return what a layer returned, among the values of a batch."""
        capture = self._plain.capture
        sources = {Output.of(alias): kept for alias, kept in capture.aliases}
        sources |= {Output.of(kept): kept for kept in capture.tensors}
        found = arrays[capture.tensors.index(sources[Output.of(spec)])]
        assert found is not None, "its shape was the same in each batch"
        return found


def _add(effects: Sequence[Effect], before: Sequence[Unchanged], after: Outputs) -> None:
    """Add what the model returned in one of the ways to the effects on its outputs."""
    for effect, one, other in zip(effects, before, after, strict=True):
        effect.add(one, other)
