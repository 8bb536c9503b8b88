"""The tree of layers and weights of a model, read from its objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.model.backend import framework
from runner.model.keras_internals import sublayers, value_inside


def uncalled(model: Any, paths: dict[int, str], taken: set[str]) -> Iterator[tuple[Any, str, str]]:
    """Yield the layers below a model that have no path yet.

    Parameters
    ----------
    model
        The model.
    paths
        Identity of a layer to its path, the model's being empty; extended in place.
    taken
        The paths that are in use; extended in place.

    Yields
    ------
    tuple
        A layer, its new path, and the path of its parent layer.
    """
    seen = {id(model)}
    waiting = [(model, iter(sublayers(model)))]
    while waiting:
        parent, rest = waiting[-1]
        layer = next(rest, None)
        if layer is None:
            waiting.pop()
            continue
        if id(layer) not in paths:
            above = paths[id(parent)]
            path = own = f"{above}/{layer.name}" if above else layer.name
            position = 1
            while path in taken:
                position += 1
                path = f"{own}#{position}"
            taken.add(path)
            paths[id(layer)] = path
            yield layer, path, above
        if id(layer) not in seen:
            seen.add(id(layer))
            waiting.append((layer, iter(sublayers(layer))))


def own_weights(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield a layer's variables that belong to none of its sublayers, under unique names.

    Keras variables have their own names; a variable of the framework is named after the
    attribute that holds it, such as ``scale``, ``tables.0`` in a list or ``cell.w`` in a module.
    """
    below = {id(weight) for child in sublayers(layer) for weight in child.weights}
    of_keras = getattr(layer, "weights", [])
    known = {id(part) for weight in of_keras for part in (weight, value_inside(weight))}
    plain = framework().plain_variables(getattr(layer, "__dict__", {}), known)
    names: dict[str, int] = {}
    for name, weight in (*((weight.name, weight) for weight in of_keras), *plain):
        if id(weight) not in below:
            names[name] = again = names.get(name, 0) + 1
            yield (name if again == 1 else f"{name}#{again}"), weight


def named_weights(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the variables of a model's layers by the names that their tables have."""
    for layer, path, _ in uncalled(model, {id(model): ""}, set()):
        for name, variable in own_weights(layer):
            yield f"{path}/{name}", variable
    for name, variable in own_weights(model):
        yield f"{model.name}/{name}", variable
