"""What there is to capture in one forward pass, and what is kept of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.capture.calls import Call
from runner.capture.connections import arguments_of, wiring_of
from runner.capture.reductions import reduced
from runner.capture.selection import Selection
from runner.tensors import Kind, TensorSpec
from runner.wiring import CallWiring


@dataclass(frozen=True)
class Layer:
    """One layer of a captured model.

    Attributes
    ----------
    path
        Its layer path.
    layer_class
        Name of its class.
    order
        Position of its first call among all calls; ``None`` if it was never called.
    reason
        Why nothing that it put out was captured; ``None`` where something was.
    no_gradient
        Why an output has no gradient, where gradients were asked for.
    arguments
        What it was made with (see `runner.capture.connections.arguments_of`).
    calls
        What it was called on, call by call.
    """

    path: str
    layer_class: str
    order: int | None
    reason: str | None
    no_gradient: str | None = None
    arguments: dict[str, Any] | None = None
    calls: tuple[CallWiring, ...] = ()


@dataclass
class Inventory:
    """Every layer and tensor of a model, sorted into kept and left out.

    Attributes
    ----------
    tensors
        What is kept, in call order; shapes are filled in when values are there.
    aliases
        What would have been kept but is the very same tensor as one of `tensors`:
        each with the position of that one.
    layers
        Every layer by its path: the called ones in call order, then the others.
    weights
        Every kept weight with its variable.
    weight_aliases
        Kept weights that an earlier layer path has already, each with that one.
    candidates
        All that a selection can choose from.
    outputs
        Names of the activations that the model itself returns.
    """

    tensors: list[TensorSpec] = field(default_factory=list)
    aliases: list[tuple[TensorSpec, int]] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)
    weights: list[tuple[TensorSpec, keras.Variable]] = field(default_factory=list)
    weight_aliases: list[tuple[TensorSpec, TensorSpec]] = field(default_factory=list)
    candidates: list[TensorSpec] = field(default_factory=list)
    outputs: tuple[str, ...] = ()

    def leave_out(self, path: str, reason: str) -> None:
        """Note why nothing of a layer is captured."""
        self.layers[path] = dataclasses.replace(self.layers[path], reason=reason)


def take_inventory(
    model: keras.Model, calls: list[Call], selection: Selection, rows: int | None = None
) -> tuple[Inventory, list[Any]]:
    """Sort what a forward pass went through.

    Parameters
    ----------
    model
        The model that was called.
    calls
        All its calls in the order of completion, its own the last.
    selection
        What to keep.
    rows
        The number of samples, if the model was made for batches of just that size.

    Returns
    -------
    inventory
        What was found.
    values
        The tensors to return from the forward pass, reduced and cast as selected, in
        the order of ``inventory.tensors``.
    """
    inventory = Inventory()
    values: list[Any] = []
    places: dict[tuple[int, str | None], int] = {}
    names: dict[int, str] = {}
    taken: set[tuple[Kind, str]] = set()
    *calls, root = calls
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    for order, call in enumerate(calls):
        kept = False
        reason = call.no_gradient or "left out by the selection"
        if not call.outputs:
            reason = "it returned nothing"
        for kind, output, tensor in _put_out(call):
            if unfit := _unfit(call, tensor, graph, rows):
                reason = unfit
                continue
            spec = TensorSpec(
                name=_unique(
                    kind, f"{call.name}:{output}" if output is not None else call.name, taken
                ),
                kind=kind,
                layer_path=call.layer_path,
                layer_class=type(call.operation).__name__,
                call=call.index,
                output=output,
                shape=(),
                dtype="",
                order=order,
            )
            inventory.candidates.append(spec)
            if kind == "activation":
                names.setdefault(id(tensor), spec.name)
            if not selection.keeps(spec):
                continue
            kept = True
            spec = dataclasses.replace(spec, reduction=selection.reduction(spec))
            place = places.setdefault((id(tensor), spec.reduction), len(values))
            if place < len(values):
                inventory.aliases.append((spec, place))
                continue
            inventory.tensors.append(spec)
            values.append(_stored(tensor, spec, selection.dtype))
        layer = inventory.layers.get(call.layer_path)
        if layer is None:
            class_name = type(call.operation).__name__
            layer = Layer(call.layer_path, class_name, order, reason)
        inventory.layers[call.layer_path] = dataclasses.replace(
            layer,
            reason=None if kept else layer.reason,
            no_gradient=layer.no_gradient or call.no_gradient,
        )
    inventory.outputs = tuple(
        names[id(tensor)] for _, tensor in root.outputs if id(tensor) in names
    )
    _add_the_rest(inventory, model, calls, selection)
    weights = {id(variable.value): spec.name for spec, variable in inventory.weights}
    operations = {call.layer_path: call.operation for call in calls}
    for path, own in wiring_of(calls, root, names, weights).items():
        inventory.layers[path] = dataclasses.replace(
            inventory.layers[path], arguments=arguments_of(operations[path]), calls=own
        )
    return inventory, values


def _put_out(call: Call) -> Iterator[tuple[Kind, str | None, Any]]:
    for place, tensor in call.outputs:
        yield "activation", place, tensor
    for place, tensor in call.gradients:
        yield "gradient", place, tensor
    if call.pre_activation is not None:
        yield "pre_activation", None, call.pre_activation
    given = [leaf for leaf in call.inputs if tf.is_tensor(leaf[1])]
    for place, tensor in given:
        yield "input", place if len(given) > 1 else None, tensor


def _unique(kind: Kind, name: str, taken: set[tuple[Kind, str]]) -> str:
    """Tell a name apart from others of its kind: a layer may itself be called ``a@0``."""
    found, position = name, 1
    while (kind, found) in taken:
        position += 1
        found = f"{name}#{position}"
    taken.add((kind, found))
    return found


def _unfit(call: Call, tensor: Any, graph: tf.Graph | None, rows: int | None) -> str | None:
    """Return why a tensor cannot be captured, if it cannot."""
    if call.loop is not None:
        return f"opaque: runs step by step inside the loop of '{call.loop.layer_path}'"
    if isinstance(tensor, (tf.SparseTensor, tf.RaggedTensor)):
        return f"opaque: its output is a {type(tensor).__name__}"
    if not isinstance(tensor, tf.Tensor):
        return f"opaque: its output is a {type(tensor).__name__}, not a tensor"
    if graph is not None and hasattr(tensor, "numpy"):  # made before the pass, the same for all
        return f"no sample axis: its output is a constant of shape {tuple(tensor.shape)}"
    if graph is not None and tensor.graph is not graph:
        return "opaque: runs inside a loop or a branch of the graph"
    if tensor.dtype == tf.string or not (tensor.dtype.is_bool or tensor.dtype.is_numpy_compatible):
        return f"opaque: its output is of type {tensor.dtype.name}"
    if tensor.shape.rank == 0 or (
        graph is not None and tensor.shape[:1].is_fully_defined() and tensor.shape[0] != rows
    ):
        return f"no sample axis: its output has shape {tuple(tensor.shape)}"
    return None


def _stored(tensor: Any, spec: TensorSpec, dtype: str | None) -> Any:
    if spec.reduction is not None:
        tensor = reduced(tensor, spec.reduction, spec.name)
    return tf.cast(tensor, dtype) if dtype is not None and tensor.dtype.is_floating else tensor


def _add_the_rest(
    inventory: Inventory, model: keras.Model, calls: list[Call], selection: Selection
) -> None:
    """Add the layers that were never called, and the weights of every layer."""
    paths = {id(model): ""}
    layers: dict[str, Any] = {}
    for call in calls:
        paths.setdefault(id(call.operation), call.layer_path)
        layers.setdefault(call.layer_path, call.operation)
    for layer, path, parent in _uncalled(model, "", paths, {"", *layers}, set()):
        reason = "never called"
        if isinstance(layer, keras.layers.InputLayer):
            reason = "an input of the model: it is in the probe"
            if parent:
                reason = f"an input of '{parent}': it puts out what that is given"
        elif parent in inventory.layers and inventory.layers[parent].order is not None:
            reason = f"opaque: not called as a layer while '{parent}' ran"
        inventory.layers[path] = Layer(path, type(layer).__name__, None, reason)
        layers[path] = layer
    owners: dict[int, TensorSpec] = {}
    taken: set[tuple[Kind, str]] = set()
    for order, (path, layer) in enumerate([*layers.items(), (model.name, model)]):
        position = inventory.layers[path].order if path in inventory.layers else None
        for name, variable in _own_weights(layer):
            spec = TensorSpec(
                name=_unique("weight", f"{path}/{name}", taken),
                kind="weight",
                layer_path=path,
                layer_class=type(layer).__name__,
                call=None,
                output=None,
                shape=tuple(variable.shape),
                dtype=keras.backend.standardize_dtype(variable.dtype),
                order=order if position is None else position,
            )
            inventory.candidates.append(spec)
            if not selection.keeps(spec):
                continue
            owner = owners.setdefault(id(variable), spec)
            if owner is spec:
                inventory.weights.append((spec, variable))
            else:
                inventory.weight_aliases.append((spec, owner))


def value_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value, in its own dtype and shape."""
    return np.asarray(tf.convert_to_tensor(variable.value).numpy())


