"""Weights of a run, given to the model of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.config.experiment_config import ExperimentConfig
from runner.errors import InputError, some
from runner.experiment.drawing import check_settable
from runner.saving.weight_values import sha256_of

if TYPE_CHECKING:
    import keras
    import numpy as np


@dataclass(frozen=True)
class GivenWeights:
    """The weights of a run, for a model of the same layers on any backend and in any dtype.

    Attributes
    ----------
    run_id
        The run.
    sha256
        The recorded hash of its weights.
    quantized
        Whether they are those of a quantized model.
    values
        The weights in the order of the model, or by the names of their tables.
    """

    run_id: str
    sha256: str
    quantized: bool
    values: Sequence[np.ndarray] | Mapping[str, np.ndarray]

    def model_of(self, config: ExperimentConfig) -> Any:
        """Build the model of an experiment with these weights, quantized if it says so.

        Raises
        ------
        InputError
            If it cannot be built or has other weights, or the weights are not those of the run.
        """
        from runner.model.building import build_model
        from runner.model.precision import quantize

        model = build_model(config)
        check_settable(model, f"run {self.run_id}", "repeat the run without overrides")
        if self.quantized and config.model.quantize is not None:
            quantize(model, config.model.quantize)
        self._set(model)
        if not self.quantized and config.model.quantize is not None:
            quantize(model, config.model.quantize)
        return model

    def _set(self, model: keras.Model) -> None:
        values = self._ordered(model)
        for own, value in zip(model.weights, values, strict=False):
            if tuple(own.shape) != value.shape:
                raise InputError.of(
                    f"run {self.run_id}",
                    f"its weight {own.path} has shape {list(value.shape)}, and with the overrides "
                    f"{list(own.shape)}",
                    "override no key that changes weights",
                )
        if len(values) != len(model.weights):
            raise InputError.of(
                f"run {self.run_id}",
                f"has {len(values)} weights, and with the overrides {len(model.weights)}",
                "override no key that changes weights",
            )
        if sha256_of(values) != self.sha256:
            raise InputError.of(
                f"run {self.run_id}",
                "its weights cannot be restored: those found have another hash than is recorded",
                "check the run with the command verify, and with rerun without overrides",
            )
        for own, value in zip(model.weights, values, strict=True):
            own.assign(value)

    def _ordered(self, model: keras.Model) -> Sequence[np.ndarray]:
        """Return the values in the order of a model's weights."""
        from runner.keras_models.model_tree import named_weights

        if not isinstance(self.values, Mapping):
            return self.values
        of_variable = {
            id(variable): self.values[name]
            for name, variable in named_weights(model)
            if name in self.values
        }
        lacking = [weight.path for weight in model.weights if id(weight) not in of_variable]
        if lacking:
            raise InputError.of(f"run {self.run_id}", f"has no table of weight {some(lacking)}")
        return [of_variable[id(weight)] for weight in model.weights]
