"""How the integers of an ONNX graph stand for real numbers: by constants, or by other tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.converted_models.graph import Quantization

_CHANNELS = 1  # the axis of the channels of quantized activations, by default
_PRODUCTS = ("MatMulInteger", "ConvInteger")
# Their integers of a bias stand for numbers in the scale of the products that it is added to.
_BIASES = {"QLinearConv": ("B", "x_scale", "w_scale"), "QGemm": ("c", "a_scale", "b_scale")}
# Each column of their matrices, along the last axis, may have a scale of its own.
_BY_COLUMN = (
    *("QLinearMatMul", "QGemm", "QAttention", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    "DynamicQuantizeLSTM",
)
_LINEAR = ("QuantizeLinear", "DequantizeLinear")
# These only move the values of their first input, or choose some of them.
_MOVES = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "Split"),
    *("Slice", "Gather", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
)


@dataclass(frozen=True)
class Computed:
    """A scale and a zero point that are tensors of the graph, for all channels together.

    Attributes
    ----------
    scale
        Name of the tensor of the scale, of any shape that the integers' fits.
    zero_point
        Name of that of the zero point; ``None`` if it is 0.
    """

    scale: str
    zero_point: str | None = None

    def dequantized(self, integers: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the real numbers in float32, given the values of the tensors of the graph."""
        zero_point = 0 if self.zero_point is None else values[self.zero_point].astype(np.int64)
        differences = (integers.astype(np.int64) - zero_point).astype(np.float32)
        return np.asarray(differences * values[self.scale].astype(np.float32))


class Quantizations:
    """What is known of the integers of a graph's tensors.

    Parameters
    ----------
    nodes
        The nodes of the graph, in the order in which they are computed.
    constants
        The constants of the graph by name.

    Attributes
    ----------
    of : dict[str, Quantization | Computed]
        Name of a tensor of integers to how they stand for real numbers.
    """

    def __init__(self, nodes: Sequence[Any], constants: Mapping[str, np.ndarray]) -> None:
        self.of: dict[str, Quantization | Computed] = {}
        self._constants = constants
        self._makers = {name: node for node in nodes for name in node.output if name}
        self._users: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def add(self, node: Any, named: Mapping[str, str], axis: int | None) -> None:
        """Add what a node says of its outputs.

        Parameters
        ----------
        node
            The node.
        named
            Its inputs by the names of the arguments.
        axis
            Its attribute of this name.
        """
        if node.op_type == "DynamicQuantizeLinear" and len(node.output) == 3:
            self.of[node.output[0]] = Computed(node.output[1], node.output[2])
        elif node.op_type in _PRODUCTS and (product := self._scale_of(node)) is not None:
            self.of[node.output[0]] = Computed(product)
        elif "y_scale" in named and node.op_type != "DequantizeLinear":
            found = self.constant("y", named, _CHANNELS if axis is None else axis)
            zero_point = named.get("y_zero_point")
            self.of[node.output[0]] = found or Computed(named["y_scale"], zero_point)
        elif node.op_type in _MOVES and node.input and node.input[0] in self.of:
            moved = self.of[node.input[0]]
            if isinstance(moved, Computed) or moved.scale.size == 1:
                outputs = node.output[:1] if node.op_type == "MaxPool" else node.output
                self.of.update((name, moved) for name in outputs if name)

    def constant(self, name: str, named: Mapping[str, str], axis: int) -> Quantization | None:
        """Return how the integers of an argument stand for real numbers, if that is constant."""
        scale = self._constants.get(named.get(f"{name.lower()}_scale", ""))
        if scale is None:
            return None
        scale = scale.reshape(-1)
        key = named.get(f"{name.lower()}_zero_point")
        if key is not None and key not in self._constants:
            return None
        zeros = np.zeros(scale.shape, np.int64)
        return Quantization(scale, zeros if key is None else self._constants[key].reshape(-1), axis)

    def of_weight(
        self, node: Any, name: str, named: Mapping[str, str], axis: int | None
    ) -> Quantization | None:
        """Return how the integers of a constant stand for real numbers, if that is known.

        Parameters
        ----------
        node
            The node that reads it.
        name
            The argument that it is.
        named
            The inputs of the node by the names of the arguments.
        axis
            The attribute of the node of this name.
        """
        if node.op_type in _LINEAR:
            axis = _CHANNELS if axis is None else axis
        elif node.op_type in _BY_COLUMN:
            axis = 0 if any(each.name == "transB" and each.i for each in node.attribute) else -1
        found = self.constant(name, named, axis or 0)
        return self._of_product(node, name, named) if found is None else found

    def _of_product(self, node: Any, name: str, named: Mapping[str, str]) -> Quantization | None:
        """Return how a weight stands for real numbers by the scales of a product."""
        if node.op_type in _BIASES and name == _BIASES[node.op_type][0]:
            scales = [self._constants.get(named.get(k, "")) for k in _BIASES[node.op_type][1:]]
            if scales[0] is None or scales[1] is None:
                return None
            return Quantization((scales[0] * scales[1]).reshape(-1), np.zeros(1, np.int64), -1)
        if node.op_type not in _PRODUCTS or name.lower() not in ("b", "w"):
            return None
        product = self._makers.get(self._scale_of(node) or "")
        if product is None or product.op_type != "Mul":
            return None
        scale = next((self._constants[k] for k in product.input if k in self._constants), None)
        is_matrix = node.op_type == "MatMulInteger"
        if scale is None or (scale.size > 1 and not is_matrix):
            return None
        key = named.get(f"{name.lower()}_zero_point", "")
        if key and key not in self._constants:
            return None
        zeros = self._constants.get(key, np.zeros(1, np.int64)).reshape(-1)
        return Quantization(scale.reshape(-1), zeros, -1)

    def _scale_of(self, node: Any) -> str | None:
        """Return the tensor that the integers of a product are multiplied by after a cast."""
        name = node.output[0]
        for kind in ("Cast", "Mul"):
            users = self._users.get(name, [])
            if len(users) != 1 or users[0].op_type != kind:
                return None
            if kind == "Mul":
                return next((key for key in users[0].input if key != name), None)
            name = users[0].output[0]
        return None
