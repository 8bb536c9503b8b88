"""Builds and compiles the Keras model of an experiment, and the callbacks of its training."""

from __future__ import annotations

import importlib
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
    ModelConfig,
    NamedObject,
    SavedModel,
    TrainConfig,
)
from runner.config.references import look_in_working_directory
from runner.config.strict import refuse
from runner.deep_models import room_for_depth
from runner.errors import InputError, first_line
from runner.model.declared import declared_model
from runner.model.keras_objects import class_of, made
from runner.model.model_files import load_saved, load_weights, within_memory
from runner.model.seeding import seeded
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
            optimizer=_named_object(config.optimizer, "optimizers", "optimizer"),
            loss=config.loss and _named_object(config.loss, "losses", "loss"),
            metrics=[
                metric
                if isinstance(metric, str)
                else _named_object(metric, "metrics", "train.metrics")
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
        paths = written_by(class_of(callback.class_name, "callbacks", place))
        for key, is_filled_in in paths.items():
            path = arguments.get(key, signature and signature.optional.get(key))
            if isinstance(path, str):
                arguments[key] = RunPath(folder, path)
                if is_filled_in:  # checked already, except for a custom class
                    refuse(field_problems(path, {}, f"{place}.{key}", complete=False))
                else:
                    Path(arguments[key]).parent.mkdir(parents=True, exist_ok=True)
        callbacks.append(made(callback.class_name, arguments, "callbacks", place))
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
                return declared_model(config)
            case SavedModel():
                return load_saved(config)
            case ApplicationModel():
                return _application(config)
            case FunctionModel():
                return _from_function(config)


def _named_object(config: NamedObject, namespace: str, place: str) -> Any:
    return made(config.class_name, config.arguments, namespace, place)


def _application(config: ApplicationModel) -> keras.Model:
    builder = getattr(keras.applications, config.class_name)
    arguments = {"weights": None, **config.arguments}
    try:
        model = builder(**arguments)
    except Exception as error:  # any error, as for a layer
        raise InputError.of(
            "model", f"{config.class_name} cannot be created: {first_line(error)}"
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
            f"{config.function} must return a keras.Model, but it returned {type(model).__name__}",
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
