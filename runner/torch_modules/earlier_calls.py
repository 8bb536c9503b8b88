"""Calls that come before a change: in later passes over a batch, they are not made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree

from runner.capture.call import Call, Observer, mapped
from runner.capture.changing import Changes
from runner.torch_modules.keeping import Key
from runner.torch_modules.module_calls import copied

Place = tuple[str, int]
"""A call: the path of its layer, and its index."""


class EarlierCalls:
    """What the calls before a change returned, to return it again for the same batch.

    That is only done in passes that leave everything as it was, and after one pass was made in both
    ways with the same result, bit for bit.

    Parameters
    ----------
    changes
        What is changed in each pass.

    Attributes
    ----------
    returned : Mapping[Place, Any]
        What calls returned that are not made again; the calls inside them are not made either.
    inside : frozenset[str]
        The indexed paths of these calls.
    is_checked : bool
        Whether a pass was made in both ways.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._held: Any = None
        self._has_failed = False
        self.is_checked = False
        self.forget()

    def hold(self, inputs: Any) -> Any:
        """Return the inputs of a batch, as the passes are given them that are over this batch."""
        self._held = mapped(lambda array: np.asarray(array)[:], inputs)
        self.forget()
        return self._held

    def forget(self) -> None:
        """Make all calls in the next pass."""
        self.returned: Mapping[Place, Any] = {}
        self.inside: frozenset[str] = frozenset()

    def give_up(self) -> None:
        """Make all calls in every pass."""
        self._has_failed = True
        self.forget()

    def observer(self, inputs: Any) -> Observing | None:
        """Return an observer of the next pass, if it is the first one over a held batch."""
        is_first = self._held is not None and inputs is self._held and not self.returned
        return None if self._has_failed or not is_first else Observing(self._changes)

    def known_for(self, inputs: Any) -> Mapping[Place, Any]:
        """Return what calls return again in a pass over some inputs."""
        return self.returned if inputs is self._held else {}

    def learn(self, observed: Observing, calls: Sequence[Call], keys: set[Key]) -> None:
        """Take over what a pass showed.

        Parameters
        ----------
        observed
            The observer of the pass.
        calls
            All its calls.
        keys
            The tensors that are kept.
        """
        inside: dict[Call, list[Call]] = {}
        for call in calls:
            for above in _above(call):
                inside.setdefault(above, []).append(call)
        times = Counter(call.layer_path for call in calls)
        kept = {key[:2] for key in keys}
        found = {
            call: returned
            for call, returned in observed.returned.items()
            if all(
                times[one.layer_path] == 1 and (one.layer_path, one.index) not in kept
                for one in inside.get(call, [])  # what is numbered by the calls before it
            )
        }
        self.returned = {(call.layer_path, call.index): one for call, one in found.items()}
        self.inside = frozenset(one.indexed for call in found for one in inside.get(call, []))


class Observing(Observer):
    """Copies what the calls before a change return, but for those inside other such calls.

    Parameters
    ----------
    changes
        What is changed.

    Attributes
    ----------
    returned : dict[Call, Any]
        The copies.
    """

    def __init__(self, changes: Changes) -> None:
        self._of_inputs = {one[:2] for one in changes.of_outputs if one.kind == "input"}
        self._of_outputs = {one[:2] for one in changes.of_outputs} - self._of_inputs
        self._is_over = False
        self._below: dict[Call, list[Call]] = {}
        self.returned: dict[Call, Any] = {}

    def began(self, call: Call) -> None:
        """Note a call whose input is changed."""
        self._is_over |= (call.layer_path, call.index) in self._of_inputs

    def ended(self, call: Call, returned: Any) -> Any:
        """Copy what a call returned before the change."""
        if not self._is_over and call.parent is not None and _holds_tensors_alone(returned):
            for one in self._below.pop(call, []):
                del self.returned[one]
            self.returned[call] = copied(returned)
            self._below.setdefault(call.parent, []).append(call)
        self._is_over |= (call.layer_path, call.index) in self._of_outputs
        return returned


def _above(call: Call) -> Iterator[Call]:
    while call.parent is not None:
        call = call.parent
        yield call


def _holds_tensors_alone(returned: Any) -> bool:
    leaves = _pytree.tree_leaves(returned)
    return all(one is None or isinstance(one, torch.Tensor) for one in leaves)
