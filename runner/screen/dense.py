"""A Dense layer of a published run: its inputs, weights and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.arithmetic.account import fitting_tables, not_covered
from runner.arithmetic.layer_call import LayerCall
from runner.runs.published_run import Run


@dataclass(frozen=True)
class DenseCall:
    """One call of a Dense layer: ``output = activation(inputs x kernel + bias)``.

    Attributes
    ----------
    name
        Name of the output tensor.
    source
        Name of the tensor, or of the model's input, that the layer was called on.
    activation
        Keras's name of the activation function.
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
        """Read a call from a run.

        Parameters
        ----------
        run
            A run of a declared model.
        name
            Name of the layer's output tensor.

        Raises
        ------
        InputError
            If there is no such tensor, or if a layer or tensor of its kind is not covered.
        """
        with fitting_tables(name):
            return cls._read(run, name)

    @classmethod
    def _read(cls, run: Run, name: str) -> DenseCall:
        call = LayerCall.read(run, name, 0)
        if call.layer.layer_class != "Dense":
            raise not_covered(name, f"{call.layer.layer_class} layers", "Dense layers are")
        if call.arguments.get("quantization") or call.arguments.get("lora_rank"):
            raise not_covered(name, "layers that are quantized or have LoRA")
        source, inputs = _called_on(run, call)
        output = _vectors(run, name)
        kernel = call.weight("kernel")
        bias = np.zeros(kernel.shape[-1:], kernel.dtype)
        if call.arguments.get("use_bias", True):
            bias = call.weight("bias")
        width = output.shape[1]
        if (kernel.shape, bias.shape) != ((inputs.shape[1], width), (width,)):
            raise ValueError(f"a kernel of shape {kernel.shape}, a bias of shape {bias.shape}")
        return cls(name, source, call.activation, inputs.astype(kernel.dtype), kernel, bias, output)


def _called_on(run: Run, call: LayerCall) -> tuple[str, pd.DataFrame]:
    """Return the name and the values of a layer's input."""
    wire = call.wiring.wires[0]
    if wire.tensor is not None:
        return wire.tensor, _vectors(run, wire.tensor).add_prefix(f"{wire.tensor} ")
    operand = call.operand
    if operand.values.ndim != 1 or not operand.labels:
        raise not_covered(call.name, f"inputs of shape {list(operand.values.shape)} a sample")
    values = run.shown.input(operand.source).values.reshape(-1, operand.values.size)
    return operand.source, pd.DataFrame(values, run.probe.index, list(operand.labels))


def _vectors(run: Run, name: str) -> pd.DataFrame:
    """Return the table of a tensor, which must hold a vector of floats for each sample."""
    tensor = run.tensor(name, "activation")
    if tensor.reduction is not None or len(tensor.shape) != 1:
        raise not_covered(name, f"tensors of shape {list(tensor.shape)} a sample", "vectors are")
    if tensor.dtype not in ("float32", "float64"):
        raise not_covered(name, f"tensors of type {tensor.dtype}", "float32 and float64 are")
    return run.table(name, "activation")
