"""Builds and compiles the Keras model of an experiment, and the callbacks of its training."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path
from typing import Any

import keras

from runner.capture.model_libraries import library_of, loaded_libraries
from runner.config import catalogue
from runner.config.callback_paths import RunPath, field_problems, written_by
from runner.config.declared_config import DeclaredModel
from runner.config.experiment_config import ExperimentConfig
from runner.config.model_config import (
    ApplicationModel,
    FunctionModel,
    NamedObject,
    SavedModel,
    is_converted,
)
from runner.config.strict import refuse
from runner.config.train_config import TrainConfig
from runner.config.user_code import function_of, imported
from runner.converted_models.loading import load_converted
from runner.deep_models import room_for_depth
from runner.errors import InputError, first_line
from runner.model.declared import declared_model
from runner.model.declared_sizes import UncountedError, counting, within_memory
from runner.model.keras_objects import class_of, made
from runner.model.model_files import load_saved, load_weights
from runner.model.precision import check_policy, policy
from runner.model.seeding import seeded
from runner.tensors import InputSpec


def build_model(config: ExperimentConfig) -> Any:
    """Build and compile the model of an experiment, with initial weights drawn from the seed.

    A function may return a model of another library, which is not compiled.

    Names that Keras generates do not depend on models built earlier in the process.

    Raises
    ------
    InputError
        If a layer does not accept its inputs, a file cannot be loaded, or code that the
        configuration names cannot be imported.
    """
    keras.backend.clear_session()
    for module in config.custom_modules:
        imported(module, "custom_modules")
    model = None
    with contextlib.suppress(UncountedError):
        model = _drawn(config, counted=False)
    if model is None:  # what was made of it is free now
        _count(config)
        model = _drawn(config, counted=True)
    if config.train is not None and not isinstance(model, keras.Model):
        raise InputError.of(
            "train",
            f"the model is a {type(model).__name__}, and only Keras models are trained",
            "set train=none",
        )
    if config.optimizer is not None and isinstance(model, keras.Model):
        with within_memory(quick=True, counted=True):
            metrics = [
                metric
                if isinstance(metric, str)
                else _named_object(metric, "metrics", "train.metrics")
                for metric in (config.train.metrics if config.train is not None else [])
            ]
        model.compile(
            optimizer=_named_object(config.optimizer, "optimizers", "optimizer"),
            loss=config.loss and _named_object(config.loss, "losses", "loss"),
            metrics=metrics,
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


def _drawn(config: ExperimentConfig, counted: bool) -> Any:
    # Code takes the time that it takes, and runs once; a file declares no more than it holds.
    quick = not isinstance(config.model, FunctionModel)
    counted = counted or not isinstance(config.model, DeclaredModel | ApplicationModel)
    limits = within_memory(quick=quick, counted=counted)
    with policy(config.model.dtype), seeded(config.seed, config.seeding), limits:
        return _built(config)


def _count(config: ExperimentConfig) -> None:
    """Refuse a model of large weights, before they are made, if there are too many."""
    keras.backend.clear_session()
    gc.collect()  # what was made of it
    model = config.model.model_copy(update={"weights": None})
    with policy(config.model.dtype), counting(quick=True):
        _built(config.model_copy(update={"model": model}))
    keras.backend.clear_session()


def _built(config: ExperimentConfig) -> Any:
    with room_for_depth():
        match config.model:
            case DeclaredModel() as model:
                return declared_model(model)
            case SavedModel() as model if is_converted(model.path):
                return load_converted(model.path, "model.path")
            case SavedModel() as model:
                return load_saved(model)
            case ApplicationModel() as model:
                return _application(model)
            case FunctionModel() as model:
                return _from_function(model, config)


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


def _from_function(config: FunctionModel, experiment: ExperimentConfig) -> Any:
    function = function_of(config.function, config.arguments, "model")
    seeded = loaded_libraries()
    for library in seeded:
        library.set_seed(experiment.seed)
    model = function()
    try:
        library = library_of(model)
    except InputError as error:
        raise InputError.of(
            "model.function",
            f"{config.function} must return a keras.Model or a torch.nn.Module, but it returned "
            f"{type(model).__name__}",
        ) from error
    if library not in seeded:  # the function imported it: its first weights had no seed
        library.set_seed(experiment.seed)
        model = function()
    if config.dtype is not None:
        check_policy(model, config.dtype)
    return model
