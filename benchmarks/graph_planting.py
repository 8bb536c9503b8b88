"""Faults that are planted in one operation of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class GraphFault:
    """A fault in one operation of a graph.

    Attributes
    ----------
    model, layer
        The names of the model that was exported, and of the layer that the operation is of.
    kind
        What is wrong.
    operation
        The kind of the operation.
    plant
        Changes the operation, given the graph and the operation.
    """

    model: str
    layer: str
    kind: str
    operation: str
    plant: Callable[[Any, Any], None]

    def planted(self, clean: Path, path: Path) -> None:
        """Write a copy of a file with the fault."""
        model = onnx.load(clean)
        own = [
            node
            for node in model.graph.node
            if node.op_type == self.operation and f"/{self.layer}_1/" in f"{node.name}/"
        ]
        self.plant(model.graph, own[0])
        onnx.save(model, path)


def _weight(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Any], None]:
    """Return what changes the first constant of an operation."""

    def plant(graph: Any, node: Any) -> None:
        for each in graph.initializer:
            if each.name in node.input:
                changed = change(numpy_helper.to_array(each))
                new = numpy_helper.from_array(np.ascontiguousarray(changed), each.name + "_wrong")
                graph.initializer.append(new)
                node.input[list(node.input).index(each.name)] = new.name
                return
        raise ValueError(f"{node.name} has no constant")

    return plant


def _operation(name: str, **attributes: Any) -> Callable[[Any, Any], None]:
    """Return what makes another operation of one."""

    def plant(graph: Any, node: Any) -> None:  # noqa: ARG001
        node.op_type = name
        del node.input[1:]
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(*each) for each in attributes.items())

    return plant


def _attribute(name: str, change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    """Return what changes an attribute of an operation."""

    def plant(graph: Any, node: Any) -> None:  # noqa: ARG001
        found = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        found[name] = change(found.get(name))
        del node.attribute[:]
        node.attribute.extend(helper.make_attribute(*each) for each in found.items())

    return plant


def _one_wrong(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed.flat[np.abs(values).argmax()] *= -1
    return changed


def _moved(pads: Any) -> list[int]:
    """Return pads with one row more at the top, and one less at the bottom."""
    top, left, bottom, right = pads
    return [top + 1, left, bottom - 1, right]


_HALVES = {"kernel_shape": [2, 2], "strides": [2, 2]}

GRAPH_FAULTS: tuple[GraphFault, ...] = (
    GraphFault("mlp", "first", "scale", "MatMul", _weight(lambda values: values * 1.1)),
    GraphFault("mlp", "second", "transposed", "MatMul", _weight(np.transpose)),
    GraphFault("mlp", "second", "activation", "Tanh", _operation("Softsign")),
    GraphFault("mlp", "third", "activation", "Sigmoid", _operation("HardSigmoid")),
    GraphFault("cnn", "conv_b", "one weight", "Conv", _weight(_one_wrong)),
    GraphFault("cnn", "conv_b", "padding", "Conv", _attribute("pads", _moved)),
    GraphFault("cnn", "conv_b", "activation", "Relu", _operation("Elu")),
    GraphFault(
        "cnn", "conv_c", "transposed", "Conv", _weight(lambda values: values.swapaxes(2, 3))
    ),
    GraphFault("cnn", "norm_c", "scale", "Mul", _weight(lambda values: values * 1.1)),
    GraphFault("cnn", "norm_c", "bias", "Add", _weight(lambda values: values + 0.1)),
    GraphFault("cnn", "leaky", "activation", "LeakyRelu", _attribute("alpha", lambda _: 0.2)),
    GraphFault("cnn", "average", "pooling", "AveragePool", _operation("MaxPool", **_HALVES)),
    GraphFault("depthwise", "depth", "padding", "Conv", _attribute("pads", _moved)),
    GraphFault("depthwise", "depth", "transposed", "Conv", _weight(lambda v: v.swapaxes(2, 3))),
    GraphFault("depthwise", "depth_norm", "scale", "Mul", _weight(lambda values: values * 1.1)),
    GraphFault("residual", "stem", "padding", "Conv", _attribute("pads", _moved)),
    GraphFault("residual", "joined_relu", "activation", "Relu", _operation("Abs")),
    GraphFault("residual", "up", "one weight", "ConvTranspose", _weight(_one_wrong)),
)
"""Faults in files that Keras exports of `benchmarks.fault_models`."""
