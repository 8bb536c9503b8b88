"""The gradient of a loss with respect to the outputs of layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from runner.capture.call import Call, Leaf, Observer, leaves
from runner.engines.engine import Gradients, Marks
from runner.keras_models.calls import watch
from runner.model.backend import framework
from runner.model.keras_internals import copy_notes, has_logits


def watch_with_gradients(
    forward: Callable[[], Any],
    before: Sequence[Observer],
    changing: Callable[[], Sequence[Observer]],
    after: Sequence[Observer],
    loss_of: Callable[[Any], Any],
    afresh: Callable[[], AbstractContextManager[Any]],
) -> list[Call]:
    """Run a forward pass as `watch` does, and set the gradients of a loss at every call.

    Parameters
    ----------
    forward
        As in `watch`.
    before, after
        Observers of the values that the layers return, and of the layers' own tensors, which
        the calls hold once the values that go on are other tensors.
    changing
        Returns observers that change the values that the layers return, for one run of the pass.
    loss_of
        Function that returns the loss, a single number, for the output of the model.
    afresh
        Returns a scope in which the pass begins again from the same state.
    """
    runs = itertools.count()

    def run(marks: Marks) -> tuple[Any, tuple[_Watched, list[Call]]]:
        watched = _Watched(marks)
        if next(runs) == 0:
            calls = watch(forward, [*before, *changing(), watched, *after])
            return loss_of(watched.output), (watched, calls)
        with afresh():
            calls = watch(forward, [*changing(), watched])
            return loss_of(watched.output), (watched, calls)

    (watched, calls), gradients = framework().differentiated(run)
    watched.set_gradients(gradients)
    return calls


class _Watched(Observer):
    """Marks every layer's output, so that the gradient of a loss can be taken there.

    A layer may return its input tensor unchanged (Dropout outside training), and a tensor
    may be used in other places too. Its gradient would include them all. The value passed
    on from every call is therefore a new tensor, equal to the one that the layer returned.
    The calls keep the layers' own tensors, so that identical tensors stay identical.

    Parameters
    ----------
    marks
        Marks tensors of the pass.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._stands_for: dict[int, tuple[Any, Any]] = {}
        self._apart: list[tuple[Call, list[Leaf]]] = []
        self._returned: Any = None
        self._output: Any = None

    def began(self, call: Call) -> None:
        """Note the layers' own tensors as the inputs of the call."""
        call.inputs = self._own(call.inputs)

    def ended(self, call: Call, returned: Any) -> Any:
        """Return a new tensor for every output, except the model's own."""
        call.outputs = self._own(call.outputs)
        if call.parent is None:
            self._returned = returned
            return returned
        if call.loop is not None:
            return returned
        if any(self._marks.fits(tensor) for _, tensor in call.outputs):
            returned = keras.tree.map_structure(self._set_apart, returned)
        apart = leaves(returned)
        for _, tensor in apart:
            if self._marks.fits(tensor):  # also in a mapping unknown to Keras
                self._marks.mark(tensor)
        self._apart.append((call, apart))
        return returned

    @property
    def output(self) -> Any:
        """The model's output, for a loss.

        Keras computes a crossentropy from the logits of a softmax, which it finds by the
        operation that made its tensor.
        """
        if self._output is None:
            [(_, output)] = leaves(self._returned)
            own = self._stands_for.get(id(output), (None, output))[1]
            by_operation = framework().shows_logits(own) and not has_logits(own)
            self._output = own if by_operation else output
        return self._output

    def set_gradients(self, gradients: Gradients) -> None:
        """Set the gradients of every call with respect to its outputs."""
        sources = {
            id(tensor): tensor
            for _, apart in self._apart
            for _, tensor in (*apart, (None, self.output))
            if self._marks.fits(tensor)
        }
        found = dict(zip(sources, gradients.at([*sources.values()]), strict=True))
        returned = {id(own) for _, own in self._own(leaves(self._returned))}
        for call, apart in self._apart:
            for (place, own), (_, tensor) in zip(call.outputs, apart, strict=True):
                gradient = found.get(id(tensor))
                if gradient is None and own is self.output:
                    gradient = found.get(id(own))
                if gradient is not None:
                    call.gradients.append((place, gradient))
                else:
                    is_output = id(own) in returned
                    call.no_gradient[place] = self._why_none(own, gradients, is_output=is_output)

    def _own(self, tensors: list[Leaf]) -> list[Leaf]:
        return [(place, self._stands_for.get(id(t), (t, t))[1]) for place, t in tensors]

    def _set_apart(self, leaf: Any) -> Any:
        if not self._marks.fits(leaf):
            return leaf
        apart = self._marks.apart(leaf)
        copy_notes(apart, leaf)
        self._stands_for[id(apart)] = apart, self._stands_for.get(id(leaf), (leaf, leaf))[1]
        return apart

    def _why_none(self, own: Any, gradients: Gradients, *, is_output: bool) -> str:
        if not self._marks.fits(own):
            return "no gradient: its output is not a floating-point tensor of this graph"
        logits = has_logits(own) or framework().shows_logits(own)
        if is_output and logits:
            return "no gradient: the loss is computed from the logits before its activation"
        if not gradients.depends_on(own):
            return "no gradient: the loss does not depend on it"
        return "no gradient: none is passed back to it from the loss"
