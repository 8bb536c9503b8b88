"""Builds and compiles a Keras model from its declaration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from runner.config import catalogue
from runner.config.callback_paths import RunPath, field_problems, written_by
from runner.config.experiment_config import (
    ApplicationModel,
    DeclaredModel,
    ExperimentConfig,
    FunctionModel,
    LayerNode,
    ModelConfig,
    NamedObject,
    SavedModel,
    TrainConfig,
)
from runner.config.references import look_in_working_directory
from runner.config.strict import refuse
from runner.deep_models import room_for_depth
from runner.errors import InputError, first_line, suggest
from runner.model.keras_internals import is_of_keras
from runner.model.model_files import load_saved, load_weights, within_memory
from runner.model.seeding import Seeding, draws_unseen, seeded
from runner.tensors import InputSpec


def build_model(config: ExperimentConfig) -> keras.Model:
    """Build and compile the model of an experiment, with initial weights drawn from the seed.

    Names that Keras generates do not depend on models built earlier in the process.

    Raises
    ------
    InputError
        If a layer does not accept its inputs, a file cannot be loaded, or code that the
        configuration names cannot be imported.
    """
    keras.backend.clear_session()
    for module in config.custom_modules:
        _imported(module, "custom_modules")
    policy = keras.config.dtype_policy()
    try:
        if isinstance(config.model, DeclaredModel) and config.model.dtype is not None:
            keras.config.set_dtype_policy(config.model.dtype)
        with seeded(config.seed, getattr(config.model, "seeding", "keras")), within_memory():
            model = _built(config.model)
    finally:
        keras.config.set_dtype_policy(policy)
    if config.optimizer is not None:
        model.compile(
            optimizer=_made(config.optimizer, "optimizers", "optimizer"),
            loss=config.loss and _made(config.loss, "losses", "loss"),
            metrics=[
                metric if isinstance(metric, str) else _made(metric, "metrics", "train.metrics")
                for metric in (config.train.metrics if config.train is not None else [])
            ],
        )
    return model


def build_callbacks(config: TrainConfig, folder: Path) -> list[keras.callbacks.Callback]:
    """Build the callbacks of a training.

    Parameters
    ----------
    config
        The training.
    folder
        The folder that their paths are relative to.

    Raises
    ------
    InputError
        If Keras does not accept an argument.
    """
    callbacks = []
    for name, callback in config.callbacks.items():
        place = f"train.callbacks.{name}"
        signature = catalogue.load().signature("callbacks", callback.class_name)
        arguments = dict(callback.arguments)
        paths = written_by(_class_of(callback.class_name, "callbacks", place))
        for key, is_filled_in in paths.items():
            given = arguments.get(key, signature and signature.optional.get(key))
            if isinstance(given, str):
                arguments[key] = RunPath(folder, given)
                if is_filled_in:  # checked already, except for a custom class
                    refuse(field_problems(given, {}, f"{place}.{key}", complete=False))
                else:
                    Path(arguments[key]).parent.mkdir(parents=True, exist_ok=True)
        callbacks.append(_object(callback.class_name, arguments, "callbacks", place))
    return callbacks


def check_model(model: Any) -> None:
    """Check that an object is a Keras model.

    Raises
    ------
    InputError
        If it is not a Keras model.
    """
    if not isinstance(model, keras.Model):
        raise InputError.of(
            "model",
            f"expected a keras.Model, found {type(model).__name__}",
            "the first argument is the model, the second its inputs",
        )


def input_specs(model: keras.Model) -> tuple[InputSpec, ...]:
    """Return the inputs of a model; empty if they are known only after calling it.

    A single input is named ``input``, since it is passed without a name.
    """
    inputs = getattr(model, "inputs", None) or []
    names = ["input"] if len(inputs) == 1 else [tensor.name for tensor in inputs]
    return tuple(
        InputSpec(name, tuple(tensor.shape[1:]), keras.backend.standardize_dtype(tensor.dtype))
        for name, tensor in zip(names, inputs, strict=True)
    )


def output_shape(model: keras.Model, inputs: Any) -> tuple[int | None, ...]:
    """Return the shape of a model's one output for one sample, without computing it.

    Raises
    ------
    InputError
        If the model has several outputs.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        outputs = keras.tree.flatten(
            model(
                keras.tree.map_structure(
                    lambda array: keras.KerasTensor((None, *array.shape[1:]), array.dtype.name),
                    inputs,
                )
            )
        )
    if len(outputs) > 1:
        raise InputError.of(
            "model",
            f"a loss compares one output with the targets, this model has {len(outputs)}",
            "name one of them in model.outputs, or train in Python with runner.ActivationRecorder",
        )
    return tuple(outputs[0].shape[1:])


def _built(config: ModelConfig) -> keras.Model:
    with room_for_depth():
        match config:
            case DeclaredModel():
                return _declared(config)
            case SavedModel():
                return load_saved(config)
            case ApplicationModel():
                return _application(config)
            case FunctionModel():
                return _from_function(config)


def _declared(config: DeclaredModel) -> keras.Model:
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
    layer = _object(str(node.class_name), {**node.arguments, "name": name}, "layers", place)
    for initializer in vars(layer).values():
        if (
            seeding == "tf_global"
            and isinstance(initializer, keras.initializers.Initializer)
            and draws_unseen(initializer)
        ):
            raise InputError.of(
                place,
                f"seeding tf_global cannot control the draws of {type(initializer).__name__}",
                "use an initializer of Keras, or model.seeding=keras",
            )
    return layer


