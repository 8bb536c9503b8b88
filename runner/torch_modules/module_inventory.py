"""The inventory of a forward pass over a module: its submodules, tensors and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from torch import nn

from runner.capture.call import Call
from runner.capture.selecting import Selecting
from runner.capture.selection import Selection
from runner.capture.stocktaking import Holder, Stocktaking
from runner.engines.describing import Description
from runner.engines.torch.derivations import description_of
from runner.engines.torch.origins import Origin
from runner.torch_modules import tensors
from runner.torch_modules.module_axes import named_axes
from runner.torch_modules.module_calls import argument_names
from runner.torch_modules.module_heads import heads_in, refused_heads_in
from runner.torch_modules.module_tree import own_tensors, submodules
from runner.torch_modules.tensors import Value
from runner.wiring import CallWiring, Wire

_UNREGISTERED = "its module is not registered in the model, and may be another one in each pass"
_MOST = 16  # numbers in an argument, enough for any shape
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def take_inventory(
    model: nn.Module,
    calls: list[Call],
    selection: Selection,
    selecting: Selecting,
    origin_of: Callable[[Any], Origin | None],
    rows: int,
) -> Stocktaking:
    """Sort the tensors of a forward pass into an inventory.

    Parameters
    ----------
    model
        The module that was called.
    calls
        All its calls in the order of completion, its own the last.
    selection
        Which tensors to keep.
    selecting
        The tensors of the calls, selected.
    origin_of
        Function that returns where the present value of a tensor came from.
    rows
        The number of samples.
    """
    *below, root = calls
    taking = Stocktaking(tensors, selection, None, named_axes(calls))
    for order, call in enumerate(below):
        taking.take(call, order, selecting.of(call))
    if any(id(value) not in taking.names for _, value in root.outputs):
        own = [found for found in selecting.of(root) if found.spec.kind == "activation"]
        taking.take(root, len(below), own)
    taking.inventory.heads = heads_in(below)
    taking.inventory.refused_heads = refused_heads_in(below)
    taking.set_outputs(root)
    if selection.outputs:
        taking.take_returned(root)
    modules: dict[str, nn.Module] = {}
    for call in below:
        modules.setdefault(call.layer_path, call.operation)
    unregistered = _add_uncalled(taking, model, modules)
    modules.setdefault(root.layer_path, model)
    taking.add_weights(
        [
            Holder(
                path,
                type(module).__name__,
                [
                    (name, variable, _UNREGISTERED if path in unregistered else None)
                    for name, variable in own_tensors(module)
                ],
            )
            for path, module in modules.items()
        ]
    )
    sources = _sources(calls, taking, origin_of, rows)
    for path, wiring in _wiring_of(calls, taking.names, sources).items():
        if path in taking.inventory.entries:
            arguments = arguments_of(modules[path])
            taking.add_wiring(path, arguments, tuple(wiring))
    return taking


def arguments_of(module: nn.Module) -> dict[str, Any] | None:
    """Return the plain attributes of one of the modules of ``torch.nn`` that hold no others.

    Attention, which holds one, is known too. The attributes are numbers, texts and a few of them
    in a tuple; ``module`` says whose they are. ``None`` for other modules.
    """
    if not _is_own(module):
        return None
    holds_others = next(nn.Module.named_children(module), None) is not None
    if holds_others and not isinstance(module, nn.MultiheadAttention):
        return None
    known: dict[str, Any] = {"module": "torch.nn"}
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training":
            continue
        if isinstance(value, (bool, int, float, str)):
            known[name] = value
        elif isinstance(value, tuple) and len(value) <= _MOST and all(map(_is_number, value)):
            known[name] = list(value)
    return known


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _add_uncalled(taking: Stocktaking, model: nn.Module, called: dict[str, nn.Module]) -> set[str]:
    """Add the modules that were never called; return the paths of those outside the model."""
    paths = {id(model): ""}
    for path, module in called.items():
        paths.setdefault(id(module), path)
    registered = {id(model)}
    for path, module, above in [*submodules(model)]:
        registered.add(id(module))
        if id(module) in paths:
            continue
        reason = "never called"
        if isinstance(module, _CONTAINERS):
            reason = "it only holds other modules"
        elif above in called:
            reason = f"opaque: not called as a module while '{above}' ran"
        taking.add(path, type(module).__name__, reason)
        called[path] = module
        paths[id(module)] = path
    return {path for path, module in called.items() if id(module) not in registered}


def _sources(
    calls: list[Call],
    taking: Stocktaking,
    origin_of: Callable[[Any], Origin | None],
    rows: int,
) -> dict[int, Description]:
    """Return the descriptions of the tensors that have a table, by the identity of their origin."""
    root = calls[-1]
    weights = {
        id(origin_of(variable)): {"weight": spec.name}
        for spec, variable in taking.inventory.weights
    }
    shown = {id(value.origin): {"input": _place_of(root, place)} for place, value in root.inputs}
    outputs = {
        id(value.origin): {"tensor": taking.names[id(value)]}
        for call in calls
        for _, value in call.outputs
        if id(value) in taking.names and value.shape[0] == rows
    }
    return {**weights, **shown, **outputs}


def _wiring_of(
    calls: list[Call], names: Mapping[int, str], sources: Mapping[int, Description]
) -> dict[str, list[CallWiring]]:
    """Return the inputs of every call of every module.

    Of a tensor that is neither the output of a module nor an input of the model, it is described
    how it was computed from those.
    """
    root = calls[-1]
    shown = {id(value): _place_of(root, place) for place, value in root.inputs}
    found: dict[str, list[CallWiring]] = {}

    def made(value: Value) -> Description | None:
        if value.origin is None:
            return None
        return description_of(value.origin, lambda origin: sources.get(id(origin)))

    def wires(call: Call) -> Iterator[Wire]:
        arguments = argument_names(call)
        given = [leaf for leaf in call.inputs if isinstance(leaf[1], Value)]
        for place, value in given:
            position, _, below = str(place).partition(".")
            argument = arguments.get(int(position), f"argument{position}")
            name, model_input = names.get(id(value)), shown.get(id(value))
            own = name is not None and name.partition(":")[0] == call.name
            unnamed = (name is None or own) and model_input is None
            yield Wire(
                f"{argument}.{below}" if below else argument,
                None if own else name,
                model_input,
                place=str(place) if unnamed and len(given) > 1 else None,
                derivation=made(value) if unnamed or id(value.origin) not in sources else None,
            )

    for call in calls:
        derivations = {
            place or "": described
            for place, value in call.outputs
            if isinstance(value, Value)
            and names.get(id(value), "").startswith(call.name)
            and not _is_own(call.operation)
            and (described := made(value)) is not None
        }
        wiring = CallWiring(call.name, tuple(wires(call)), _settings(call), derivations)
        found.setdefault(call.layer_path, []).append(wiring)
    return found


def _settings(call: Call) -> dict[str, Any]:
    """Return the arguments of a call that are numbers, truth values or texts, by their names."""
    names = argument_names(call)
    return {
        names.get(position, f"argument{position}"): value
        for position, value in enumerate(call.given)
        if isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value))
    }


def _is_own(module: nn.Module) -> bool:
    """Return whether a module is one of ``torch.nn``."""
    return type(module).__module__.startswith("torch.nn.")


def _place_of(root: Call, place: str | None) -> str:
    """Return the name of an input of the model, by its place among the arguments."""
    position, _, below = str(place).partition(".")
    name = root.keywords.get(int(position))
    if name is None:
        alone = len(root.given) == 1
        name = "input" if alone else position
    return f"{name}.{below}" if below else name
