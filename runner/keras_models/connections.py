"""Connections between the layers of a forward pass, and the arguments of the layers."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from runner.capture.call import Call, Leaf, leaves
from runner.model.backend import framework
from runner.model.keras_internals import (
    all_layers,
    is_own_layer,
    is_own_operation,
    mask_of,
    without_tensorflow,
)
from runner.wiring import CallWiring, Wire

# Arguments that do not affect what a layer computes from its weights.
_NO_ARITHMETIC = frozenset(("name", "trainable", "dtype", "seed", "activation"))
_UNKNOWN = object()
_MOST_NUMBERS = 16  # enough for any shape or axis; a vocabulary has more


def wiring_of(
    calls: list[Call], root: Call, names: Mapping[int, str], weights: Mapping[int, str]
) -> dict[str, tuple[CallWiring, ...]]:
    """Return the inputs of every call of every layer.

    Parameters
    ----------
    calls
        All calls of a forward pass except the model's own.
    root
        The model's own call.
    names
        Identity of a tensor to the name of its activation.
    weights
        Identity of a tensor to the name of the weight whose value it is.

    Returns
    -------
    dict
        Layer path to its calls in order. Calls inside the loop of a recurrent layer are
        left out.
    """
    shown = {id(tensor): place for place, tensor in map(_placed, root.inputs)}
    found: dict[str, list[CallWiring]] = {}

    def source(tensor: Any) -> dict[str, Any] | None:
        if id(tensor) in names:
            return {"tensor": names[id(tensor)]}
        if id(tensor) in shown:
            return {"input": shown[id(tensor)]}
        return {"weight": weights[id(tensor)]} if id(tensor) in weights else None

    for call in calls:
        if call.loop is None:
            outputs = {
                place or "": described
                for place, tensor in (() if _has_arguments(call.operation) else call.outputs)
                if framework().is_passed(tensor)
                and names.get(id(tensor), "").startswith(call.name)
                and (described := framework().derivation(tensor, source)) is not None
            }
            wires = tuple(_wires(call, names, shown, source))
            wiring = CallWiring(call.name, wires, _settings(call), outputs)
            found.setdefault(call.layer_path, []).append(wiring)
    return {path: tuple(own) for path, own in found.items()}


def arguments_of(layer: Any) -> dict[str, Any] | None:
    """Return the arguments of one of Keras's own layers that determine its arithmetic.

    Only plain values and the name of its activation; for an operation of ``keras.ops``, its
    name there as ``operation``. ``None`` for a custom layer, and for a model.
    """
    if not _has_arguments(layer):
        return None
    if not isinstance(layer, keras.Layer):
        return _arguments_of_operation(layer)
    config = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in _config_of(layer).items()
        if key not in _NO_ARITHMETIC and value is not None and _is_plain(value)
    }
    activation = getattr(layer, "activation", None)
    if activation is not None:
        config["activation"] = _activation_name(activation)
    if (mode := getattr(layer, "quantization_mode", None)) is not None:
        quantizer = getattr(layer, "inputs_quantizer", None)
        config["quantization"] = {"mode": mode, "inputs": _quantizer(quantizer)}
    return {**config, "dtype": layer.compute_dtype}


def _has_arguments(layer: Any) -> bool:
    """Return whether a layer is one of Keras's own, or an operation of ``keras.ops``."""
    kind = type(layer)
    return is_own_operation(kind) or (is_own_layer(kind) and isinstance(layer, keras.Layer))


def _arguments_of_operation(operation: Any) -> dict[str, Any]:
    plain = {
        key: _plain(value)
        for key, value in vars(operation).items()
        if not key.startswith("_") and key not in _NO_ARITHMETIC and value is not None
    }
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(operation).__name__)
    return {"operation": words.lower(), **{k: v for k, v in plain.items() if v is not _UNKNOWN}}


def _config_of(layer: Any) -> dict[str, Any]:
    """Return a layer's configuration without the initializers and regularizers of its weights.

    A custom initializer, regularizer or constraint may lack ``get_config``, and then its
    layer's ``get_config`` fails. If another part lacks it, such as a custom cell, the
    configuration is read from the layer's attributes.
    """
    with _weight_rules_set_aside(layer), without_tensorflow():
        try:
            config: dict[str, Any] = layer.get_config()
        except Exception:  # a custom layer may raise anything
            names = [name for cls in type(layer).__mro__ for name in _parameters(cls)]
            config = {name: getattr(layer, name, None) for name in dict.fromkeys(names)}
    return config


