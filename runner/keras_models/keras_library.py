"""Keras models as a capture uses them: the functions of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from runner.capture.batches import Shown
from runner.capture.changing import Changes
from runner.capture.selection import Selection
from runner.engines.settings import Backend
from runner.errors import CallError
from runner.keras_models import losses
from runner.keras_models.batches import fixed_batch as fixed_batch
from runner.keras_models.batches import has_states as has_states
from runner.keras_models.failures import batch_size_advice
from runner.keras_models.forward import Forward
from runner.keras_models.passes import KerasPasses
from runner.keras_models.state import left_alone
from runner.model.backend import framework
from runner.model.building import input_specs as input_specs
from runner.model.building import output_shape
from runner.probe.probe import Probe
from runner.probe.source import Layout
from runner.probe.targets import Targets
from runner.tensors import InputSpec


def name_of(model: keras.Model) -> str:
    """Return the name of a model."""
    return str(model.name)


def picture_layout(model: keras.Model) -> Layout | None:  # noqa: ARG001
    """Return the layout in which a model takes pictures: its inputs tell it."""
    return None


def unrounded(model: keras.Model) -> None:
    """Return nothing: layers that Keras quantizes return real numbers."""


def named_loss(class_name: str, arguments: Mapping[str, Any]) -> None:
    """Return nothing: a model of Keras was compiled with the loss that a configuration names."""


def set_seed(seed: int) -> None:
    """Draw the weights of models that are built next from a seed."""
    keras.utils.set_random_seed(seed)


def weights_of(model: keras.Model) -> list[Any]:
    """Return the weights of a model, in Keras's order."""
    return list(model.weights)


def value_of(variable: Any) -> np.ndarray:
    """Return a copy of the value of a variable of Keras or of the framework."""
    return framework().value_of(variable)


def count_parameters(model: keras.Model) -> int:
    """Return the number of values of all weights of a model."""
    return int(model.count_params())


def number_types(model: keras.Model, probe: Probe) -> tuple[InputSpec, ...]:
    """Return the inputs of a model; those of the probe in the dtype to which Keras casts them."""
    specs = input_specs(model)
    if specs or not model.autocast:
        return specs
    cast = [spec for spec in probe.inputs if "float" in spec.dtype]
    return tuple(replace(spec, dtype=str(model.compute_dtype)) for spec in cast)


def targets_of(model: keras.Model, probe: Probe, inputs: Any, loss: Any) -> Targets:
    """Return the targets of the loss with which gradients are computed."""
    with left_alone(model):
        shape = output_shape(model, inputs)
    if loss is None:
        loss = getattr(model, "loss", None)
    return Targets(probe, loss, shape, keras.config.floatx())


def total_loss(model: keras.Model, loss: Any, targets: np.ndarray, output: np.ndarray) -> float:
    """Return the sum of the losses of all samples."""
    total = losses.total_loss(model.loss if loss is None else loss, targets, output)
    return float(framework().as_array(total))


def lanes() -> int:
    """Return the rows that matrix products compute side by side."""
    return framework().lanes


def exact() -> AbstractContextManager[None]:
    """Compute values in the scope that do not depend on which others are captured."""
    return framework().exact()


def passes_of(
    model: keras.Model,
    batch: Shown,
    selection: Selection,
    *,
    training: bool,
    loss: Any,
    changes: Changes | None,
) -> KerasPasses:
    """Prepare the forward passes of a model, given the first batch."""
    forward = Forward(model, selection, training, batch.samples, loss, changes)
    return KerasPasses(forward, batch)


def advice(error: CallError, model: keras.Model, inputs: Any, rows: int | None) -> str:
    """Return advice if the code of a model requires another batch size."""
    return batch_size_advice(error, model, inputs, rows)


def read_backend(model: keras.Model) -> Backend:  # noqa: ARG001
    """Return the settings of Keras's computations."""
    return framework().read_settings()
