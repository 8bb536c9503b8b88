"""The calls of a model after one of its outputs, computed for many changes of it in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runner.capture.arithmetic import Arithmetic
from runner.capture.batches import Shown
from runner.capture.capture import Capture
from runner.capture.changing import Changes, Output
from runner.capture.model_library import has_fixed_batches
from runner.capture.selection import Selection
from runner.intervening.edits import Edit, floats_of
from runner.intervening.effects import Outputs, returned_in
from runner.probe.batch import Batch
from runner.showing.showing import Showing

# Bytes of the largest result in a pass: more of them leave the processor's caches.
_CACHED = 2**24


class Remainder:
    """The calls of a model that come after one of its outputs.

    The pass is given the output without interventions, and a mask of the values that change, so
    that a framework that compiles the pass does not compute the calls before it. If samples do not
    depend on each other, a pass takes as many as the processor's caches hold: a part of a batch,
    or a batch in several ways.

    Parameters
    ----------
    plain
        A showing of the probe without interventions.
    edit
        What is done to the output.
    """

    def __init__(self, plain: Showing, edit: Edit) -> None:
        self._plain = plain
        self._edit = edit
        self._capture: Capture | None = None
        self._size = 0  # samples of a part
        self._ways = 1  # in which a part is shown at once

    def renew(self, edit: Edit) -> None:
        """Use another edit of the same form, and the current state of the model, from now on."""
        self._edit = edit
        if self._capture is not None:
            self._capture.refresh()

    def parts(
        self, batch: Batch, row: int, own: np.ndarray, masks: Sequence[np.ndarray]
    ) -> Iterator[tuple[slice, Iterator[Outputs]]]:
        """Yield the samples of each part of a batch, with what the model returns for them.

        That is an iterator over the ways to change the output, which has to be used up before the
        next part.

        Parameters
        ----------
        batch
            The samples.
        row
            The row of the first of them.
        own
            The output without interventions, of shape (sample, ...).
        masks
            Which values change in each way: boolean, of as many axes as a sample.
        """
        count = len(batch.samples)
        patches = self._edit.patches(0, row, batch.samples)
        own = own.astype(floats_of(self._edit.spec), copy=False)
        shown = Shown(batch.inputs, None, {**patches, "own": own})
        if self._plain.is_padded:
            shown = shown.padded(self._plain.batch_size)
        capture = self._traced(shown, masks)
        if self._size == shown.samples and self._ways == 1:
            yield slice(count), self._one_by_one(capture, shown, masks, count)
            return
        for first in range(0, count, self._size):
            rows = np.minimum(np.arange(first, first + self._size), shown.samples - 1)
            part = slice(first, min(count, first + self._size))
            yield part, self._stacked(capture, shown.taken(rows), masks, part.stop - first)

    def _one_by_one(
        self, capture: Capture, shown: Shown, masks: Sequence[np.ndarray], count: int
    ) -> Iterator[Outputs]:
        """Yield the outputs of a batch, each computed from the state after the batch before."""
        held = capture.held(shown)
        for number, mask in enumerate(masks, 1):
            last = number == len(masks)
            with contextlib.nullcontext() if last else capture.aside():
                found = capture(self._masked(held, [mask]))
            yield [array[:count] for array in returned_in(capture, found)]

    def _stacked(
        self, capture: Capture, shown: Shown, masks: Sequence[np.ndarray], count: int
    ) -> Iterator[Outputs]:
        """Yield the outputs of samples, which are shown in several ways at once."""
        size = shown.samples
        held = capture.held(shown.taken(np.tile(np.arange(size), self._ways)))
        for at in range(0, len(masks), self._ways):
            some = [*masks[at : at + self._ways]]
            full = some + [some[-1]] * (self._ways - len(some))
            found = returned_in(capture, capture(self._masked(held, full)))
            for way in range(len(some)):
                yield [array[way * size : way * size + count] for array in found]

    def _masked(self, held: Shown, masks: Sequence[np.ndarray]) -> Shown:
        """Return samples with the masks of the ways in which they change, one after the other."""
        assert held.patches is not None
        mask = np.repeat(np.stack(masks), held.samples // len(masks), axis=0)
        return held._replace(patches={**held.patches, "0.mask": mask})

    def _traced(self, shown: Shown, masks: Sequence[np.ndarray]) -> Capture:
        """Return the traced pass; the first batch decides how many samples it takes at once."""
        if self._capture is not None:
            return self._capture
        edit = self._edit

        def change(tensor: Any, patches: Mapping[str, Any], arithmetic: Arithmetic) -> Any:
            return edit.applied(0, arithmetic.like(patches["own"], tensor), patches, arithmetic)

        plain = self._plain
        capture = self._capture = Capture(
            plain.model,
            self._masked(shown, masks[:1]),
            Selection(include=(), kinds=frozenset(("activation",)), outputs=True),
            training=plain.settings.capture.training,
            changes=Changes({Output.of(edit.spec): change}),
        )
        self._size = shown.samples
        fixed = has_fixed_batches(capture.library, plain.model)
        if not (fixed or capture.carries_state or plain.mixed_by is not None):
            self._divide(capture, shown.samples, len(masks))
        return capture

    def _divide(self, capture: Capture, samples: int, ways: int) -> None:
        """Choose how many samples a pass takes, in whole vectors of the processor."""
        lanes = capture.library.lanes()
        most = _CACHED // max(1, capture.sample_bytes) if capture.sample_bytes else samples
        if most >= samples:
            self._ways = min(ways, most // samples)
        elif samples % lanes == 0:
            self._size = min(samples, max(lanes, most // lanes * lanes))
