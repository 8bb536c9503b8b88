"""A model with its initial weights: those of its backend, or of another that draws others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runner.config.experiment_config import ExperimentConfig
from runner.errors import InputError
from runner.experiment.worker import worker_on
from runner.model.backend import load_backend, running_backend

if TYPE_CHECKING:
    import keras
    import numpy as np


def model_of(config: ExperimentConfig) -> Any:
    """Build the model of an experiment with its initial weights, quantized if it says so.

    Raises
    ------
    InputError
        If it cannot be built, or has other weights on the backend that draws them.
    """
    from runner.model.building import build_model
    from runner.model.precision import quantize

    model = build_model(config)
    carry_over(model, config)
    if config.model.quantize is not None:
        quantize(model, config.model.quantize)
    return model


def carry_over(model: keras.Model, config: ExperimentConfig) -> None:
    """Set the weights of a model to those that the backend ``drawn_by`` draws, if it is another.

    Raises
    ------
    InputError
        If the model cannot be built there, or has other weights.
    """
    drawn_by = config.drawn_by
    if drawn_by is None or drawn_by == running_backend():
        return
    check_settable(model, "drawn_by", "leave out drawn_by, and name one backend")
    weights = drawn_on(drawn_by, config)
    if [array.shape for array in weights] != [tuple(own.shape) for own in model.weights]:
        raise InputError.of(
            "drawn_by", f"the model has other weights on {drawn_by} than on {running_backend()}"
        )
    for variable, array in zip(model.weights, weights, strict=True):
        variable.assign(array)


def check_settable(model: Any, place: str, otherwise: str) -> None:
    """Check that the weights of a model can be set before it is called.

    Parameters
    ----------
    model
        The model.
    place, otherwise
        The key that asks for it, and what to do with a model of another library than Keras.

    Raises
    ------
    InputError
        If they cannot.
    """
    if not hasattr(model, "weights"):
        message = "the model is no model of Keras, and its weights are its own"
        raise InputError.of(place, message, otherwise)
    if not model.weights and not model.built:
        raise InputError.of(
            place,
            "the model makes its weights when it is first called, too late to be set",
            "build it where it is made, with model.build(input_shape)",
        )


def drawn_on(backend: str, config: ExperimentConfig) -> list[np.ndarray]:
    """Return the initial weights of an experiment's model as a backend draws them, in their order.

    Parameters
    ----------
    backend
        The backend: of this process, if Keras runs on it or on none yet, else of a worker.
    config
        The experiment.

    Raises
    ------
    InputError
        If the model cannot be built there.
    """
    there = config.model_copy(update={"backend": backend, "optimizer": None})
    if running_backend() in (None, backend):
        return list(drawn_weights(there))
    return list(worker_on(backend).run(drawn_weights, there))


def drawn_weights(config: ExperimentConfig) -> Iterator[np.ndarray]:
    """Build the model of an experiment, and yield its weights in order."""
    load_backend(config.backend)
    from runner.model.backend import framework
    from runner.model.building import build_model

    for variable in build_model(config).weights:
        yield framework().value_of(variable)
