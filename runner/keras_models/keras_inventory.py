"""The inventory of a forward pass over a Keras model: its layers, tensors and weights."""

from __future__ import annotations

from typing import Any

import keras

from runner.capture.call import Call
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.capture.stocktaking import Holder, Stocktaking
from runner.keras_models import tensors
from runner.keras_models.axes import heads_in, named_axes
from runner.keras_models.connections import arguments_of, wiring_of
from runner.keras_models.model_tree import own_weights, uncalled
from runner.model.backend import framework
from runner.model.keras_internals import SEED_STATE, value_inside

_MADE = "every pass creates its layer again and draws new values"


def take_inventory(
    model: keras.Model,
    calls: list[Call],
    selection: Selection,
    selecting: Selecting,
    rows: int | None = None,
) -> Stocktaking:
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
    """
    *calls, root = calls
    taking = Stocktaking(tensors, selection, rows, named_axes(calls))
    for order, call in enumerate(calls):
        taking.take(call, order, selecting.of(call))
    inventory = taking.inventory
    inventory.heads = heads_in(calls)
    taking.set_outputs(root)
    if selection.outputs:
        taking.take_returned(root)
    layers: dict[str, Any] = {}
    for call in calls:
        layers.setdefault(call.layer_path, call.operation)
    _add_uncalled(taking, model, calls, layers)
    taking.add_weights(_weights_by_layer(model, layers, [*calls, root]))
    weights = {
        id(variable.value): spec.name
        for spec, variable in inventory.weights
        if not tensors.is_plain(variable)
    }
    for path, own in wiring_of(calls, root, taking.names, weights).items():
        taking.add_wiring(path, arguments_of(layers[path]), own)
    return taking


def _add_uncalled(
    taking: Stocktaking, model: keras.Model, calls: list[Call], called: dict[str, Any]
) -> None:
    """Add the layers that were never called, to both the inventory and `called`."""
    entries = taking.inventory.entries
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
        taking.add(path, type(layer).__name__, reason)
        called[path] = layer


def _weights_by_layer(
    model: keras.Model, layers: dict[str, Any], calls: list[Call]
) -> list[Holder]:
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
    return [Holder(holder.path, type(holder.layer).__name__, holder.weights) for holder in holders]


class _Holder:
    """A layer with its weights: the name and variable of each, and why it has no table."""

    def __init__(self, path: str, layer: Any, read: dict[int, Any], why: str | None) -> None:
        self.path, self.layer, self.read = path, layer, read
        self.weights = [(name, variable, why) for name, variable in own_weights(layer)]
        self.variables = [variable for _, variable, _ in self.weights]
        self.variables += getattr(layer, "variables", [])