def _class_of(class_name: str, namespace: str, place: str) -> Any:
    """Return a class by its name in a configuration, from Keras or a custom module."""
    keras_names = catalogue.load()
    name = keras_names.class_of(namespace, class_name)
    if name in keras_names.signatures[namespace] or not (
        keras_names.complete or name in catalogue.WITHHELD
    ):
        module: Any = importlib.import_module(f"keras.{namespace}")
        if hasattr(module, name):
            return getattr(module, name)
    return _registered(class_name, place)


def _object(class_name: str, arguments: Mapping[str, Any], namespace: str, place: str) -> Any:
    """Create an object of Keras or of a custom module, and the objects in its arguments."""
    cls = _class_of(class_name, namespace, place)
    made = {key: _value(key, value, f"{place}.{key}") for key, value in arguments.items()}
    try:
        return cls(**made)
    except Exception as error:
        _reraise_bug(error, cls)
        raise InputError.of(place, f"{class_name} cannot be made: {first_line(error)}") from error


def _value(key: str, value: Any, place: str) -> Any:
    if isinstance(value, Mapping) and "class_name" in value:
        arguments = {name: item for name, item in value.items() if name != "class_name"}
        namespace = catalogue.namespace_of(key)
        return _object(value["class_name"], arguments, namespace, place)
    if isinstance(value, list):
        return [_value(key, item, f"{place}.{position}") for position, item in enumerate(value)]
    return value


def _called(layer: keras.Layer, arguments: Any, tensors: Mapping[str, Any], name: str) -> Any:
    """Call a layer on named tensors: one, a list of them, or keyword arguments."""
    place = f"model.layers.{name}"
    if isinstance(arguments, Mapping):
        given: tuple[Any, ...] = ()
        named = {
            key: _part(tensors, value) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
    elif isinstance(arguments, str):
        given, named = (_part(tensors, arguments),), {}
    else:
        given, named = ([_part(tensors, argument) for argument in arguments],), {}
    if isinstance(arguments, str):
        _check_fits(layer, tuple(given[0].shape), place)
    try:
        return layer(*given, **named)
    except Exception as error:
        _reraise_bug(error, type(layer))
        shapes = ", ".join(
            f"'{tensor}' {tuple(_part(tensors, tensor).shape)}" for tensor in _names(arguments)
        )
        raise InputError.of(
            place, f"{type(layer).__name__} cannot take {shapes}: {first_line(error)}"
        ) from error


def _reraise_bug(error: Exception, cls: type) -> None:
    """Raise an error again if it comes from a bug in a custom class.

    The errors that Keras raises for invalid arguments have no common class.
    """
    if not isinstance(error, (TypeError, ValueError)) and not is_of_keras(cls):
        raise error


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
            f"{kind} has a window of {_by(window)}, larger than its input of {_by(reached)}",
            "make it smaller, or set padding: same",
        )


def _by(sizes: tuple[int | None, ...]) -> str:
    return " x ".join(str(size) for size in sizes)


def _names(arguments: Any) -> list[str]:
    if isinstance(arguments, str):
        return [arguments]
    values = arguments.values() if isinstance(arguments, Mapping) else arguments
    return [value for value in values if isinstance(value, str)]


def _part(tensors: Mapping[str, Any], reference: str) -> Any:
    """Return the output tensor of a layer, or with ``lstm:1`` one part of its output."""
    name, _, part = reference.partition(":")
    found = tensors[name]
    if not part:
        if isinstance(found, (list, tuple, dict)):
            keys = found.keys() if isinstance(found, dict) else range(len(found))
            raise InputError.of(
                f"model.layers.{name}",
                f"it returns {len(found)} tensors",
                "name one of them: " + ", ".join(f"'{name}:{key}'" for key in keys),
            )
        return found
    try:
        return found[part] if isinstance(found, dict) else found[int(part)]
    except (LookupError, ValueError, TypeError) as error:
        raise InputError.of(f"model.layers.{name}", f"it has no output '{part}'") from error


def _registered(class_name: str, place: str) -> Any:
    """Return a class registered by a custom module, with or without its package name."""
    objects = keras.saving.get_custom_objects()
    by_name = {name.rpartition(">")[2]: cls for name, cls in objects.items()} | objects
    if class_name not in by_name:
        raise InputError.of(
            place,
            f"no class '{class_name}' in Keras or in custom_modules",
            suggest(class_name, by_name)
            or "register it with @keras.saving.register_keras_serializable()",
        )
    return by_name[class_name]


def _made(config: NamedObject, namespace: str, place: str) -> Any:
    return _object(config.class_name, config.arguments, namespace, place)


def _application(config: ApplicationModel) -> keras.Model:
    builder = getattr(keras.applications, config.class_name)
    arguments = {"weights": None, **config.arguments}
    try:
        model = builder(**arguments)
    except Exception as error:  # any error, as for a layer
        raise InputError.of(
            "model", f"{config.class_name} cannot be made: {first_line(error)}"
        ) from error
    if config.weights is not None:
        load_weights(model, config.weights, "model.weights")
    return model


def _from_function(config: FunctionModel) -> keras.Model:
    module, _, name = config.function.partition(":")
    function = getattr(_imported(module, "model.function"), name, None)
    if not callable(function):
        raise InputError.of("model.function", f"module '{module}' has no function '{name}'")
    model = function(**config.arguments)
    if not isinstance(model, keras.Model):
        raise InputError.of(
            "model.function",
            f"{config.function} must return a keras.Model, it returned {type(model).__name__}",
        )
    return model


def _imported(module: str, place: str) -> Any:
    """Import a module named by the configuration, also from the working directory."""
    look_in_working_directory()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError.of(
            place,
            f"no module '{error.name}' (looked in {Path.cwd()} and in the installed packages)",
        ) from error
