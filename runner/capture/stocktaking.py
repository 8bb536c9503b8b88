"""Sorts every tensor of every layer of a forward pass into kept and left out."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from runner.capture.axes import named_axes
from runner.capture.calls import Call
from runner.capture.connections import arguments_of, wiring_of
from runner.capture.inventory import Entry, Inventory, Layer
from runner.capture.model_tree import own_weights, uncalled
from runner.capture.reductions import reduced, reduced_axes
from runner.capture.selecting import Absent, Found, Selecting
from runner.capture.selection import Selection
from runner.model.backend import framework
from runner.model.keras_internals import SEED_STATE, value_inside
from runner.tensors import Kind, LeftOut, TensorSpec, unit_axis_of

_MADE = "every pass creates its layer again and draws new values"


def take_inventory(
    model: keras.Model,
    calls: list[Call],
    selection: Selection,
    selecting: Selecting,
    rows: int | None = None,
) -> tuple[Inventory, list[Any], list[Any]]:
    """Sort the tensors of a forward pass into an inventory.

    Parameters
    ----------
    model
        The model that was called.
    calls
        All its calls in the order of completion, its own the last.
    selection
        Which tensors to keep.
    selecting
        The tensors of the calls, selected.
    rows
        The number of samples, if the model accepts only batches of that size.

    Returns
    -------
    inventory
        The layers and tensors of the pass.
    values
        The tensors to return from the forward pass, reduced and cast as selected, in
        the order of ``inventory.tensors``.
    refused
        The selected values that have no table.
    """
    *calls, root = calls
    taking = _Taking(selection, rows, named_axes(calls))
    for order, call in enumerate(calls):
        taking.take(call, order, selecting.of(call))
    inventory, names = taking.inventory, taking.names
    inventory.outputs = tuple(
        names[id(tensor)] for _, tensor in root.outputs if id(tensor) in names
    )
    layers: dict[str, Any] = {}
    for call in calls:
        layers.setdefault(call.layer_path, call.operation)
    taking.add_uncalled(model, calls, layers)
    taking.add_weights(_weights_by_layer(model, layers, [*calls, root]))
    weights = {
        id(variable.value): spec.name
        for spec, variable in inventory.weights
        if isinstance(variable, keras.Variable)
    }
    for path, own in wiring_of(calls, root, names, weights).items():
        entry = inventory.entries[path]
        entry.layer = dataclasses.replace(
            entry.layer, arguments=arguments_of(layers[path]), calls=own
        )
    return inventory, taking.values, taking.refused


class _Taking:
    """An inventory under construction."""

    def __init__(
        self, selection: Selection, rows: int | None, axes: dict[int, tuple[str, ...] | None]
    ) -> None:
        self.inventory = Inventory(selection.kinds)
        self.values: list[Any] = []
        self.refused: list[Any] = []
        self.names: dict[int, str] = {}
        self._selection = selection
        self._rows = rows
        self._axes = axes
        self._positions: dict[tuple[int, str | None], int] = {}
        self._taken: set[tuple[Kind, str]] = set()

    def take(self, call: Call, order: int, tensors: list[Found]) -> None:
        """Sort the tensors of one call."""
        inventory = self.inventory
        entry = inventory.entries.get(call.layer_path)
        if entry is None:
            why = inventory.why_nothing({found.spec.kind for found in tensors})
            layer_class = type(call.operation).__name__
            entry = Entry(Layer(call.layer_path, layer_class, order, why))
            inventory.entries[call.layer_path] = entry
        no_gradient = entry.layer.no_gradient or next(iter(call.no_gradient.values()), None)
        entry.layer = dataclasses.replace(entry.layer, no_gradient=no_gradient)
        for found in tensors:
            spec, tensor = found.spec, found.tensor
            name = call.name if spec.output is None else f"{call.name}:{spec.output}"
            name = _unique(spec.kind, name, self._taken)
            unfit = self._unfit(call, tensor, spec.kind)
            if unfit is not None:
                inventory.refused.append((spec, f"'{name}': {unfit}"))
            else:
                inventory.candidates.append(spec)
                if spec.kind == "activation":
                    self.names.setdefault(id(tensor), name)
            if not found.kept:
                continue
            if unfit is not None:
                entry.left_out.append(LeftOut(name, spec.kind, unfit))
                self.refused.append(tensor)
                continue
            entry.kept.add((spec.kind, name))
            axes = self._axes_of(call, spec.kind, spec.output, tensor)
            spec = dataclasses.replace(
                spec, name=name, order=order, reduction=found.reduction, axes=axes
            )
            self._keep(spec, tensor)

    def _axes_of(
        self, call: Call, kind: Kind, output: str | None, tensor: Any
    ) -> tuple[str, ...] | None:
        if kind not in ("activation", "input"):  # the axes of its activation
            tensor = next((own for place, own in call.outputs if place == output), tensor)
        axes = self._axes.get(id(tensor))
        return axes if axes is not None and len(axes) + 1 == len(tensor.shape) else None

    def _keep(self, spec: TensorSpec, tensor: Any) -> None:
        position = self._positions.setdefault((id(tensor), spec.reduction), len(self.values))
        stored = dataclasses.replace(spec, axes=reduced_axes(spec.axes, spec.reduction))
        if position < len(self.values):
            self.inventory.aliases.append((stored, position))
            return
        self.inventory.tensors.append(stored)
        self.values.append(_stored(tensor, spec, self._selection.dtype))

    def _unfit(self, call: Call, tensor: Any, kind: Kind) -> str | None:
        """Return why a tensor cannot be captured, or ``None``."""
        if isinstance(tensor, Absent):
            return tensor.reason
        if call.loop is not None:
            return f"opaque: runs step by step inside the loop of '{call.loop.layer_path}'"
        it = "its input" if kind == "input" else "its output"
        return framework().unfit(tensor, it, self._rows)

    def add_uncalled(self, model: keras.Model, calls: list[Call], called: dict[str, Any]) -> None:
        """Add the layers that were never called, to both the inventory and `called`."""
        entries = self.inventory.entries
        paths = {id(model): ""}
        for call in calls:
            paths.setdefault(id(call.operation), call.layer_path)
        for layer, path, parent in uncalled(model, paths, {"", *called}):
            reason = "never called"
            if isinstance(layer, keras.layers.InputLayer):
                reason = "an input of the model: it is in the probe"
                if parent:
                    reason = f"an input of '{parent}': it returns the input of that model"
            elif parent in entries and entries[parent].layer.order is not None:
                reason = f"opaque: not called as a layer while '{parent}' ran"
            entries[path] = Entry(Layer(path, type(layer).__name__, None, reason))
            called[path] = layer

    def add_weights(self, holders: list[_Holder]) -> None:
        """Add the weights of every layer, except layers made during the pass."""
        inventory = self.inventory
        owners: dict[int, TensorSpec] = {}
        plain: dict[int, Any] = {}
        taken: set[tuple[Kind, str]] = set()
        for place, holder in enumerate(holders):
            path = holder.path
            entry = inventory.entries.get(path)
            order = place if entry is None or entry.layer.order is None else entry.layer.order
            for name, variable, why in holder.weights:
                spec = TensorSpec(
                    name=_unique("weight", f"{path}/{name}", taken),
                    kind="weight",
                    layer_path=path,
                    layer_class=type(holder.layer).__name__,
                    call=None,
                    output=None,
                    shape=(),
                    dtype="",
                    order=order,
                )
                unfit = why or framework().unfit_weight(variable)
                if unfit is not None:
                    inventory.refused.append((spec, f"'{spec.name}': {unfit}"))
                    if self._selection.keeps(spec) and entry is not None:
                        entry.left_out.append(LeftOut(spec.name, "weight", unfit))
                    continue
                if framework().is_variable(variable):
                    plain[id(variable)] = variable
                dtype = keras.backend.standardize_dtype(variable.dtype)
                spec = dataclasses.replace(spec, shape=tuple(variable.shape), dtype=dtype)
                inventory.candidates.append(spec)
                if not self._selection.keeps(spec):
                    continue
                owner = owners.setdefault(id(variable), spec)
                if owner is spec:
                    inventory.weights.append((spec, variable))
                else:
                    inventory.weight_aliases.append((spec, owner))
        inventory.plain_variables = list(plain.values())


def _weights_by_layer(
    model: keras.Model, layers: dict[str, Any], calls: list[Call]
) -> list[_Holder]:
    """Return the weights of every layer, the model last.

    A variable that no layer holds, as one that a function refers to, is a weight of every layer
    that reads it.
    """
    *calls, root = calls
    made = {call.layer_path for call in calls if call.made}
    read: dict[str, dict[int, Any]] = {}
    for call in calls:
        read.setdefault(call.layer_path, {}).update(call.read)
    holders = [
        _Holder(path, layer, read.get(path, {}), _MADE if path in made else None)
        for path, layer in layers.items()
    ]
    holders.append(_Holder(model.name, model, root.read, None))
    held = [variable for holder in holders for variable in holder.variables]
    known = {id(part) for variable in held for part in (variable, value_inside(variable))}
    for holder in holders:
        holder.weights += [
            (name, variable, None)
            for key, variable in holder.read.items()
            if key not in known and (name := framework().name_of(variable)) != SEED_STATE
        ]
    return holders


class _Holder:
    """A layer with its weights: the name and variable of each, and why it has no table."""

    def __init__(self, path: str, layer: Any, read: dict[int, Any], why: str | None) -> None:
        self.path, self.layer, self.read = path, layer, read
        self.weights = [(name, variable, why) for name, variable in own_weights(layer)]
        self.variables = [variable for _, variable, _ in self.weights]
        self.variables += getattr(layer, "variables", [])


def _unique(kind: Kind, name: str, taken: set[tuple[Kind, str]]) -> str:
    """Make a name unique among those of its kind: a layer may itself be named ``a@0``."""
    found, position = name, 1
    while (kind, found) in taken:
        position += 1
        found = f"{name}#{position}"
    taken.add((kind, found))
    return found


def _stored(tensor: Any, spec: TensorSpec, dtype: str | None) -> Any:
    if spec.reduction is not None:
        unit_axis = unit_axis_of(spec.axes, len(tensor.shape) - 1)
        tensor = reduced(tensor, spec.reduction, spec.name, unit_axis)
    cast = dtype is not None and framework().is_floating(tensor)
    return keras.ops.cast(tensor, dtype) if cast else tensor
