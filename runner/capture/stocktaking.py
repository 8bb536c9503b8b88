"""Sorts every tensor of every layer of a forward pass into kept and left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.capture.call import Call
from runner.capture.inventory import Entry, Inventory, Layer
from runner.capture.model_library import Tensors
from runner.capture.reductions import reduced_axes
from runner.capture.selecting import Absent, Found
from runner.capture.selection import Selection
from runner.tables.column_types import MOST_AXES
from runner.tensors import Kind, LeftOut, TensorSpec
from runner.wiring import CallWiring


@dataclass(frozen=True)
class Holder:
    """A layer with its own weights.

    Attributes
    ----------
    path
        Layer path.
    layer_class
        Name of the layer's class.
    weights
        The name and variable of each, and why it has no table, or ``None``.
    """

    path: str
    layer_class: str
    weights: Sequence[tuple[str, Any, str | None]]


class Stocktaking:
    """An inventory under construction.

    Parameters
    ----------
    tensors
        The functions for the tensors of the library.
    selection
        Which tensors to keep.
    rows
        The number of samples, if the model accepts only batches of that size.
    axes
        Identity of a tensor to the names of its axes.

    Attributes
    ----------
    inventory : Inventory
        The layers and tensors found so far.
    values : list
        The tensors to return from the forward pass, reduced and cast as selected, in
        the order of ``inventory.tensors``.
    stored : list[TensorSpec]
        The tensors of `values` as they were before they were reduced.
    refused : list
        The selected values that have no table.
    names : dict[int, str]
        Identity of a tensor to the name of its activation.
    """

    def __init__(
        self,
        tensors: Tensors,
        selection: Selection,
        rows: int | None,
        axes: Mapping[int, tuple[str, ...] | None],
    ) -> None:
        self._tensors = tensors
        self.inventory = Inventory(selection.kinds)
        self.values: list[Any] = []
        self.stored: list[TensorSpec] = []
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

    def take_returned(self, root: Call) -> None:
        """Keep what the model itself returns, where it fits a table."""
        for place, tensor in root.outputs:
            if self._no_table(tensor, "its output") is not None:
                self.refused.append(tensor)
                continue
            if (id(tensor), None) not in self._positions:
                spec = TensorSpec(
                    name=self.names.get(id(tensor), place or "output"),
                    kind="activation",
                    layer_path=root.layer_path,
                    layer_class=type(root.operation).__name__,
                    call=0,
                    output=place,
                    shape=(),
                    dtype="",
                    order=len(self.inventory.entries),
                )
                axes = self._axes_of(root, "activation", place, tensor)
                self._keep(dataclasses.replace(spec, axes=axes), tensor)
            self.inventory.returned.append(self._positions[id(tensor), None])

    def _axes_of(
        self, call: Call, kind: Kind, output: str | None, tensor: Any
    ) -> tuple[str, ...] | None:
        named = tensor
        if kind not in ("activation", "input"):  # the axes of its activation
            named = next((own for place, own in call.outputs if place == output), tensor)
        axes = self._axes.get(id(named))
        return axes if axes is not None and len(axes) + 1 == len(tensor.shape) else None

    def _keep(self, spec: TensorSpec, tensor: Any) -> None:
        position = self._positions.setdefault((id(tensor), spec.reduction), len(self.values))
        stored = dataclasses.replace(spec, axes=reduced_axes(spec.axes, spec.reduction))
        if position < len(self.values):
            self.inventory.aliases.append((stored, position))
            return
        self.inventory.tensors.append(stored)
        self.stored.append(spec)
        self.values.append(self._tensors.stored(tensor, spec, self._selection.dtype))

    def _unfit(self, call: Call, tensor: Any, kind: Kind) -> str | None:
        """Return why a tensor cannot be captured, or ``None``."""
        if isinstance(tensor, Absent):
            return tensor.reason
        if call.loop is not None:
            return f"opaque: runs step by step inside the loop of '{call.loop.layer_path}'"
        it = "its input" if kind == "input" else "its output"
        return self._no_table(tensor, it)

    def _no_table(self, tensor: Any, it: str) -> str | None:
        why = self._tensors.unfit(tensor, it, self._rows)
        if why is None and (axes := len(tensor.shape)) > MOST_AXES:
            return f"opaque: {it} has {axes} axes, the limit is {MOST_AXES}"
        return why

    def add(self, path: str, layer_class: str, reason: str) -> None:
        """Add a layer that was never called, with the reason."""
        self.inventory.entries[path] = Entry(Layer(path, layer_class, None, reason))

    def add_wiring(
        self, path: str, arguments: dict[str, Any] | None, calls: tuple[CallWiring, ...]
    ) -> None:
        """Add the arguments of a layer, and the inputs of its calls."""
        entry = self.inventory.entries[path]
        entry.layer = dataclasses.replace(entry.layer, arguments=arguments, calls=calls)

    def set_outputs(self, root: Call) -> None:
        """Note which tensors the model itself returns."""
        found = [self.names.get(id(tensor)) for _, tensor in root.outputs]
        self.inventory.outputs = tuple(name for name in found if name is not None)

    def add_weights(self, holders: Sequence[Holder]) -> None:
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
                    layer_class=holder.layer_class,
                    call=None,
                    output=None,
                    shape=(),
                    dtype="",
                    order=order,
                )
                unfit = why or self._tensors.unfit_weight(variable)
                if unfit is None and self._tensors.described(variable)[0] == (0,):
                    unfit = "it is empty: its table would have no columns"
                if unfit is not None:
                    inventory.refused.append((spec, f"'{spec.name}': {unfit}"))
                    if self._selection.keeps(spec) and entry is not None:
                        entry.left_out.append(LeftOut(spec.name, "weight", unfit))
                    continue
                if self._tensors.is_plain(variable):
                    plain[id(variable)] = variable
                shape, dtype = self._tensors.described(variable)
                spec = dataclasses.replace(spec, shape=shape, dtype=dtype)
                inventory.candidates.append(spec)
                if not self._selection.keeps(spec):
                    continue
                owner = owners.setdefault(id(variable), spec)
                if owner is spec:
                    inventory.weights.append((spec, variable))
                else:
                    inventory.weight_aliases.append((spec, owner))
        inventory.plain_variables = list(plain.values())


def _unique(kind: Kind, name: str, taken: set[tuple[Kind, str]]) -> str:
    """Make a name unique among those of its kind: a layer may itself be named ``a@0``."""
    found, position = name, 1
    while (kind, found) in taken:
        position += 1
        found = f"{name}#{position}"
    taken.add((kind, found))
    return found