@contextlib.contextmanager
def _weight_rules_set_aside(layer: Any) -> Iterator[None]:
    kept = [
        (vars(below), name, value)
        for below in all_layers(layer)
        for name, value in vars(below).items()
        if name.endswith(("_initializer", "_regularizer", "_constraint"))
    ]
    for attributes, name, _ in kept:
        attributes[name] = None
    try:
        yield
    finally:
        for attributes, name, value in kept:
            attributes[name] = value


def _parameters(cls: type) -> list[str]:
    """Return the parameters of a layer class, without those that all layers have."""
    if not issubclass(cls, keras.Layer) or cls is keras.Layer or "__init__" not in vars(cls):
        return []
    parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
    return [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]


def _wires(
    call: Call,
    names: Mapping[int, str],
    shown: Mapping[int, str],
    source: Callable[[Any], dict[str, Any] | None],
) -> Iterator[Wire]:
    arguments = _argument_names(call)
    several = sum(framework().is_tensor(tensor) for _, tensor in call.inputs) > 1
    for place, tensor in call.inputs:
        if framework().is_passed(tensor):
            position, _, below = str(place).partition(".")
            argument = arguments.get(int(position), f"argument{position}")
            before = framework().before_casts(tensor)
            name = names.get(id(tensor)) or names.get(id(before))
            # A tensor that it returns unchanged has its name; the tensor's source is not known.
            own = name is not None and name.partition(":")[0] == call.name
            unnamed = (name is None or own) and id(before) not in shown
            yield Wire(
                f"{argument}.{below}" if below else argument,
                None if own else name,
                shown.get(id(before)),
                mask_of(tensor) is not None,
                str(place) if unnamed and several else None,
                framework().derivation(tensor, source) if unnamed else None,
            )


def _settings(call: Call) -> dict[str, Any]:
    names = _argument_names(call)
    settings = {}
    for position, value in enumerate(call.given):
        if value is None or any(framework().is_passed(leaf) for _, leaf in leaves(value)):
            continue
        plain = _plain(value)
        if plain is not _UNKNOWN:
            settings[names.get(position, f"argument{position}")] = plain
    return settings


def _argument_names(call: Call) -> dict[int, str]:
    """Return the names of a layer's arguments, by position."""
    parameters = inspect.signature(call.operation.call).parameters.values()
    named = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    return {**dict(enumerate(named)), **call.keywords}


def _placed(leaf: Leaf) -> tuple[str, Any]:
    """Return an input of the model with its place among the model's inputs."""
    place, tensor = leaf
    return str(place).partition(".")[2] or "input", tensor


def _activation_name(activation: Any) -> str:
    name = str(getattr(activation, "__name__", type(activation).__name__))
    of_keras = getattr(keras.activations, name, None) is activation
    return name if of_keras else f"{name} of {activation.__module__}"


def _quantizer(quantizer: Any) -> dict[str, Any] | None:
    """Return the arguments of a layer's input quantizer that determine its result."""
    if quantizer is None:
        return None
    known = {key: getattr(quantizer, key, None) for key in ("value_range", "epsilon")}
    return {"class_name": type(quantizer).__name__, **known}


def _plain(value: Any) -> Any:
    """Return an argument as a JSON value, or `_UNKNOWN` for a tensor of the pass."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if value is Ellipsis:
        return "..."
    if isinstance(value, slice):
        ends = _plain([value.start, value.stop, value.step])
        return _UNKNOWN if ends is _UNKNOWN else {"slice": ends}
    if isinstance(value, (list, tuple)):
        entries = [_plain(entry) for entry in value[: _MOST_NUMBERS + 1]]
        few = len(entries) <= _MOST_NUMBERS and not any(one is _UNKNOWN for one in entries)
        return entries if few else _UNKNOWN
    if isinstance(value, float) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        try:
            numbers = np.asarray(value)
        except (TypeError, ValueError, NotImplementedError):  # a symbolic tensor, a variable
            return _UNKNOWN
        if numbers.dtype.kind not in "biuf" or not np.isfinite(numbers.astype(float)).all():
            return _UNKNOWN
        return numbers.tolist() if numbers.size <= _MOST_NUMBERS else {"shape": [*numbers.shape]}
    return _UNKNOWN


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= _MOST_NUMBERS and all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))
