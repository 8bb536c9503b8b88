"""Real numbers in place of the integers of a quantized ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from runner.converted_models.graph import Quantization
from runner.converted_models.onnx_nodes import constants_of

_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


def with_real_numbers(graph: Any) -> bool:
    """Make a graph compute with the real numbers that its integers stand for.

    Nothing is rounded to integers any more but the weights, which stay as they are. Values are
    still cut off where they are beyond the range of the integers. All nodes keep their names.

    Parameters
    ----------
    graph
        The graph, which is changed.

    Returns
    -------
    bool
        Whether it has such integers.
    """
    constants = dict(constants_of(graph))
    changes = {
        "QuantizeLinear": _cut_off,
        "DequantizeLinear": _as_it_is,
        "DynamicQuantizeLinear": _with_scale_of_one,
        **dict.fromkeys(_PRODUCTS, _product),
    }
    changed = False
    for node in graph.node:
        if node.op_type in changes and node.input[0] not in constants:
            changes[node.op_type](graph, node, constants)
            changed = True
    if changed:
        del graph.value_info[:]  # the types of some are others now
    return changed


def _as_it_is(graph: Any, node: Any, constants: Mapping[str, np.ndarray]) -> None:  # noqa: ARG001
    node.op_type = "Identity"
    del node.input[1:], node.output[1:], node.attribute[:]


def _cut_off(graph: Any, node: Any, constants: Mapping[str, np.ndarray]) -> None:
    """Replace rounding to integers of a constant scale by the range that these have."""
    scale, zero_point = (constants.get(each) for each in [*node.input[1:], "", ""][:2])
    name = node.output[0]
    _as_it_is(graph, node, constants)
    if scale is None or zero_point is None or scale.size != 1:
        return
    held = np.iinfo(zero_point.dtype)
    ends = Quantization(scale.reshape(1), zero_point.reshape(1), 0).dequantized(
        np.array([held.min, held.max])
    )
    node.op_type = "Clip"
    for word, end in zip(("least", "most"), ends, strict=True):
        node.input.append(_constant(graph, f"{name}/{word}", end))


def _with_scale_of_one(graph: Any, node: Any, constants: Mapping[str, np.ndarray]) -> None:
    _, scale, zero_point = node.output
    _as_it_is(graph, node, constants)
    _constant(graph, scale, np.float32(1))
    _constant(graph, zero_point, np.uint8(0))


def _product(graph: Any, node: Any, constants: dict[str, np.ndarray]) -> None:
    """Replace a product of integers: a constant one keeps its scale, by which it is multiplied."""
    weight = constants.get(node.input[1])
    given = [*node.input[1:2], *node.input[3:4]]
    zero_point = constants.get(given[1]) if len(given) > 1 else None
    node.op_type = _PRODUCTS[node.op_type]
    del node.input[2:]
    if weight is not None:
        zeros = np.zeros(1) if zero_point is None else zero_point.reshape(-1)
        scales = np.ones(zeros.shape, np.float32)
        axis = weight.ndim - 1 if node.op_type == "MatMul" else 0
        name = "/".join([*given, node.op_type, "numbers"])
        if name not in constants:  # many nodes may have the same weight
            constants[name] = Quantization(scales, zeros, axis).dequantized(weight)
            _constant(graph, name, constants[name])
        node.input[1] = name


def _constant(graph: Any, name: str, value: np.ndarray | np.generic) -> str:
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    return name
