"""The weights of a run: from its tables, or drawn again from its seed."""

from __future__ import annotations

from math import prod

import ml_dtypes
import numpy as np

from runner.config.experiment_config import ExperimentConfig
from runner.errors import InputError
from runner.experiment.drawing import drawn_on
from runner.experiment.given_weights import GivenWeights
from runner.runs.run_tensors import RunTensors


def weights_of(run: RunTensors, experiment: ExperimentConfig) -> GivenWeights:
    """Return the weights of a run: those in its tables, or else drawn again where it drew them.

    Parameters
    ----------
    run
        The run.
    experiment
        The experiment that it was made from.

    Raises
    ------
    InputError
        If its tables do not have all of them, and they are not those that its seed gives.
    """
    record = run.record
    if record.model is None or record.backend is None:
        why = record.error or "nothing was shown"
        raise InputError.of(f"run {record.run_id}", f"has no weights: {why}")
    quantized = experiment.model.quantize is not None
    kept = _kept(run, record.model.weights)
    if kept is None and (record.training is not None or record.weights_of or quantized):
        raise InputError.of(
            f"run {record.run_id}",
            "its tables do not have all its weights, and no seed gives those",
            "run it again with weight in capture.kinds, for all layers",
        )
    if kept is not None:
        return GivenWeights(record.run_id, record.model.sha256, quantized, kept)
    drawn = drawn_on(experiment.drawn_by or record.backend.name, experiment)
    return GivenWeights(record.run_id, record.model.sha256, quantized, drawn)


def _kept(run: RunTensors, count: int) -> dict[str, np.ndarray] | None:
    """Return all weights by their names, if the tables have as many values as the model."""
    tensors = [tensor for tensor in run.record.tensors if tensor.kind == "weight"]
    own = {tensor.name: tensor for tensor in tensors if tensor.alias_of is None}
    if sum(prod(tensor.shape) for tensor in own.values()) != count:
        return None
    values = {name: _in_its_dtype(run.array(name, "weight"), own[name].dtype) for name in own}
    return {tensor.name: values[tensor.alias_of or tensor.name] for tensor in tensors}


def _in_its_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return values in the dtype that they had in the model: tables have no bfloat16."""
    return values.astype(getattr(ml_dtypes, dtype, dtype), copy=False)
