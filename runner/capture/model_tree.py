"""The tree of layers and weights of a model, read from its objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from runner.model.keras_internals import is_of_keras, sublayers, value_inside

_Trackable: Any = tf.__internal__.tracking.AutoTrackable


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

    Keras variables have their own names; a plain ``tf.Variable`` is named after the attribute
    that holds it, such as ``scale``, ``tables.0`` in a list or ``cell.w`` in a ``tf.Module``.
    """
    below = {id(weight) for child in sublayers(layer) for weight in child.weights}
    of_keras = getattr(layer, "weights", [])
    known = {id(part) for weight in of_keras for part in (weight, value_inside(weight))}
    plain = _plain(getattr(layer, "__dict__", {}), "", known)
    names: dict[str, int] = {}
    for name, weight in (*((weight.name, weight) for weight in of_keras), *plain):
        if id(weight) not in below:
            names[name] = again = names.get(name, 0) + 1
            yield (name if again == 1 else f"{name}#{again}"), weight


def _plain(held: Mapping[Any, Any], prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield the plain variables of an object's attributes, each once."""
    for key, value in held.items():
        # TensorFlow keeps the contents of its checkpoints under such names.
        if str(key).startswith("_self_") or id(value) in seen:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, tf.Variable):
            seen.add(id(value))
            yield name, value
        elif (below := _held_by(value)) is not None:
            seen.add(id(value))
            yield from _plain(below, f"{name}.", seen)


def _held_by(value: Any) -> Mapping[Any, Any] | None:
    """Return the contents of a container, ``tf.Module`` or loaded SavedModel, by name."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    tracks = isinstance(value, _Trackable) and not isinstance(value, keras.Layer)
    return vars(value) if tracks and not is_of_keras(type(value)) else None
