"""Modules of PyTorch as a capture uses them: the functions of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from runner.capture.batches import Shown
from runner.capture.changing import Changes
from runner.capture.selection import Selection
from runner.config.torch_losses import TORCH_LOSSES
from runner.engines.settings import Backend
from runner.engines.torch.origins import name_of as dtype_name
from runner.engines.torch.settings import read_settings
from runner.errors import CallError, InputError, first_line, suggest
from runner.probe.batch import Batch, is_text
from runner.probe.probe import Probe
from runner.probe.source import Layout
from runner.tensors import InputSpec
from runner.torch_modules import module_gradients, tensors
from runner.torch_modules.module_inputs import Placing
from runner.torch_modules.module_tree import own_tensors, submodules, unwrapped
from runner.torch_modules.passes import TorchPasses


def name_of(model: nn.Module) -> str:
    """Return the name of a model: that of its class."""
    return type(unwrapped(model)).__name__


def input_specs(model: nn.Module) -> tuple[InputSpec, ...]:  # noqa: ARG001
    """Return the inputs that a model declares: a module declares none."""
    return ()


def picture_layout(model: nn.Module) -> Layout:  # noqa: ARG001
    """Return the layout in which a model takes pictures."""
    return "channels_first"


def set_seed(seed: int) -> None:
    """Draw the weights of modules that are made next from a seed."""
    torch.manual_seed(seed)


def weights_of(model: nn.Module) -> list[Any]:
    """Return the parameters and buffers of a model, each once, in the order of its modules."""
    model = unwrapped(model)
    modules = [model, *(module for _, module, _ in submodules(model))]
    found = {id(own): own for module in modules for _, own in own_tensors(module)}
    return [own for own in found.values() if tensors.unfit_weight(own) is None]


def value_of(variable: torch.Tensor) -> np.ndarray:
    """Return a copy of the value of a parameter or buffer."""
    return tensors.as_arrays([variable])[0].copy()


def count_parameters(model: nn.Module) -> int:
    """Return the number of values of all parameters and buffers of a model."""
    return sum(own.numel() for own in weights_of(model))


def number_types(model: nn.Module, probe: Probe) -> tuple[InputSpec, ...]:
    """Return the inputs of a probe; those of floating-point numbers in the dtype of the weights."""
    floating = Placing.of(model).floating
    if floating is None:
        return probe.inputs
    dtype: Any = dtype_name(floating)
    return tuple(
        replace(spec, dtype=dtype) if "float" in spec.dtype else spec for spec in probe.inputs
    )


def fixed_batch(model: nn.Module) -> int | None:  # noqa: ARG001
    """Return the batch size that a model's inputs require: none is known."""
    return None


def unrounded(model: nn.Module) -> None:
    """Return nothing: what modules round to integers is not known."""


def has_states(model: nn.Module) -> bool:  # noqa: ARG001
    """Return whether a model keeps a state for each position in a batch: not that is known."""
    return False


@dataclass(frozen=True)
class _Targets:
    """The targets of a loss of PyTorch: those of the probe, or its labels."""

    source: str

    def of(self, batch: Batch, row: int = 0) -> np.ndarray:
        """Return the targets of a batch that starts at a row, of shape (sample, ...)."""
        targets = batch.labels if batch.targets is None else batch.targets
        if targets is None or is_text(targets):
            raise InputError.of(
                "probe",
                f"{self.source}: from row {row} on it has no targets, and no labels that are "
                "numbers, for the loss",
                "give targets",
            )
        return targets


def named_loss(class_name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the loss that a configuration names.

    Raises
    ------
    InputError
        If it is no loss of PyTorch, or does not take the arguments.
    """
    if class_name not in TORCH_LOSSES:
        raise InputError.of(
            "loss.class_name",
            f"{class_name} is no loss of PyTorch, and gradients of a torch.nn.Module need one",
            suggest(class_name, TORCH_LOSSES)
            or f"set loss.class_name to one of {', '.join(TORCH_LOSSES)}",
        )
    try:
        loss: nn.Module = getattr(nn, class_name)(**arguments)
    except (TypeError, ValueError) as error:
        message = f"{class_name} cannot be created: {first_line(error)}"
        raise InputError.of("loss", message) from error
    return loss


def targets_of(model: nn.Module, probe: Probe, inputs: Any, loss: Any) -> _Targets:  # noqa: ARG001
    """Return the targets of the loss with which gradients are computed."""
    if not callable(loss):
        raise InputError.of(
            "loss",
            "gradients of a torch.nn.Module need a loss, a function of its output and the targets",
            "such as loss=torch.nn.CrossEntropyLoss()",
        )
    return _Targets(probe.source)


def total_loss(model: nn.Module, loss: Any, targets: np.ndarray, output: np.ndarray) -> float:
    """Return the sum of the losses of all samples."""
    placing = Placing(torch.device("cpu"), Placing.of(model).floating)
    given, returned = placing.tensors([targets, output])
    with torch.no_grad():
        return float(module_gradients.total_loss(loss, given, returned))


def lanes() -> int:
    """Return the rows that matrix products compute side by side: no number is known."""
    return 1


def exact() -> AbstractContextManager[None]:
    """Compute values that do not depend on which others are captured: they never do."""
    return nullcontext()


def passes_of(
    model: nn.Module,
    batch: Shown,  # noqa: ARG001
    selection: Selection,
    *,
    training: bool,
    loss: Any,
    changes: Changes | None,
) -> TorchPasses:
    """Prepare the forward passes of a model."""
    return TorchPasses(model, selection, training=training, loss=loss, changes=changes)


def advice(error: CallError, model: nn.Module, inputs: Any, rows: int | None) -> str:  # noqa: ARG001
    """Return advice about a first batch on which the model failed: there is none."""
    return ""


def read_backend(model: nn.Module) -> Backend:  # noqa: ARG001
    """Return the settings of PyTorch's computations."""
    return read_settings()
