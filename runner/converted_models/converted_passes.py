"""The forward passes of a model in a file of another runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from runner.capture.batches import Shown
from runner.capture.call import Call, leaves, set_names
from runner.capture.changing import Changes, Output, Patched
from runner.capture.inventory import Inventory
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.capture.stocktaking import Holder, Stocktaking
from runner.converted_models import converted_tensors as tensors
from runner.converted_models.graph import ConvertedModel, Key, Operation
from runner.converted_models.graph_axes import named_axes
from runner.errors import RunError, RunnerError, first_line
from runner.tensors import Kind, TensorSpec
from runner.wiring import CallWiring, Wire


class ConvertedPasses:
    """The forward passes of a converted model (see `runner.capture.model_library.Passes`).

    Every pass begins with the state that the file says.

    Parameters
    ----------
    model
        The model.
    selection
        What to capture.
    changes
        Patches that operations read, if `can_be_given` is true of them.
    """

    eager_because: str | None = None
    cost: int | None = 0
    sample_bytes: int | None = None
    fixed_axes: frozenset[int] = frozenset()
    carries_state = False
    varies = True  # what its operations draw is not known
    draws_outside = False

    def __init__(
        self, model: ConvertedModel, selection: Selection, changes: Changes | None = None
    ) -> None:
        self._model = model
        self._patched = {} if changes is None else _patched(model, changes)
        self._selection = selection
        self._inventory: Inventory | None = None
        self._kept: list[tuple[TensorSpec, Key]] = []

    def held(self, batch: Shown) -> Shown:
        """Return a batch as it is."""
        return batch

    def refresh(self) -> None:
        """Begin the next pass with the model's state: every pass does."""

    rewind = refresh

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Show batches inside the scope without affecting later ones: none does."""
        yield

    def run(self, batch: Shown) -> tuple[Inventory, list[np.ndarray]]:
        """Show a batch; return what the pass has, and the values of the kept tensors in order."""
        try:
            inputs = arrays_of(self._model, batch.inputs)
            patches = batch.patches or {}
            given = {key: patches[name] for key, name in self._patched.items()}
            if self._inventory is None:
                return self._described(inputs, given)
            values = self._model.compute(inputs, {key for _, key in self._kept}, given)
        except RunnerError:
            raise
        except Exception as error:  # those of ONNX Runtime have no common class
            raise RunError(
                f"the model cannot be called on the probe: {first_line(error)}"
            ) from error
        return self._inventory, [
            tensors.stored(values[key], spec, self._selection.dtype) for spec, key in self._kept
        ]

    def _described(
        self, inputs: list[np.ndarray], given: Mapping[Key, np.ndarray]
    ) -> tuple[Inventory, list[np.ndarray]]:
        """Run the first pass, and take stock of it."""
        model = self._model
        made = [key for operation in model.operations for key in operation.outputs]
        values = dict(model.compute(inputs, made, given))
        values |= dict(zip(model.inputs, inputs, strict=True))
        calls = _calls_of(model, values)
        selecting = Selecting(self._selection, tensors.is_tensor)
        for call in calls:
            selecting.ended(call, None)
        axes = named_axes(model, values)
        taking = Stocktaking(
            tensors, self._selection, None, {id(values[key]): axes[key] for key in axes}
        )
        for order, call in enumerate(calls[:-1]):
            taking.take(call, order, selecting.of(call))
        for path, layer_class, why in model.inside:
            taking.add(path, layer_class, why)
        taking.set_outputs(calls[-1])
        taking.add_weights(
            [
                Holder(
                    each.path,
                    type(each).__name__,
                    [(name, own, None) for name, own in each.weights],
                )
                for each in model.operations
            ]
        )
        differences = {} if given else _differences(model, inputs, values)
        names = taking.names
        named = {key: names[id(value)] for key, value in values.items() if id(value) in names}
        for call in calls[:-1]:
            wires = tuple(_wires(call.operation, model, named))
            arguments = {**call.operation.arguments, **differences.get(call.layer_path, {})}
            taking.add_wiring(call.layer_path, arguments, (CallWiring(call.name, wires),))
        keys = {
            (call.layer_path, kind, place): key
            for call in calls[:-1]
            for kind, place, key in _places(call.operation)
        }
        self._kept = [
            (spec, keys[spec.layer_path, spec.kind, spec.output]) for spec in taking.stored
        ]
        self._inventory = taking.inventory
        return taking.inventory, taking.values


def can_be_given(changes: Changes) -> bool:
    """Return whether changes only put patches in the place of what operations read."""
    patches = all(isinstance(change, Patched) for change in changes.of_outputs.values())
    return patches and changes.recorded == "before"


def _patched(model: ConvertedModel, changes: Changes) -> dict[Key, str]:
    """Return the tensors in whose place patches are read, with the names of these."""
    keys = {
        Output(operation.path, 0, place): key
        for operation in model.operations
        for kind, place, key in _places(operation)
        if kind == "activation"
    }
    return {
        keys[output]: change.name
        for output, change in changes.of_outputs.items()
        if isinstance(change, Patched)
    }


def arrays_of(model: ConvertedModel, inputs: Any) -> list[np.ndarray]:
    """Return the inputs of a batch in the order of the model's."""
    if isinstance(inputs, Mapping):
        specs = model.inputs.values()
        return [np.asarray(inputs[spec.name]) for spec in specs]
    return [np.asarray(array) for _, array in leaves(inputs)]


def _calls_of(model: ConvertedModel, values: Mapping[Key, np.ndarray]) -> list[Call]:
    """Return a call for each operation, and that of the model as the last."""
    root = Call(model, None, [(None, values[key]) for key in model.inputs])
    outputs = [key for key in model.outputs if key in values]
    root.outputs = [(str(place), values[key]) for place, key in enumerate(outputs)]
    calls = []
    for operation in model.operations:
        call = Call(operation, root, [(name, values[key]) for name, key in operation.inputs])
        call.layer_path = call.segment = operation.path
        call.indexed = f"{operation.path}@0"
        call.outputs = [
            (place, values[key]) for kind, place, key in _places(operation) if kind == "activation"
        ]
        calls.append(call)
    set_names(calls)
    return [*calls, root]


def _places(operation: Operation) -> Iterator[tuple[Kind, str | None, Key]]:
    """Yield the tensors of an operation: kind, place among those of its kind, and key."""
    alone = len(operation.outputs) == 1
    for position, key in enumerate(operation.outputs):
        yield "activation", None if alone else str(position), key
    alone = len(operation.inputs) == 1
    for name, key in operation.inputs:
        yield "input", None if alone else name, key


def _wires(operation: Operation, model: ConvertedModel, names: Mapping[Key, str]) -> Iterator[Wire]:
    for name, key in operation.inputs:
        shown = model.inputs[key].name if key in model.inputs else None
        place = name if len(operation.inputs) > 1 else None
        yield Wire(name, names.get(key), shown, place=place)


def _differences(
    model: ConvertedModel, inputs: list[np.ndarray], values: Mapping[Key, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return how far the model's outputs are from those that its runtime gives by default.

    A runtime rewrites the graph, or hands parts of it to other kernels, unless all tensors are
    asked for.
    """
    made_by = {key: operation.path for operation in model.operations for key in operation.outputs}
    found = {}
    for key, deployed in zip(model.outputs, model.deployed(inputs), strict=True):
        if key not in made_by or deployed is None or not tensors.is_tensor(deployed):
            continue
        difference = np.abs(deployed.astype(np.float64) - values[key].astype(np.float64))
        if difference.size:
            found[made_by[key]] = {"deployed_difference": float(difference.max())}
    return found