def _children(layer: Any) -> list[Any]:
    flatten = getattr(layer, "_flatten_layers", None)
    return flatten(include_self=False, recursive=False) if flatten is not None else []


def _uncalled(
    parent: Any, parent_path: str, paths: dict[int, str], taken: set[str], seen: set[int]
) -> Iterator[tuple[Any, str, str]]:
    """Walk the tree of layers: yield each without a path, give it one, and go on below."""
    seen.add(id(parent))
    for layer in _children(parent):
        if id(layer) not in paths:
            path = own = f"{parent_path}/{layer.name}" if parent_path else layer.name
            position = 1
            while path in taken:
                position += 1
                path = f"{own}#{position}"
            taken.add(path)
            paths[id(layer)] = path
            yield layer, path, parent_path
        if id(layer) not in seen:
            yield from _uncalled(layer, paths[id(layer)], paths, taken, seen)


def _own_weights(layer: Any) -> Iterator[tuple[str, keras.Variable]]:
    """Yield a layer's weights that belong to none of its sublayers, under unique names."""
    below = {id(weight) for child in _children(layer) for weight in child.weights}
    names: dict[str, int] = {}
    for weight in getattr(layer, "weights", []):
        if id(weight) not in below:
            names[weight.name] = names.get(weight.name, 0) + 1
            again = names[weight.name]
            yield (weight.name if again == 1 else f"{weight.name}#{again}"), weight
