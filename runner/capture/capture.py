"""Captures the tensors of every layer of a model for given inputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from runner.capture.batches import Shown
from runner.capture.changing import Changes
from runner.capture.inventory import Inventory, Layer
from runner.capture.model_libraries import library_of
from runner.capture.selection import Selection
from runner.errors import RunError
from runner.tensors import TensorSpec


class Capture:
    """A model prepared for capturing every layer's output, batch by batch.

    The model is unchanged afterwards. Its library runs the forward passes, and carries state that
    changes from batch to batch (see `runner.capture.model_library.Passes`).

    Parameters
    ----------
    model
        Any model of a library in `runner.capture.model_libraries`.
    batch
        The first batch: a `Shown`, or its inputs alone. Later batches must have the same shapes.
    selection
        What to capture; by default everything of the default kinds.
    training
        Whether the layers run as in training.
    enlarged
        Takes the estimated cost of a pass per sample, and returns a larger
        first batch, or ``None``. That batch is shown instead, unless the
        model cannot be called on it or a value has another number of rows.
    loss
        The loss with which gradients are computed; ``None`` for the model's own.
    changes
        What is done to the tensors that calls return, with the patches of the batches.

    Attributes
    ----------
    library : Library
        The functions of the model's library.
    tensors : tuple[TensorSpec, ...]
        The captured tensors with one row per sample, in call order.
    lost : dict[TensorSpec, str]
        The tensors of `tensors` that a later batch showed to fit no table, each with the
        reason.
    weights : tuple[tuple[TensorSpec, Any], ...]
        The selected weights of every layer with their variables, in call order.
    aliases : tuple[tuple[TensorSpec, TensorSpec], ...]
        Selected tensors that are identical to one of `tensors` or `weights`, each with
        that one.
    layers : tuple[Layer, ...]
        Every layer of the model in call order, followed by layers that are never called.
    rows : int
        Number of samples in the first batch as shown.
    first : list[numpy.ndarray]
        The values for the first batch, in the order of `tensors`.
    fixed_axes : frozenset[TensorSpec]
        The tensors of `tensors` whose first axis has the length of the first batch fixed by
        the model's code: it may or may not be the sample axis.
    cost : int
        The estimated cost of a pass per sample (see `runner.keras_models.cost`).
    varies : bool
        Whether showing a batch twice may give different values.
    outputs : tuple[str, ...]
        Names of the activations that the model itself returns.
    heads : tuple[Heads, ...]
        The heads of all calls of attention layers.
    refused_heads : tuple[tuple[TensorSpec, str], ...]
        The layers whose heads cannot be changed, and the reason in words.
    eager_because : str or None
        Why the forward pass could not be traced.

    Raises
    ------
    InputError
        If a pattern of the selection matches no layer, or an index of the inputs lies
        outside an embedding.
    RunError
        If the model cannot be called on the inputs; names the layer where it failed.
    """

    def __init__(
        self,
        model: Any,
        batch: Any,
        selection: Selection | None = None,
        *,
        training: bool = False,
        enlarged: Callable[[int], Shown | None] | None = None,
        loss: Any = None,
        changes: Changes | None = None,
    ) -> None:
        self.model = model
        self._selection = selection or Selection()
        batch = Shown.of(batch)
        self.library = library_of(model)
        self._passes = self.library.passes_of(
            model, batch, self._selection, training=training, loss=loss, changes=changes
        )
        self._expected: list[tuple[str, str]] | None = None
        self._begin(*self._first_pass(batch, enlarged))

    def begin(self, batch: Shown) -> None:
        """Show another first batch, before any tensor was left out."""
        self.rewind()
        self._begin(batch.samples, *self._run(batch))

    def _first_pass(
        self, batch: Shown, enlarged: Callable[[int], Shown | None] | None
    ) -> tuple[int, Inventory, list[np.ndarray]]:
        passed = None
        if self._passes.cost is None:  # only a pass tells its cost
            passed = self._run(batch)
            self._expect(passed[0])
        larger = None if enlarged is None else enlarged(self.cost)
        if larger is not None:
            passed, rows = None, larger.samples
            self.rewind()
            with contextlib.suppress(RunError):
                found, arrays = self._run(larger)
                if all(array.shape[:1] == (rows,) for array in arrays):
                    return rows, found, arrays
            self.rewind()
        return batch.samples, *(passed or self._run(batch))

    def _begin(self, rows: int, found: Inventory, arrays: list[np.ndarray]) -> None:
        self._expect(found)
        self._selection.check(found.candidates, found.refused)
        self.rows = rows
        self._inventory = found
        self._places = list(range(len(found.tensors)))
        self._specs = [
            dataclasses.replace(spec, shape=array.shape[1:], dtype=array.dtype.name)
            for spec, array in zip(found.tensors, arrays, strict=True)
        ]
        self.first: list[np.ndarray] = arrays
        self.lost: dict[TensorSpec, str] = {}
        self.weights: tuple[tuple[TensorSpec, Any], ...] = tuple(found.weights)
        self.outputs = found.outputs
        self.heads = tuple(found.heads)
        self.refused_heads = tuple(found.refused_heads)
        self.plain_variables = tuple(found.plain_variables)
        self.leave_out(
            {
                spec: f"no sample axis: {rows} samples gave an output of {array.shape}"
                for spec, array in zip(self._specs, arrays, strict=True)
                if array.shape[:1] != (rows,)
            }
        )
        fixed = self._passes.fixed_axes
        self.fixed_axes = frozenset(self._specs[place] for place in self._places if place in fixed)

    def _expect(self, found: Inventory) -> None:
        self._expected = [(spec.kind, spec.name) for spec in found.tensors]

    def __call__(self, batch: Any) -> list[np.ndarray | None]:
        """Show the model one more batch.

        Parameters
        ----------
        batch
            A `Shown`, or its inputs alone, in the same structure as the first one.

        Returns
        -------
        list[numpy.ndarray or None]
            The values of `tensors`, each of shape (sample, ...): views of the framework's
            memory, not to be written to. ``None`` for tensors that are lost, with this batch or an
            earlier one.

        Raises
        ------
        RunError
            If the model fails, or calls other layers than for the first batch.
        """
        batch = Shown.of(batch)
        rows, arrays = batch.samples, self._run(batch)[1]
        found: list[np.ndarray | None] = []
        for place, spec in zip(self._places, self.tensors, strict=True):
            array = arrays[place]
            if array.shape != (rows, *spec.shape) and spec not in self.lost:
                self.lost[spec] = _misfit(spec, array, rows)
                self._inventory.leave_out(place, self.lost[spec])
            found.append(None if spec in self.lost else array)
        return found

    def once_more(self, batch: Shown) -> list[np.ndarray]:
        """Show the model a batch of any size, without checking the shapes of the values.

        Returns
        -------
        list[numpy.ndarray]
            The values of `tensors`, of any shape.
        """
        arrays = self._run(batch)[1]
        return [arrays[place] for place in self._places]

    def aside(self) -> AbstractContextManager[None]:
        """Show batches inside the scope without affecting later ones."""
        return self._passes.aside()

    def held(self, batch: Shown) -> Shown:
        """Return a batch in the memory of the framework, to show it or parts of it often."""
        return self._passes.held(batch)

    def leave_out(self, reasons: dict[TensorSpec, str]) -> None:
        """Stop capturing some of `tensors`.

        Parameters
        ----------
        reasons
            The tensors to leave out, each with the reason.
        """
        for place in self._places:
            if self._specs[place] in reasons:
                self._inventory.leave_out(place, reasons[self._specs[place]])
        self._forget({*reasons})

    def _forget(self, specs: set[TensorSpec]) -> None:
        kept = [spec not in specs for spec in (self._specs[place] for place in self._places)]
        self.first = [array for array, keep in zip(self.first, kept, strict=True) if keep]
        self._places = [place for place, keep in zip(self._places, kept, strict=True) if keep]
        self.tensors: tuple[TensorSpec, ...] = tuple(self._specs[p] for p in self._places)

    def drop_lost(self) -> None:
        """Stop capturing the tensors that were lost."""
        self._forget({*self.lost})
        self.lost = {}

    @property
    def returned(self) -> tuple[int, ...]:
        """Places in `tensors` of what the model itself returns, if the selection asks for it."""
        kept = {place: at for at, place in enumerate(self._places)}
        return tuple(kept[place] for place in self._inventory.returned if place in kept)

    @property
    def aliases(self) -> tuple[tuple[TensorSpec, TensorSpec], ...]:
        """Selected tensors that are identical to one of `tensors` or `weights`, with that one."""
        shaped = [
            (
                dataclasses.replace(
                    alias, shape=self._specs[place].shape, dtype=self._specs[place].dtype
                ),
                self._specs[place],
            )
            for alias, place in self._inventory.aliases
            if place in self._places and self._specs[place] not in self.lost
        ]
        return (*shaped, *self._inventory.weight_aliases)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer of the model in call order, followed by layers that are never called."""
        return tuple(self._inventory.layers.values())

    @property
    def eager_because(self) -> str | None:
        """Why the forward pass could not be traced."""
        return self._passes.eager_because

    @property
    def cost(self) -> int:
        """The estimated cost of a pass per sample."""
        return self._passes.cost or 0

    @property
    def sample_bytes(self) -> int | None:
        """The size of the largest result of the pass per sample; ``None`` if it is not known."""
        return self._passes.sample_bytes

    @property
    def carries_state(self) -> bool:
        """Whether the last pass changed a value that the next pass reads."""
        return self._passes.carries_state

    @property
    def varies(self) -> bool:
        """Whether showing a batch twice may give different values."""
        return self._passes.varies

    @property
    def draws_outside(self) -> bool:
        """Whether a random stream outside the model changes its values."""
        return self._passes.draws_outside

    def refresh(self) -> None:
        """Reload the model's current state; the state carried from pass to pass is discarded."""
        self._passes.refresh()

    def rewind(self) -> None:
        """Return to the state that the model had at the last `refresh`."""
        self._passes.rewind()

    def _run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        inventory, arrays = self._passes.run(batch)
        found = [(spec.kind, spec.name) for spec in inventory.tensors]
        if self._expected is not None and found != self._expected:
            raise RunError(
                "the model called other layers than for the first batch: "
                + ", ".join(sorted({name for _, name in {*found} ^ {*self._expected}}))
            )
        return inventory, arrays


def _misfit(spec: TensorSpec, array: np.ndarray, rows: int) -> str:
    """Describe why a tensor of a later batch fits no table."""
    if array.shape[:1] != (rows,):
        return "no sample axis: the number of its rows depends on the samples that are shown"
    return (
        f"no table: a sample has the shape {array.shape[1:]} in one batch, "
        f"and {spec.shape} in the first"
    )
