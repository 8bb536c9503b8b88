"""Weights that Keras stores as integers, as the numbers that they stand for."""

from __future__ import annotations

import numpy as np

from runner.record.layer_record import TensorRecord
from runner.runs.run_tensors import RunTensors

_FACTORS = ("_scale", "_zero")
_GROUPS = "g_idx"


class RealWeights:
    """The weights of a run, quantized ones as real numbers.

    A quantized weight has its scale in a weight beside it: ``kernel`` in ``kernel_scale``. The
    formulas are those of ``keras.quantizers``.

    Parameters
    ----------
    run
        The run.
    """

    def __init__(self, run: RunTensors) -> None:
        self._run = run
        self._layers = {layer.path: layer for layer in run.record.layers}
        self._known = {one.name: one for one in run.record.tensors if one.kind == "weight"}

    def is_quantized(self, tensor: TensorRecord) -> bool:
        """Return whether a weight is stored as integers, with a scale."""
        is_integer = tensor.dtype.startswith(("int", "uint"))
        return tensor.kind == "weight" and is_integer and f"{tensor.name}_scale" in self._known

    def is_factor(self, name: str) -> bool:
        """Return whether a weight only says what the integers of another one stand for."""
        for end in _FACTORS:
            of = self._known.get(name.removesuffix(end)) if name.endswith(end) else None
            if of is not None and self.is_quantized(of):
                return True
        return name.endswith(f"/{_GROUPS}") and name in self._known

    def of(self, tensor: TensorRecord) -> np.ndarray | None:
        """Return the real numbers of a weight; ``None`` if it is not known how they are stored.

        The four-bit integers of a kernel with more than two axes are in a matrix.
        """
        values = self._run.array(tensor.name, "weight")
        if not self.is_quantized(tensor):
            return values
        layer = self._layers[tensor.layer_path]
        arguments = layer.arguments or {}
        mode = (arguments.get("quantization") or {}).get("mode")
        scale = self._run.array(f"{tensor.name}_scale", "weight")
        of_rows = tensor.name.endswith("embeddings")
        if mode == "int8":
            equation = str(arguments.get("equation", ""))
            along = _along(scale, values, equation) if equation else scale
            if along is None:
                return None
            return np.asarray(values / (scale[:, None] if of_rows else along))
        if mode != "int4":
            return None
        width = int(arguments.get("output_dim", 0)) if of_rows else scale.shape[-1]
        entries = unpacked(values, width)
        if f"{tensor.name}_zero" not in self._known:
            return np.asarray(entries / (scale[:, None] if of_rows else scale))
        groups = self._run.array(f"{tensor.layer_path}/{_GROUPS}", "weight").astype(int)
        zero = self._run.array(f"{tensor.name}_zero", "weight").astype(scale.dtype)
        axis = 1 if of_rows else 0
        zero, scale = (np.take(each, groups, axis=axis) for each in (zero, scale))
        return np.asarray((entries - zero) * scale)


def _along(scale: np.ndarray, kernel: np.ndarray, equation: str) -> np.ndarray | None:
    """Return the scale of an EinsumDense, which has the axes of its output, along its kernel's."""
    left, _, out = equation.partition("->")
    axes = left.partition(",")[2]
    if "." in equation or len(axes) != kernel.ndim or len(out) != scale.ndim:
        return None
    sizes = dict(zip(out, scale.shape, strict=True))
    order = [out.index(axis) for axis in axes if axis in sizes]
    shared = [place for place in range(scale.ndim) if place not in order]
    if any(scale.shape[place] != 1 for place in shared):
        return None
    shape = [sizes.get(axis, 1) for axis in axes]
    return scale.transpose([*order, *shared]).reshape(shape)


def unpacked(packed: np.ndarray, width: int) -> np.ndarray:
    """Return the four-bit integers packed along the last axis, two per byte, the low one first."""
    bits = packed.astype(np.int64) & 0xFF
    pairs = np.stack([bits & 0xF, bits >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
    return ((pairs[..., :width] ^ 8) - 8).astype(np.int8)
