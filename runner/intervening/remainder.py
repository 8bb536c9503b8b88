"""The calls of a model after one of its outputs, computed for many changes of it in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from runner.capture.batches import Shown, rounded_up
from runner.capture.capture import Capture
from runner.capture.changing import Change, Changes, Output, Patched
from runner.capture.model_library import has_fixed_batches
from runner.capture.selection import Selection
from runner.intervening.effects import Outputs, returned_in
from runner.showing.showing import Showing
from runner.tensors import TensorSpec

# Bytes of the largest result in a pass: more of them leave the processor's caches.
_CACHED = 2**24

# Bytes of the largest result up to which samples share a pass in several ways, and with it what
# each pass costs.
_SHARED = 2**22

# So many times 16 samples, of which batches mostly have some, fill vectors of 48.
_FULL = 3

MASK = "0.mask"
"""The name of the patch that says which values of the output change, by sample."""


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
    spec
        The output.
    change
        What is done to it, with the patches of the samples.
    shown
        Samples of the first batch, as many as there will be at most.
    mask
        Which values change in one of the ways: boolean, of as many axes as a sample.
    names
        Activations that are captured beside what the model returns.
    replaced
        Other outputs, each with the name of the patch that takes its place.

    Attributes
    ----------
    capture : Capture
        The traced pass.
    size : int
        The number of samples of a batch that a part of it holds at most.
    is_divided : bool
        Whether a pass may take other samples than those of a batch.
    """

    def __init__(
        self,
        plain: Showing,
        spec: TensorSpec,
        change: Change,
        shown: Shown,
        mask: np.ndarray,
        names: Sequence[str] = (),
        replaced: Mapping[Output, str] = MappingProxyType({}),
    ) -> None:
        others = {output: Patched(name) for output, name in replaced.items()}
        self.capture = Capture(
            plain.model,
            _masked(shown, np.repeat(mask[None], shown.samples, axis=0)),
            Selection(include=tuple(names), kinds=frozenset(("activation",)), outputs=True),
            training=plain.settings.capture.training,
            changes=Changes({**others, Output.of(spec): change}),
        )
        fixed = has_fixed_batches(self.capture.library, plain.model)
        stateful = self.capture.carries_state or plain.mixed_by is not None
        self.is_divided = not (fixed or stateful or plain.settings.capture.training)
        self._lanes = lanes = self.capture.library.lanes()
        self._each = self.capture.sample_bytes if self.is_divided else None
        self.size = shown.samples
        if self._each and self._each * self.size > _CACHED and self.size % lanes == 0:
            self.size = max(lanes, _CACHED // self._each // lanes * lanes)

    def values(self, shown: Shown, mask: np.ndarray) -> list[Any]:
        """Return the captured values of samples, given which values of each of them change."""
        return self.capture(_masked(shown, mask))

    def outputs(self, shown: Shown, masks: Sequence[np.ndarray], count: int) -> Iterator[Outputs]:
        """Yield what the model returns for the first of some samples in each way to change them.

        Parameters
        ----------
        shown
            The samples.
        masks
            Which values change in each way: boolean, of as many axes as a sample.
        count
            The number of samples that are wanted.
        """
        ways = min(len(masks), self._ways(count))
        if ways > 1:
            yield from self._stacked(shown, masks, count, ways)
        else:
            yield from self._one_by_one(shown, masks, count)

    def _ways(self, count: int) -> int:
        """Return in how many ways some samples are shown at once."""
        if not self._each:
            return 1
        size = self._each * count
        fills = count % self._lanes and size * _FULL <= 2 * _CACHED
        return max(_FULL if fills else 1, _SHARED // size)

    def _one_by_one(
        self, shown: Shown, masks: Sequence[np.ndarray], count: int
    ) -> Iterator[Outputs]:
        """Yield the outputs of samples, each computed from the state after the batch before."""
        capture, held = self.capture, self.capture.held(shown)
        for number, mask in enumerate(masks, 1):
            last = number == len(masks)
            with contextlib.nullcontext() if last else capture.aside():
                found = capture(_masked(held, np.repeat(mask[None], shown.samples, axis=0)))
            yield [array[:count] for array in returned_in(capture, found)]

    def _stacked(
        self, shown: Shown, masks: Sequence[np.ndarray], count: int, ways: int
    ) -> Iterator[Outputs]:
        """Yield the outputs of samples, which are shown in several ways at once."""
        capture, rows = self.capture, np.arange(rounded_up(ways * count, self._lanes))
        held = capture.held(shown.taken(rows % count))
        for at in range(0, len(masks), ways):
            some = np.stack(masks[at : at + ways])
            of_rows = some[np.minimum(rows // count, len(some) - 1)]
            found = returned_in(capture, capture(_masked(held, of_rows)))
            for first in range(0, len(some) * count, count):
                yield [array[first : first + count] for array in found]


def _masked(shown: Shown, mask: np.ndarray) -> Shown:
    """Return samples with which of their values change, of shape (sample, ...)."""
    return shown._replace(patches={**(shown.patches or {}), MASK: mask})
