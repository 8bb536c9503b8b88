"""The model that a configuration declares layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from runner.config.declared_config import DeclaredModel, LayerNode
from runner.config.graph import tensors_of
from runner.config.seedings import Seeding
from runner.errors import InputError, first_line
from runner.model.keras_objects import made, reraise_bug
from runner.model.model_files import load_weights
from runner.model.seeding import WAYS
from runner.tensors import shape_text


def declared_model(config: DeclaredModel) -> keras.Model:
    """Return a declared model, not compiled.

    Raises
    ------
    InputError
        If a layer cannot be made, or does not accept its inputs.
    """
    tensors: dict[str, Any] = {
        spec.name: keras.Input(spec.shape, dtype=spec.dtype, name=spec.name)
        for spec in config.input_specs()
    }
    inputs = dict(tensors)
    layers = {
        name: _layer(node, name, config.seeding)
        for name, node in config.layers.items()
        if node.reuse is None
    }
    for name in config.call_order():
        arguments = config.call_arguments(name)
        node = config.layers[name]
        tensors[name] = _called(layers[node.reuse or name], arguments, tensors, name)
    outputs = [_part(tensors, name) for name in config.output_names()]
    model = keras.Model(
        inputs if len(inputs) > 1 else next(iter(inputs.values())),
        outputs if len(outputs) > 1 else outputs[0],
        name="model",
    )
    if config.weights is not None:
        load_weights(model, config.weights, "model.weights")
    return model


def _layer(node: LayerNode, name: str, seeding: Seeding) -> keras.Layer:
    place = f"model.layers.{name}"
    layer = made(str(node.class_name), {**node.arguments, "name": name}, "layers", place)
    for initializer in vars(layer).values():
        known = isinstance(initializer, keras.initializers.Initializer)
        if known and not WAYS[seeding].controls(initializer):
            raise InputError.of(
                place,
                f"seeding {seeding} cannot control the draws of {type(initializer).__name__}",
                "use an initializer of Keras, or model.seeding=keras",
            )
    return layer


def _called(layer: keras.Layer, arguments: Any, tensors: Mapping[str, Any], name: str) -> Any:
    """Call a layer on named tensors: one, a list of them, or keyword arguments."""
    place = f"model.layers.{name}"
    if isinstance(arguments, Mapping):
        positional: tuple[Any, ...] = ()
        keywords = {
            key: _part(tensors, value) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
    elif isinstance(arguments, str):
        positional, keywords = (_part(tensors, arguments),), {}
    else:
        positional, keywords = ([_part(tensors, argument) for argument in arguments],), {}
    if isinstance(arguments, str):
        _check_fits(layer, tuple(positional[0].shape), place)
    try:
        return layer(*positional, **keywords)
    except Exception as error:
        reraise_bug(error, type(layer))
        shapes = ", ".join(
            f"'{tensor}' {tuple(_part(tensors, tensor).shape)}" for tensor in tensors_of(arguments)
        )
        raise InputError.of(
            place, f"{type(layer).__name__} cannot take {shapes}: {first_line(error)}"
        ) from error


def _check_fits(layer: keras.Layer, shape: tuple[int | None, ...], place: str) -> None:
    """Check that an input has the rank of the layer and is not smaller than its window."""
    kind = type(layer).__name__
    spec = layer.input_spec
    for limit, more in (
        (getattr(spec, "ndim", None), ""),
        (getattr(spec, "min_ndim", None), " or more"),
    ):
        if limit is not None and (len(shape) < limit or (not more and len(shape) > limit)):
            raise InputError.of(
                place,
                f"{kind} expects an input of {limit}{more} axes with the sample axis, "
                f"found {len(shape)}: {shape}",
            )
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if not isinstance(window, tuple) or getattr(layer, "padding", "valid") == "same":
        return
    first = 1 if getattr(layer, "data_format", "channels_last") == "channels_last" else 2
    reached = shape[first : first + len(window)]
    if any(size is not None and size < step for size, step in zip(reached, window, strict=True)):
        raise InputError.of(
            place,
            f"{kind} has a window of {shape_text(window)}, larger than its input of "
            f"{shape_text(reached)}",
            "make it smaller, or set padding: same",
        )


def _part(tensors: Mapping[str, Any], reference: str) -> Any:
    """Return the output tensor of a layer, or with ``lstm:1`` one part of its output."""
    name, _, part = reference.partition(":")
    output = tensors[name]
    if not part:
        if isinstance(output, (list, tuple, dict)):
            keys = output.keys() if isinstance(output, dict) else range(len(output))
            raise InputError.of(
                f"model.layers.{name}",
                f"it returns {len(output)} tensors",
                "name one of them: " + ", ".join(f"'{name}:{key}'" for key in keys),
            )
        return output
    try:
        return output[part] if isinstance(output, dict) else output[int(part)]
    except (LookupError, ValueError, TypeError) as error:
        raise InputError.of(f"model.layers.{name}", f"it has no output '{part}'") from error
