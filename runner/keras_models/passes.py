"""The forward passes of one Keras model, with the state that is carried between them."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from runner.capture.batches import Shown
from runner.capture.call import mapped
from runner.capture.inventory import Inventory
from runner.engines.engine import Traced
from runner.errors import RunnerError
from runner.keras_models.batches import has_fixed_batches
from runner.keras_models.failures import explained, in_one_line
from runner.keras_models.forward import Forward, Found
from runner.keras_models.known_pass import KnownPass
from runner.keras_models.state import State, first_call
from runner.model.backend import framework
from runner.model.keras_internals import all_layers, global_generator
from runner.sizes import check_memory


class KerasPasses:
    """The forward passes of a Keras model (see `runner.capture.model_library.Passes`).

    The forward pass is traced once into a function that returns all selected tensors; if it
    cannot be traced, it runs eagerly. Either way the model is unchanged afterwards: Keras's
    variables are passed as arguments, and all other changes are undone (see
    `runner.keras_models.state`). State that changes is carried from batch to batch here.

    Parameters
    ----------
    forward
        The forward pass of the model. One that is not built yet is built by calling it on the
        inputs.
    batch
        The first batch.
    """

    def __init__(self, forward: Forward, batch: Shown) -> None:
        self.model = model = forward.model
        if not all(layer.built for layer in all_layers(model)):
            with first_call(model), explained():
                model(batch.inputs, training=False)
        self._state = State(model)
        self._variables: list[keras.Variable] = model.variables  # grows when more are found
        self._forward = functools.partial(forward, self._variables)
        self._known: KnownPass | None = None
        self._values: list[Any] = []
        self._described: set[int] = set()  # the sizes of batches of which a pass was described
        self.refresh()
        self._moves = False
        self._traced, self.eager_because = self._trace(batch)
        self.cost: int | None = None
        self.sample_bytes: int | None = None
        if self._traced is not None:
            operation, size = self._traced.largest
            self.sample_bytes = size // batch.samples
            check_memory(_layer_of(model, operation), size, copies=2)  # two batches are compared
            self.cost = self._traced.example.found.cost

    @property
    def fixed_axes(self) -> frozenset[int]:
        """Positions of the tensors whose first axis has a length fixed by the model's code."""
        if self._traced is None or has_fixed_batches(self.model):
            return frozenset()
        return self._traced.fixed_axes

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Show batches inside the scope without affecting later ones."""
        values, carried = list(self._values), self._state.carried
        try:
            yield
        finally:
            values += framework().values_of(self._variables[len(values) :])
            self._values, self._state.carried = values, carried

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
        self._fresh: list[Any] = []
        self.rewind()

    def rewind(self) -> None:
        """Return to the state that the model had at the last `refresh`."""
        self._state.forget()
        own, users = self._state.generator, global_generator()
        variables = [
            users.state if own is not None and users and variable is own.state else variable
            for variable in self._variables[len(self._fresh) :]
        ]
        self._fresh += framework().values_of(variables)
        self._values = list(self._fresh)

    def _trace(self, batch: Shown) -> tuple[Traced[Found] | None, str | None]:
        try:
            with self._state.trace():
                traced = framework().trace(self._forward, self._values, batch)
            # A pass that assigned other variables drew from Keras's global stream.
            if traced is not None and (assigned := traced.example.found.assigned):
                self._variables += [variable for variable, _ in assigned]
                self.refresh()
                with self._state.trace():
                    traced = framework().trace(self._forward, self._values, batch)
        except RunnerError:
            raise
        except Exception as error:  # any error; a real one is raised again by the eager pass
            return None, in_one_line(error)
        if traced is not None:
            self._state.expect(traced.resources)
            self._by_rows = {traced.rows: traced}
        return traced, None

    def _traced_for(self, batch: Shown) -> Traced[Found] | None:
        """Return the traced pass for a batch of this size, traced anew if it is of one size."""
        if self._traced is None or self._traced.rows is None:
            return self._traced
        rows = batch.samples
        if rows not in self._by_rows:
            with explained(), self._state.trace():
                traced = framework().trace(self._forward, self._values, batch)
            assert traced is not None
            self._by_rows[rows] = traced
        return self._by_rows[rows]

    def held(self, batch: Shown) -> Shown:
        """Return a batch as tensors."""
        tensors: Shown = mapped(framework().as_tensor, batch)
        return tensors

    def run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        """Show a batch; return what the pass has, and the values of the kept tensors in order."""
        traced, state = self._traced_for(batch), self._state
        if traced is None:
            around = state.python_pass()
        elif traced.runs_python:
            around = state.python_pass(every_thread=True)
        else:
            around = state.traced_pass()
        known = traced is not None or batch.samples in self._described
        noting = contextlib.nullcontext() if known else framework().noting_origins()
        self._described.add(batch.samples)
        with framework().exact(), explained(), around, noting:
            tensors = self.held(batch)
            if traced is not None:
                passed = traced(self._values, tensors)
            else:
                passed = self._forward(self._values, tensors, known=self._known)
                self._known = passed.found.known
        # Those of a trace were made while it was traced.
        assigned = passed.found.assigned if traced is None else []
        self.cost = passed.found.cost
        self._moves = bool(passed.updates or assigned)
        for place, value in passed.updates.items():
            self._values[place] = value
        self._variables += [variable for variable, _ in assigned]
        self._values += [value for _, value in assigned]
        return passed.found.inventory, [framework().as_array(tensor) for tensor in passed.tensors]


def _layer_of(model: keras.Model, operation: str) -> str:
    """Return the layer that an operation of the traced pass belongs to, by its path."""
    names = {layer.name for layer in all_layers(model)}
    for part in reversed(operation.split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):  # numbered if the name was used before
            if name in names:
                return name
    return operation
