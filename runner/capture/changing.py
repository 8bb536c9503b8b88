"""Changes what the calls of a pass return, before it goes on to later calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from runner.capture.arithmetic import Arithmetic
from runner.capture.call import Call, Leaf, Observer
from runner.errors import RunError
from runner.tensors import Kind, TensorSpec


class Output(NamedTuple):
    """A tensor that a call returns, or one that it is given; the same in every pass.

    Attributes
    ----------
    layer_path
        Path of the layer.
    call
        Index of the call among those of the same path.
    place
        Its place in what the call returns; ``None`` for a plain tensor. Of what a call is given,
        only a single tensor can be changed.
    kind
        ``activation`` for what the call returns, ``input`` for what it is given.
    """

    layer_path: str
    call: int
    place: str | None
    kind: Kind = "activation"

    @classmethod
    def of(cls, spec: TensorSpec) -> Output:
        """Return the output that a captured tensor is."""
        return cls(spec.layer_path, spec.call or 0, spec.output, spec.kind)


Change = Callable[[Any, Mapping[str, Any], "ChangedTensors"], Any]
"""Takes a tensor that a call returned, the patches of the batch (see
`runner.capture.batches.Shown`) and the tensors of the pass; returns a tensor of the same shape and
dtype, which goes on instead."""


@dataclass(frozen=True)
class Changes:
    """What is done to the tensors that calls return.

    Values enter as patches of a batch, not as constants of the pass: a compiler would compute
    constants beforehand, and round otherwise.

    Attributes
    ----------
    of_outputs
        Output, or input, to what is done to it. Calls in the loop of a recurrent layer cannot be
        changed.
    recorded
        Whether a pass keeps the tensors as they were ``before`` their change or ``after`` it.
        Either way the changed ones go on to later calls.
    """

    of_outputs: Mapping[Output, Change]
    recorded: Literal["before", "after"] = "after"


@dataclass(frozen=True)
class Patched:
    """The change that puts a patch of the batch in the place of a tensor.

    Attributes
    ----------
    name
        The name of the patch.
    """

    name: str

    def __call__(self, tensor: Any, patches: Mapping[str, Any], tensors: ChangedTensors) -> Any:
        """Return the patch, in the dtype of the tensor."""
        return tensors.like(patches[self.name], tensor)


class ChangedTensors(Protocol):
    """The tensors of one pass, which a library of models knows how to replace."""

    @property
    def ops(self) -> Arithmetic:
        """The operations of the library."""

    def like(self, values: Any, tensor: Any) -> Any:
        """Return values in the dtype of a tensor, never the given tensor itself."""

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value of a call's outputs is a tensor."""

    def mapped(self, change: Callable[[Any], Any], structure: Any) -> Any:
        """Return a structure with a function applied to its tensors, in the order of its leaves."""

    def leaves(self, structure: Any) -> list[Leaf]:
        """Return the leaves of a structure, as a call holds them."""

    def take(self, changed: Any, own: Any, *, as_own: bool) -> None:
        """Take note of a tensor that goes on in place of another.

        Parameters
        ----------
        changed, own
            The tensor that goes on, and the one that the call returned.
        as_own
            Whether the inputs of later calls show it as the one that was returned.
        """

    def own(self, given: list[Leaf]) -> list[Leaf]:
        """Return the inputs of a call, with the tensors that others were taken as."""


class Changing(Observer):
    """Changes the tensors that calls return.

    Parameters
    ----------
    changes
        What is done.
    patches
        The patches of the batch.
    tensors
        The tensors of the pass.
    """

    def __init__(
        self, changes: Changes, patches: Mapping[str, Any] | None, tensors: ChangedTensors
    ) -> None:
        self._patches = patches or {}
        self._before = changes.recorded == "before"
        self._tensors = tensors
        self._changes: dict[tuple[str, int], dict[str | None, Change]] = {}
        self._of_inputs: dict[tuple[str, int], Change] = {}
        for output, change in changes.of_outputs.items():
            if output.kind == "input":
                self._of_inputs[output[:2]] = change
            else:
                self._changes.setdefault(output[:2], {})[output.place] = change

    def began(self, call: Call) -> None:
        """Change what a call is given, and show its inputs as they are to be recorded."""
        change = self._of_inputs.get((call.layer_path, call.index))
        if change is not None and call.parent is not None and call.loop is None:
            call.given = self._tensors.mapped(partial(self._changed, change), call.given)
            if not self._before:
                call.inputs = self._tensors.leaves(call.given)
        if self._before:
            call.inputs = self._tensors.own(call.inputs)

    def _changed(self, change: Change, tensor: Any) -> Any:
        new = change(tensor, self._patches, self._tensors)
        self._tensors.take(new, tensor, as_own=self._before)
        return new

    def ended(self, call: Call, returned: Any) -> Any:
        """Return what goes on in place of what a call returned."""
        changes = self._changes.get((call.layer_path, call.index))
        if changes is None or call.parent is None or call.loop is not None:
            return returned
        tensors = self._tensors
        places = [place for place, value in call.outputs if tensors.is_tensor(value)]
        waiting = iter(places)
        made = []

        def changed(tensor: Any) -> Any:
            place = next(waiting, None)
            if place not in changes:
                return tensor
            made.append(place)
            return self._changed(changes[place], tensor)

        result = tensors.mapped(changed, returned)
        if {*made} != {*changes}.intersection(places) or not made:
            raise RunError(
                f"'{call.layer_path}' returned a {type(returned).__name__}, in which no tensor can "
                "be changed"
            )
        if not self._before:
            call.outputs = tensors.leaves(result)
        return result
