"""Captures the tensors of every layer of a model for given inputs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from runner.capture.batches import Shown, has_fixed_batches
from runner.capture.failures import explained, in_one_line
from runner.capture.forward import Forward, Found
from runner.capture.inventory import Inventory, Layer
from runner.capture.selection import Selection
from runner.capture.state import State, first_call
from runner.engines.engine import Traced
from runner.errors import RunError, RunnerError
from runner.model.backend import framework
from runner.model.keras_internals import all_layers, global_generator
from runner.sizes import check_memory
from runner.tensors import TensorSpec


class Capture:
    """A model prepared for capturing every layer's output, batch by batch.

    The forward pass is traced once into a function that returns all selected tensors; if it
    cannot be traced, it runs eagerly. Either way the model is unchanged afterwards: Keras's
    variables are passed as arguments, and all other changes are undone (see
    `runner.capture.state`). State that changes is carried from batch to batch here.

    Parameters
    ----------
    model
        Any Keras model. One that is not built yet is built by calling it on the inputs.
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

    Attributes
    ----------
    tensors : tuple[TensorSpec, ...]
        The captured tensors with one row per sample, in call order.
    lost : dict[TensorSpec, str]
        The tensors of `tensors` that a later batch showed to fit no table, each with the
        reason.
    weights : tuple[tuple[TensorSpec, keras.Variable], ...]
        The selected weights of every layer, in call order.
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
        The estimated cost of a pass per sample (see `runner.capture.cost`).
    varies : bool
        Whether showing a batch twice may give different values.
    outputs : tuple[str, ...]
        Names of the activations that the model itself returns.
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
        model: keras.Model,
        batch: Any,
        selection: Selection | None = None,
        *,
        training: bool = False,
        enlarged: Callable[[int], Shown | None] | None = None,
    ) -> None:
        self.model = model
        self._selection = selection or Selection()
        batch = Shown.of(batch)
        if not all(layer.built for layer in all_layers(model)):
            with first_call(model), explained():
                model(batch.inputs, training=False)
        self._state = State(model)
        self._variables: list[keras.Variable] = model.variables  # grows when more are found
        forward = Forward(model, self._selection, training, batch.samples)
        self._forward = functools.partial(forward, self._variables)
        self._values: list[Any] = []
        self.refresh()
        self._expected: list[tuple[str, str]] | None = None
        self._traced, self.eager_because = self._trace(batch)
        if self._traced is not None:
            operation, size = self._traced.largest
            check_memory(_layer_of(model, operation), size, copies=2)  # two batches are compared
        self._begin(*self._first_pass(batch, enlarged))

    def begin(self, batch: Shown) -> None:
        """Show another first batch, before any tensor was left out."""
        self.refresh()
        self._begin(batch.samples, *self._run(batch))

    def _first_pass(
        self, batch: Shown, enlarged: Callable[[int], Shown | None] | None
    ) -> tuple[int, Inventory, list[np.ndarray]]:
        passed = None
        if self._traced is not None:
            self.cost = self._traced.example.found.cost
        else:  # only a pass tells its cost
            passed = self._run(batch)
            self._expect(passed[0])
        larger = None if enlarged is None else enlarged(self.cost)
        if larger is not None:
            passed, rows = None, larger.samples
            self.refresh()
            with contextlib.suppress(RunError):
                found, arrays = self._run(larger)
                if all(array.shape[:1] == (rows,) for array in arrays):
                    return rows, found, arrays
            self.refresh()
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
        self.weights: tuple[tuple[TensorSpec, keras.Variable], ...] = tuple(found.weights)
        self.outputs = found.outputs
        self.plain_variables = tuple(found.plain_variables)
        self.leave_out(
            {
                spec: f"no sample axis: {rows} samples gave an output of {array.shape}"
                for spec, array in zip(self._specs, arrays, strict=True)
                if array.shape[:1] != (rows,)
            }
        )
        traced = self._traced
        fixed = traced.fixed_axes if traced and not has_fixed_batches(self.model) else ()
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

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Show batches inside the scope without affecting later ones."""
        values, carried = list(self._values), self._state.carried
        try:
            yield
        finally:
            values += framework().values_of(self._variables[len(values) :])
            self._values, self._state.carried = values, carried

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
    def carries_state(self) -> bool:
        """Whether the last pass changed a variable or a table that the next pass reads."""
        return self._moves or self._state.carries_resources

    @property
    def varies(self) -> bool:
        """Whether showing a batch twice may give different values."""
        return self._traced is None or self._traced.varies or self.carries_state

    @property
    def draws_outside(self) -> bool:
        """Whether a random stream outside the model changes its values."""
        return len(self._variables) > len(self.model.variables)

    def refresh(self) -> None:
        """Reload the model's current state; the state carried here is discarded."""
        self._state.forget()
        own, users = self._state.generator, global_generator()
        variables = [
            users.state if own is not None and users and variable is own.state else variable
            for variable in self._variables
        ]
        self._values = framework().values_of(variables)

    def _trace(self, batch: Shown) -> tuple[Traced[Found] | None, str | None]:
        try:
            with self._state.trace():
                traced = framework().trace(self._forward, self._values, batch)
            if assigned := traced.example.found.assigned:  # it drew from Keras's global stream
                self._variables += [variable for variable, _ in assigned]
                self.refresh()
                with self._state.trace():
                    traced = framework().trace(self._forward, self._values, batch)
        except RunnerError:
            raise
        except Exception as error:  # any error; a real one is raised again by the eager pass
            return None, in_one_line(error)
        self._state.expect(traced.resources)
        return traced, None

    def _run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        traced, state = self._traced, self._state
        if traced is None:
            around = state.python_pass()
        elif traced.runs_python:
            around = state.python_pass(every_thread=True)
        else:
            around = state.traced_pass()
        with framework().exact(), explained(), around:
            tensors = keras.tree.map_structure(
                lambda array: None if array is None else framework().as_tensor(array), batch
            )
            passed = (traced or self._forward)(self._values, tensors)
        found = [(spec.kind, spec.name) for spec in passed.found.inventory.tensors]
        if self._expected is not None and found != self._expected:
            raise RunError(
                "the model called other layers than for the first batch: "
                + ", ".join(sorted({name for _, name in {*found} ^ {*self._expected}}))
            )
        # Those of a trace were made while it was traced.
        assigned = passed.found.assigned if traced is None else []
        self.cost = passed.found.cost
        self._moves = bool(passed.updates or assigned)
        for place, value in passed.updates.items():
            self._values[place] = value
        self._variables += [variable for variable, _ in assigned]
        self._values += [value for _, value in assigned]
        return passed.found.inventory, [framework().as_array(tensor) for tensor in passed.tensors]


def _misfit(spec: TensorSpec, array: np.ndarray, rows: int) -> str:
    """Describe why a tensor of a later batch fits no table."""
    if array.shape[:1] != (rows,):
        return "no sample axis: the number of its rows depends on the samples that are shown"
    return (
        f"no table: a sample has the shape {array.shape[1:]} in one batch, "
        f"and {spec.shape} in the first"
    )


def _layer_of(model: keras.Model, operation: str) -> str:
    """Return the layer that an operation of the traced pass belongs to, by its path."""
    names = {layer.name for layer in all_layers(model)}
    for part in reversed(operation.split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):  # numbered if the name was used before
            if name in names:
                return name
    return operation
