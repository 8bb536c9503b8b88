"""Converted models as a capture uses them: the functions of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from runner.capture.batches import Shown
from runner.capture.changing import Changes
from runner.capture.model_library import Targets
from runner.capture.selection import Selection
from runner.converted_models import converted_tensors as tensors
from runner.converted_models.converted_passes import ConvertedPasses, can_be_given
from runner.converted_models.graph import Constant, ConvertedModel
from runner.engines.settings import Backend
from runner.errors import InputError, RunError
from runner.probe.probe import Probe
from runner.probe.source import Layout
from runner.tensors import InputSpec

_OF_KERAS = {
    "gradient": "a converted model has no gradients",
    "pre_activation": "in a converted model, an activation function is an operation or fused",
}


def name_of(model: ConvertedModel) -> str:
    """Return the name of a model: that of its file."""
    return model.path.stem


def input_specs(model: ConvertedModel) -> tuple[InputSpec, ...]:
    """Return the inputs that a model declares."""
    return tuple(model.inputs.values())


def picture_layout(model: ConvertedModel) -> Layout:
    """Return the layout in which a model takes pictures: that of its file's format."""
    return "channels_first" if model.channels_first else "channels_last"


def named_loss(class_name: str, arguments: Mapping[str, Any]) -> None:
    """Return nothing: a converted model has no gradients."""


def set_seed(seed: int) -> None:
    """Draw the weights of models that are built next: converted models are only read."""


def weights_of(model: ConvertedModel) -> list[Any]:
    """Return the weights of a model, each once, in the order of its operations."""
    found = {id(own): own for each in model.operations for _, own in each.weights}
    return [own for own in found.values() if tensors.unfit_weight(own) is None]


def value_of(variable: Constant) -> np.ndarray:
    """Return a copy of the value of a weight."""
    return variable.value.copy()


def count_parameters(model: ConvertedModel) -> int:
    """Return the number of values of all weights of a model."""
    return sum(own.value.size for own in weights_of(model))


def number_types(model: ConvertedModel, probe: Probe) -> tuple[InputSpec, ...]:  # noqa: ARG001
    """Return the inputs of a model, whose dtypes are those to which it casts."""
    return input_specs(model)


def fixed_batch(model: ConvertedModel) -> int | None:
    """Return the batch size that a model's inputs require, if they have one."""
    return model.batch_size


def unrounded(model: ConvertedModel) -> ConvertedModel | None:
    """Return the model with real numbers in place of its integers.

    It is ``None`` if it has no integers, or its runtime does not have its operations on numbers.
    """
    try:
        return model.unrounded()
    except InputError:
        return None


def has_states(model: ConvertedModel) -> bool:  # noqa: ARG001
    """Return whether a model keeps a state for each position in a batch: it begins anew."""
    return False


def targets_of(*_: Any) -> Targets:
    """Raise the error that a converted model has no gradients."""
    raise InputError.of("capture.kinds", f"gradient: {_OF_KERAS['gradient']}")


def total_loss(model: ConvertedModel, loss: Any, targets: Any, output: Any) -> float:  # noqa: ARG001
    """Raise an error: a converted model has no loss."""
    raise InputError.of("loss", "a converted model has none", "leave it out")


def lanes() -> int:
    """Return the rows that matrix products compute side by side: no number is known."""
    return 1


def exact() -> AbstractContextManager[None]:
    """Compute values that do not depend on which others are captured: they never do."""
    return nullcontext()


def passes_of(
    model: ConvertedModel,
    batch: Shown,  # noqa: ARG001
    selection: Selection,
    *,
    training: bool,
    loss: Any,  # noqa: ARG001
    changes: Changes | None,
) -> ConvertedPasses:
    """Prepare the forward passes of a model."""
    if changes is not None and not can_be_given(changes):
        raise InputError.of(
            "intervene",
            "what a converted model computes cannot be changed: its runtime runs it as a whole",
            "intervene in the model that it was made from",
        )
    for kind, why in _OF_KERAS.items():
        if kind in selection.kinds:
            raise InputError.of("capture.kinds", f"{kind}: {why}", "leave it out")
    if training:
        raise InputError.of(
            "capture.training", "a converted model has no training mode", "leave it out"
        )
    return ConvertedPasses(model, selection, changes)


def advice(error: RunError, model: Any, inputs: Any, rows: int | None) -> str:  # noqa: ARG001
    """Return advice about a first batch on which the model failed: there is none."""
    return ""


def read_backend(model: ConvertedModel) -> Backend:
    """Return the settings of the runtime's computations."""
    return model.read_backend()
