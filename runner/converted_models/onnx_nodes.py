"""The nodes of an ONNX graph: the names of their arguments, their attributes and their bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from runner.converted_models.onnx_data import bodies_of, plain

MOST = 16
"""Numbers in an argument, enough for any shape."""

_PAIR = ("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point")
_ONE = ("x", "x_scale", "x_zero_point", "y_scale", "y_zero_point")
_MICROSOFT = {
    "QLinearAdd": (*_PAIR, "y_scale", "y_zero_point"),
    "QLinearMul": (*_PAIR, "y_scale", "y_zero_point"),
    "QGemm": (*_PAIR, "c", "y_scale", "y_zero_point"),
    "QLinearWhere": ("condition", *_PAIR, "y_scale", "y_zero_point"),
    "QLinearConcat": ("y_scale", "y_zero_point"),
    "QLinearConv": (
        *("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point"),
        *("y_scale", "y_zero_point", "B"),
    ),
    **dict.fromkeys(
        (
            *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu"),
            *("QLinearSigmoid", "QLinearSoftmax", "QLinearReduceMean"),
        ),
        _ONE,
    ),
    "QAttention": (
        *("input", "weight", "bias", "input_scale", "weight_scale", "mask_index"),
        *("input_zero_point", "weight_zero_point", "past"),
    ),
    "DynamicQuantizeMatMul": ("a", "b", "b_scale", "b_zero_point", "bias"),
    "MatMulIntegerToFloat": (
        *("a", "b", "a_scale", "b_scale", "a_zero_point", "b_zero_point", "bias"),
    ),
    "DynamicQuantizeLSTM": (
        *("x", "w", "r", "b", "sequence_lens", "initial_h", "initial_c", "p"),
        *("w_scale", "w_zero_point", "r_scale", "r_zero_point"),
    ),
    "QuantizeLinear": ("x", "y_scale", "y_zero_point"),
    "DequantizeLinear": ("x", "x_scale", "x_zero_point"),
}
_IN_STEPS = ("Loop", "Scan", "SequenceMap")


def named_inputs(node: Any, opset: int) -> list[tuple[str, str]]:
    """Return the inputs of a node, with the names of its arguments as they are defined.

    Parameters
    ----------
    node
        The node.
    opset
        Version of ONNX's operations.
    """
    names: tuple[str, ...] = ()
    if node.domain == "com.microsoft":
        names = _MICROSOFT.get(node.op_type, ())
        if node.op_type == "QLinearConcat":
            parts = range((len(node.input) - len(names)) // 3)
            ends = ("", "_scale", "_zero_point")
            names += tuple(f"input{part}{end}" for part in parts for end in ends)
    elif onnx.defs.has(node.op_type, opset, domain := node.domain.removeprefix("ai.onnx")):
        schema = onnx.defs.get_schema(node.op_type, opset, domain)
        names = tuple(each.name for each in schema.inputs)
        if len(node.input) > len(names):
            names = ()  # as many as there are, such as those of Concat
    return [
        (names[position] if position < len(names) else f"input{position}", key)
        for position, key in enumerate(node.input)
        if key
    ]


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node that are numbers, texts, or a few of them."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        is_list = attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS)
        if isinstance(value, (int, float, str)):
            found[attribute.name] = value
        elif is_list and len(value) <= MOST:
            found[attribute.name] = list(value)
    return found


def constants_of(graph: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the constants of a graph with their names."""
    for each in graph.initializer:
        yield each.name, plain(each)
    for node in graph.node:
        if node.op_type != "Constant":
            continue
        for attribute in node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            if attribute.name == "value":
                yield node.output[0], plain(value)
            elif attribute.name.startswith("value_"):
                dtype = np.float32 if "float" in attribute.name else None
                yield node.output[0], np.asarray(value, dtype)


def inside(node: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield the operations inside a node's bodies: path, class, and why they have no tables.

    Parameters
    ----------
    node
        The node.
    path
        Its path.
    """
    where = "in each step" if node.op_type in _IN_STEPS else "in a branch"
    why = f"opaque: computed {where} of '{path}', which returns only the results"
    for body in bodies_of(node):
        for place, each in enumerate(body.node):
            if each.op_type == "Constant":
                continue
            name = each.name or next(filter(None, each.output), str(place))
            yield f"{path}/{name}", each.op_type, why
            yield from inside(each, f"{path}/{name}")
