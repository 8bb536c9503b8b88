"""The names of a tensor's axes, inferred from its module and from the calls before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from runner.capture.call import Call
from runner.torch_modules.tensors import Value

Names = tuple[str, ...]

_SPATIAL: dict[int, Names] = {
    1: ("time",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}
# Modules of feature maps, by the ends of their names: Conv2d, AdaptiveAvgPool2d, InstanceNorm3d...
_MAPS = ("1d", "2d", "3d")
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_FLAT = (nn.Flatten, nn.Unflatten, nn.Fold, nn.Unfold)


def named_axes(calls: Sequence[Call]) -> dict[int, Names | None]:
    """Return the names of the axes of all inputs and outputs of modules.

    Parameters
    ----------
    calls
        All calls of a forward pass, in the order of completion.

    Returns
    -------
    dict
        Identity of a value to the names of its axes, without the sample axis: ``channel``,
        ``height``, ``width``, ``depth``, ``time``, ``position``, ``unit``; ``i0``, ``i1``... for
        an unknown axis. ``None`` if no axis is known.
    """
    names: dict[int, Names | None] = {}
    inside: dict[int, list[Call]] = {}
    for call in calls:
        maps = _maps_of(call.operation)
        given = [value for _, value in call.inputs if isinstance(value, Value)]
        for value in given:
            if names.get(id(value)) is None:
                names[id(value)] = _of_maps(value, maps)
        for _, value in call.outputs:
            if isinstance(value, Value) and names.get(id(value)) is None:
                below = inside.get(id(call), [])
                names[id(value)] = _named(call.operation, value, given, below, names)
        if call.parent is not None:
            inside.setdefault(id(call.parent), []).append(call)
    return names


def _named(
    module: nn.Module,
    value: Value,
    given: list[Value],
    below: list[Call],
    names: dict[int, Names | None],
) -> Names | None:
    rank = len(value.shape) - 1
    if rank < 1:
        return ()
    if isinstance(module, _FLAT):
        return ("unit",) if rank == 1 else None
    found = _of_maps(value, _maps_of(module))
    if found is not None:
        return found
    known = [names.get(id(one)) for one in given]
    if isinstance(module, (nn.Linear, nn.Embedding, nn.MultiheadAttention, *_RECURRENT)):
        return _with_units(module, rank, known)
    same = [
        names.get(id(one))
        for call in reversed(below)
        for _, one in call.outputs
        if isinstance(one, Value) and one.shape == value.shape
    ]
    alike = [name for one, name in zip(given, known, strict=True) if one.shape == value.shape]
    return next((name for name in (*same, *alike) if name and len(name) == rank), None)


def _with_units(module: nn.Module, rank: int, known: list[Names | None]) -> Names | None:
    """Return the axes of the output of a module that acts on the last axis."""
    if rank == 1:
        return ("unit",)
    if isinstance(module, _RECURRENT):
        return ("time", "unit") if rank == 2 else None
    before = next((name for name in known if name), ())
    above = before if isinstance(module, nn.Embedding) else before[:-1]
    if len(above) != rank - 1:
        above = ("position",) if rank == 2 else tuple(f"i{axis}" for axis in range(rank - 1))
    return (*above, "unit")


def _maps_of(module: Any) -> int | None:
    """Return the number of spatial axes of the feature maps that a module of PyTorch takes."""
    kind = type(module)
    own = kind.__module__.startswith("torch.nn.")
    return _MAPS.index(kind.__name__[-2:]) + 1 if own and kind.__name__[-2:] in _MAPS else None


def _of_maps(value: Value, spatial: int | None) -> Names | None:
    """Return the axes of feature maps with their channels first."""
    if spatial is None or len(value.shape) != spatial + 2:
        return None
    return ("channel", *_SPATIAL[spatial])
