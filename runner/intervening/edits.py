"""What is done to the outputs of layers, once it is known which outputs there are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.capture.arithmetic import LackingError
from runner.capture.changing import Change, ChangedTensors, Changes, Output
from runner.capture.heads import Heads
from runner.errors import InputError
from runner.intervening.action import Action
from runner.intervening.changed_output import ChangedOutput, Numbers
from runner.intervening.places import EACH
from runner.record.layer_record import ChangeRecord
from runner.tensors import TensorSpec, shape_text


@dataclass(frozen=True)
class ChangedHeads:
    """The changed heads of an attention layer.

    Attributes
    ----------
    numbers
        Their numbers.
    of
        All heads of the layer.
    """

    numbers: tuple[int, ...]
    of: Heads

    @property
    def count(self) -> int:
        """The number of all heads."""
        return self.of.count

    def changes(self, output: Output) -> bool:
        """Return whether an output is what the layer returns."""
        layer = Output.of(self.of.layer)
        same = output[:2] == layer[:2] and output.kind == layer.kind
        return same and output.place in (None, "0")  # the others are its scores


@dataclass(frozen=True, eq=False)
class Edit:
    """What one intervention does to one output.

    Attributes
    ----------
    output
        The output, and the intervention's pattern and units.
    action
        What is done.
    mask
        Which values are changed: boolean, of as many axes as a sample, each of length 1 or that of
        the sample's axis.
    numbers
        The numbers that the action takes.
    positions
        The changed positions; ``None`` for all.
    heads
        The changed heads of attention; ``None`` if an output is changed as it is returned.

    Raises
    ------
    InputError
        If numbers have not as many axes as a sample, each of length 1 or that of the sample's axis.
    """

    output: ChangedOutput
    action: Action
    mask: np.ndarray
    numbers: Numbers
    positions: tuple[int, ...] | None = None
    heads: ChangedHeads | None = None

    def __post_init__(self) -> None:
        sample = self.spec.shape
        for name, found in self.numbers.items():
            shape = () if callable(found) else np.shape(found)
            sizes = zip(shape, sample, strict=False)
            fits = len(shape) == len(sample) and all(size in (1, axis) for size, axis in sizes)
            if shape and not fits:
                raise InputError.of(
                    f"intervene.{self.pattern}",
                    f"the action's numbers '{name}' have shape {shape_text(shape)}, and a sample "
                    f"of '{self.spec.name}' has {shape_text(sample)}",
                    "give them as many axes, each of length 1 or that of the sample's axis",
                )

    @property
    def pattern(self) -> str:
        """The pattern that matched."""
        return self.output.pattern

    @property
    def spec(self) -> TensorSpec:
        """The output, as it is without interventions."""
        return self.output.spec

    @property
    def layer(self) -> str:
        """The name of the output; of heads, that of the attention layer."""
        return self.spec.name if self.heads is None else self.heads.of.name

    @property
    def form(self) -> Hashable:
        """Equal for edits whose passes differ in their patches alone."""
        shapes = [(name, None if callable(n) else np.shape(n)) for name, n in self.numbers.items()]
        each = tuple(
            places == EACH
            for places in (self.action.units, self.action.heads, self.action.positions)
        )
        return Output.of(self.spec), type(self.action), each, self.mask.shape, *shapes

    def record(self, output: Output) -> ChangeRecord | None:
        """Return what the record of a run says of an output; ``None`` if it is another one."""
        is_own, heads = output == Output.of(self.spec), self.heads
        if not is_own and (heads is None or not heads.changes(output)):
            return None
        units = self.output.units if is_own and output.kind == "activation" else None
        numbers = None if heads is None else heads.numbers
        return ChangeRecord(self.pattern, self.action.did, units, self.positions, numbers)

    def patches(self, number: int, row: int, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Return its patches for samples of the probe.

        Parameters
        ----------
        number
            Its number among all edits.
        row
            The row of the first sample.
        samples
            The sample ids, of shape (sample,).
        """
        patches = {_name(number, "mask"): np.repeat(self.mask[None], len(samples), axis=0)}
        for name, found in self.numbers.items():
            if callable(found):
                array = found(row, samples)
            else:
                axes = np.reshape(found, np.shape(found) or (1,) * self.mask.ndim)
                array = np.repeat(axes[None], len(samples), axis=0)
            patches[_name(number, name)] = array.astype(floats_of(self.spec))
        return patches

    def applied(
        self, number: int, tensor: Any, patches: Mapping[str, Any], tensors: ChangedTensors
    ) -> Any:
        """Return a tensor of the pass with this edit.

        Raises
        ------
        InputError
            If the library of the model does not have an operation of the action.
        """
        given = {name: tensors.like(patches[_name(number, name)], tensor) for name in self.numbers}
        try:
            new = self.action.changed(tensor, given, tensors.ops)
        except LackingError as error:
            message = f"'{self.action.name()}' {error}"
            raise InputError.of(f"intervene.{self.pattern}", message) from error
        return tensors.ops.where(patches[_name(number, "mask")], new, tensor)


class Edits:
    """All edits of a run, in the order in which they are applied to each output.

    Parameters
    ----------
    edits
        The edits.

    Attributes
    ----------
    edits : tuple[Edit, ...]
        As given.
    changes : Changes
        What a pass does with the patches.
    form : Hashable
        Equal for edits whose passes differ in their patches alone.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.edits = tuple(edits)
        self.form: Hashable = tuple(edit.form for edit in edits)
        by_output: dict[Output, list[int]] = {}
        for number, edit in enumerate(self.edits):
            by_output.setdefault(Output.of(edit.spec), []).append(number)
        self.changes = Changes({output: self._change(on) for output, on in by_output.items()})

    def patches(self, row: int, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Return the patches for samples of the probe that begin at a row, given their ids."""
        found: dict[str, np.ndarray] = {}
        for number, edit in enumerate(self.edits):
            found |= edit.patches(number, row, samples)
        return found

    def records(self, spec: TensorSpec) -> tuple[ChangeRecord, ...]:
        """Return what was done to a captured tensor, in order."""
        found = (edit.record(Output.of(spec)) for edit in self.edits)
        return tuple(record for record in found if record is not None)

    def _change(self, numbers: Sequence[int]) -> Change:
        def change(tensor: Any, patches: Mapping[str, Any], tensors: ChangedTensors) -> Any:
            for number in numbers:
                tensor = self.edits[number].applied(number, tensor, patches, tensors)
            return tensor

        return change


def floats_of(spec: TensorSpec) -> str:
    """Return the dtype in which the numbers for an output are passed."""
    return "float64" if spec.dtype == "float64" else "float32"


def _name(number: int, name: str) -> str:
    return f"{number}.{name}"
