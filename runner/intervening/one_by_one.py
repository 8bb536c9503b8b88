"""What a model returns if one of its outputs is changed in one way after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from runner.capture.batches import Shown
from runner.capture.changing import ChangedTensors, Output
from runner.errors import InputError
from runner.intervening import later_output
from runner.intervening.edits import Edit, floats_of
from runner.intervening.effects import Outputs
from runner.intervening.later_output import LaterOutput, Places, Shares
from runner.intervening.readers import Readers
from runner.intervening.remainder import Remainder
from runner.intervening.ways import Way, ways_of
from runner.probe.batch import Batch
from runner.showing.showing import Showing

# Fewer ways do not pay for the passes that look for a later output.
_MANY = 32

# Activations after the output that are looked at: those of an inverted residual block.
_FAR = 6


class OneByOne:
    """What a model returns if one of its outputs is changed in one way after the other.

    Units that no layer mixes until a later output are changed there: all calls up to it are made
    once for all units together. That is done for samples in which each unit of the later output
    was found to depend on the change of that unit alone, and the outputs of the model to be the
    same, bit for bit. Positions of a sequence are treated in the same way.

    Parameters
    ----------
    plain
        A showing of the probe without interventions.
    edit
        What is done to the output.

    Attributes
    ----------
    ways : list[Way]
        The ways to change it.
    """

    def __init__(self, plain: Showing, edit: Edit) -> None:
        self._plain = plain
        self._whole: Remainder | None = None
        self._later: LaterOutput | None = None
        self._places: Places | None = None
        self.renew(edit)

    def renew(self, edit: Edit) -> None:
        """Use another edit of the same form, and the current state of the model, from now on."""
        self._edit = edit
        self._moved = self._shown = 0  # samples
        self.ways: list[Way] = ways_of(edit)
        later = None if self._later is None else self._later.rest
        for rest in (self._whole, later):
            if rest is not None:
                rest.capture.refresh()

    @property
    def note(self) -> str | None:
        """Where it is changed, if that is a later output, or others are given to the pass."""
        if self._later is None:
            return None
        later, others = self._later.spec.name, len(self._later.others)
        given = f", given what {others} others returned" if others else ""
        return (
            f"'{self._edit.layer}' was changed in '{later}'{given}, for {self._moved} of "
            f"{self._shown} samples, with the same outputs, bit for bit"
        )

    def parts(
        self, batch: Batch, row: int, own: np.ndarray
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
        """
        count, patches = len(batch.samples), self._edit.patches(0, row, batch.samples)
        own = own.astype(floats_of(self._edit.spec), copy=False)
        shown = Shown(batch.inputs, None, {**patches, "own": own})
        if self._plain.is_padded:
            shown = shown.padded(self._plain.batch_size)
        whole = self._whole or self._begin(shown)
        for first in range(0, count, whole.size):
            part = slice(first, min(count, first + whole.size))
            some = shown
            if whole.size < shown.samples:
                rows = np.arange(first, first + whole.size)
                some = shown.taken(np.minimum(rows, shown.samples - 1))
            yield part, self._outputs(whole, some, part.stop - first)

    def _begin(self, shown: Shown) -> Remainder:
        """Trace the calls after the output, given the first batch."""
        edit, plain = self._edit, self._plain
        self._names, self._beside = list[str](), dict[str, list[str]]()
        if len(self.ways) >= _MANY and edit.spec.kind == "activation":
            self._places = Places.of(self.ways)
        if self._places is not None:
            readers = Readers(plain.capture.layers)
            self._names = [edit.spec.name, *readers.following(edit.spec.name, _FAR)]
            if plain.capture.eager_because is None:  # a compiled pass leaves out calls
                self._beside = {name: readers.beside(name) for name in self._names}

        def change(tensor: Any, patches: Mapping[str, Any], tensors: ChangedTensors) -> Any:
            return edit.applied(0, tensors.like(patches["own"], tensor), patches, tensors)

        def rest(names: Sequence[str]) -> Remainder:
            return Remainder(plain, edit.spec, change, shown, self.ways[0].mask, names)

        names = {*self._names}.union(*self._beside.values())
        try:
            found = rest(sorted(names) if len(names) > 1 else ())
        except InputError:  # what one of the calls returns cannot be captured
            found, names = rest(()), set()
        if len(names) < 2 or not found.is_divided:
            self._places = None
        self._whole = found
        return found

    def _outputs(self, whole: Remainder, shown: Shown, count: int) -> Iterator[Outputs]:
        """Return an iterator over the outputs of samples in each way."""
        masks, places = [way.mask for way in self.ways], self._places
        self._shown += count
        if places is not None:
            shares = Shares(whole, self._edit.spec, places, shown, masks)
            later = self._later or self._found(whole, shares, shown, places)
            if later is not None and (moved := later.moved(shares, shown)) is not None:
                self._later = later
                self._moved += count
                return later.rest.outputs(moved, places.each(later.spec), count)
            if self._later is None:
                self._places = None  # nor will there be one for other samples
        return whole.outputs(shown, masks, count)

    def _found(
        self, whole: Remainder, shares: Shares, shown: Shown, places: Places
    ) -> LaterOutput | None:
        """Return the last output in which each unit stands alone, and the calls after it."""
        by_name = {spec.name: spec for spec in whole.capture.tensors}
        specs = [by_name[name] for name in self._names if name in by_name]
        alone = [spec for spec in specs if shares.stands_alone(spec)]
        if not alone:
            return None
        spec = alone[-1]
        beside = [by_name[name] for name in self._beside.get(spec.name, ()) if name in by_name]
        others = {
            f"beside.{number}": one
            for number, one in enumerate(beside)
            if "float" in one.dtype and shares.is_untouched(one)
        }
        if spec.name == self._edit.spec.name and not others:
            return None
        moved = shown._replace(patches=shares.patches(spec, others))
        replaced = {Output.of(one): name for name, one in others.items()}
        mask = places.each(spec)[0]
        rest = Remainder(self._plain, spec, later_output.change, moved, mask, (), replaced)
        return LaterOutput(spec, others, rest)
