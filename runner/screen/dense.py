"""A Dense layer of a published run: all that its outputs were computed from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.config.experiment_config import DeclaredModel, LayerNode, parse
from runner.errors import InputError
from runner.runs.published_run import Run
from runner.tensors import Kind

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _softmax(sums: np.ndarray) -> np.ndarray:
    powers = np.exp(sums - sums.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _sigmoid(sums: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-sums)))


# As the documentation of keras.activations defines them.
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "elu": lambda sums: np.where(sums > 0, sums, np.expm1(sums)),
    "gelu": lambda sums: sums * (1 + _erf(sums / math.sqrt(2))) / 2,
    "leaky_relu": lambda sums: np.where(sums > 0, sums, 0.2 * sums),
    "linear": lambda sums: sums,
    "relu": lambda sums: np.maximum(sums, 0),
    "selu": lambda sums: (
        1.05070098735548 * np.where(sums > 0, sums, 1.67326324235438 * np.expm1(sums))
    ),
    "sigmoid": _sigmoid,
    "silu": lambda sums: sums * _sigmoid(sums),
    "softmax": _softmax,
    "softplus": lambda sums: np.logaddexp(sums, 0),
    "swish": lambda sums: sums * _sigmoid(sums),
    "tanh": np.tanh,
}


@dataclass(frozen=True)
class DenseCall:
    """One call of a Dense layer: ``output = activation(inputs x kernel + bias)``.

    Attributes
    ----------
    name
        Name of the tensor that it put out.
    source
        What it was called on: a tensor's name, or that of an input of the model.
    activation
        Keras's name of it.
    inputs
        Table (sample x input), in the type of the kernel; columns such as ``input0``,
        or ``hidden u0`` of a layer.
    kernel
        Array (input, unit).
    bias
        Array (unit,); zeros where the layer has none.
    output
        Table (sample x unit) as stored.
    """

    name: str
    source: str
    activation: str
    inputs: pd.DataFrame
    kernel: np.ndarray
    bias: np.ndarray
    output: pd.DataFrame

    @classmethod
    def read(cls, run: Run, name: str) -> DenseCall:
        """Read a call back.

        Parameters
        ----------
        run
            A run of a declared model.
        name
            The tensor that the layer put out.

        Raises
        ------
        InputError
            If there is no such tensor, or if it is of a kind that is not covered yet.
        """
        tensor = run.tensor(name, "activation")
        if tensor.layer_class != "Dense":
            raise _not_covered(name, f"{tensor.layer_class} layers", "Dense layers are")
        output = _vectors(run, name, "activation")
        model = run.config.get("model")
        if not isinstance(model, dict) or "layers" not in model:
            raise _not_covered(name, "models from elsewhere", "those declared layer by layer are")
        declared = parse(run.config).model
        if not isinstance(declared, DeclaredModel) or tensor.layer_path not in declared.layers:
            raise _not_covered(name, "layers inside others")
        node = declared.layers[tensor.layer_path]
        source, inputs = _called_on(run, declared, name)
        kernel = run.weights(f"{tensor.layer_path}/kernel").to_numpy()
        bias = np.zeros(kernel.shape[1], kernel.dtype)
        if node.arguments.get("use_bias", True):
            bias = run.weights(f"{tensor.layer_path}/bias").to_numpy().reshape(-1)
        return cls(
            name, source, _activation(name, node), inputs.astype(kernel.dtype), kernel, bias, output
        )

    def sums(self, row: int) -> np.ndarray:
        """Return ``inputs x kernel + bias`` of one sample, in float64: shape (unit,)."""
        inputs = self.inputs.iloc[row].to_numpy(np.float64)
        with np.errstate(all="ignore"):
            return np.asarray(inputs @ self.kernel.astype(np.float64) + self.bias)

    def outputs(self, row: int) -> np.ndarray:
        """Return the outputs of one sample, computed anew in float64: shape (unit,)."""
        with np.errstate(all="ignore"):
            return _ACTIVATIONS[self.activation](self.sums(row))

    def rounding(self, row: int) -> float:
        """Return how far rounding at every step may have moved an output of one sample.

        The bound on a sum of n products is that of Higham, "Accuracy and Stability of
        Numerical Algorithms" (2002), section 3.1, to first order; no activation
        stretches it much, and each adds a few roundings of its own.
        """
        inputs = self.inputs.iloc[row].to_numpy(np.float64)
        size = (np.abs(inputs) @ np.abs(self.kernel) + np.abs(self.bias)).max()
        steps = 2 * (len(inputs) + 4)
        return float(steps * np.finfo(self.kernel.dtype).eps * (1 + size))


def _called_on(run: Run, model: DeclaredModel, name: str) -> tuple[str, pd.DataFrame]:
    """Return the name and the values of what a layer was called on."""
    # The name of one call among several is no layer's.
    source = model.call_arguments(name) if name in model.layers else None
    if not isinstance(source, str):
        if any(tensor.kind == "input" and tensor.name == name for tensor in run.record.tensors):
            return "input", _vectors(run, name, "input").add_prefix("input ")
        what = "calls of a shared layer" if source is None else "calls with several arguments"
        raise _not_covered(name, what, "with capture.kinds=[activation,weight,input] they are")
    if source.partition(":")[0] in model.layers:
        return source, _vectors(run, source, "activation").add_prefix(f"{source} ")
    return source, _shown(run, source, name)


def _shown(run: Run, source: str, name: str) -> pd.DataFrame:
    """Return what an input of the model was shown, a vector for each sample."""
    probe = run.probe
    specs = run.record.probe.inputs if run.record.probe is not None else ()
    shape = next((spec.shape for spec in specs if len(specs) == 1 or spec.name == source), ())
    columns = [f"{source}{entry}" for entry in range((shape[0] if shape else 0) or 0)]
    if len(specs) == 1:  # whose columns may bear names of their own
        columns = [
            column for column in map(str, probe) if not re.fullmatch(r"label|target\d*", column)
        ]
    if len(shape) != 1 or shape[0] != len(columns):
        raise _not_covered(name, f"inputs of shape {list(shape)} a sample", "vectors are")
    return probe[columns]


def _vectors(run: Run, name: str, kind: Kind) -> pd.DataFrame:
    """Return the table of a tensor that is a whole vector of floats for each sample."""
    tensor = run.tensor(name, kind)
    if tensor.reduction is not None:
        raise _not_covered(name, f"tensors reduced to their {tensor.reduction}")
    if len(tensor.shape) != 1:
        raise _not_covered(name, f"tensors of shape {list(tensor.shape)} a sample", "vectors are")
    if tensor.dtype not in ("float32", "float64"):
        raise _not_covered(name, f"tensors of type {tensor.dtype}", "float32 and float64 are")
    return run.table(name, kind)


def _activation(name: str, node: LayerNode) -> str:
    activation = node.arguments.get("activation") or "linear"
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        told = activation if isinstance(activation, str) else activation.get("class_name")
        raise _not_covered(name, f"activation '{told}'", f"{', '.join(_ACTIVATIONS)} are")
    return activation


def _not_covered(name: str, what: str, advice: str = "") -> InputError:
    verb = "is" if what.startswith("activation ") else "are"
    return InputError.of(name, f"{what} {verb} not covered yet", advice)
