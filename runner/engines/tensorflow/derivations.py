"""Describes how a tensor of a traced pass is computed outside the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from runner.engines.describing import Of, UnknownOperation, constant, described, part

_PASSING = ("CheckNumerics", "EnsureShape", "Identity", "PreventGradient", "StopGradient")

_ENTRY_BY_ENTRY = {
    "Abs": "absolute", "Add": "add", "AddV2": "add", "BiasAdd": "add", "Cos": "cos",
    "Div": "divide", "Equal": "equal", "Erf": "erf", "Erfc": "erfc", "Exp": "exp",
    "Floor": "floor", "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
    "LessEqual": "less_equal", "Log": "log", "Log1p": "log1p", "LogicalAnd": "logical_and",
    "LogicalNot": "logical_not", "LogicalOr": "logical_or", "Maximum": "maximum",
    "Minimum": "minimum", "Mul": "multiply", "Neg": "negative", "NotEqual": "not_equal",
    "Pow": "power", "RealDiv": "divide", "Relu": "relu", "Relu6": "relu6", "Round": "round",
    "Rsqrt": "rsqrt", "Select": "where", "SelectV2": "where", "Sigmoid": "sigmoid",
    "Sign": "sign", "Sin": "sin", "Softplus": "softplus", "Sqrt": "sqrt", "Square": "square",
    "SquaredDifference": "squared_difference", "Sub": "subtract", "Tanh": "tanh",
}  # fmt: skip
_REDUCING = {"Max": "max", "Mean": "mean", "Min": "min", "Prod": "prod", "Sum": "sum"}

# TensorFlow operations whose output has the axes of the inputs of the same rank.
_ELEMENTWISE = frozenset(
    (
        *("Identity", "StopGradient", "Cast", "Neg", "Abs", "Sign", "Square", "Sqrt", "Rsqrt"),
        *("Exp", "Log", "Log1p", "Erf", "Tanh", "Sigmoid", "Relu", "Relu6", "LeakyRelu", "Elu"),
        *("Selu", "Softplus", "Softsign", "Softmax", "LogSoftmax", "ClipByValue", "Pow"),
        *("Add", "AddV2", "AddN", "Sub", "Mul", "MulNoNan", "Div", "RealDiv", "DivNoNan"),
        *("Maximum", "Minimum", "SquaredDifference", "SelectV2", "BiasAdd", "FusedBatchNormV3"),
        *("ConcatV2", "Pad", "PadV2", "MirrorPad"),
    )
)


def derivation(
    tensor: Any, source: Callable[[Any], dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Describe how a tensor was computed from named tensors; see `runner.engines.engine`."""
    if tf.executing_eagerly():
        return None
    return described(tensor, source, _computed, _name_of)


def _name_of(tensor: Any) -> str:
    return "Const" if hasattr(tensor, "numpy") else str(tensor.op.type)


def _computed(tensor: Any, of: Of) -> dict[str, Any]:
    if hasattr(tensor, "numpy"):
        return constant(tensor)
    values = tf.get_static_value(tensor)
    if values is not None:
        return constant(values)
    operation = tensor.op
    given: Sequence[Any] = operation.inputs
    if operation.type in _PASSING:
        return of(given[0])[0]
    if operation.type == "IdentityN":  # a function with a gradient of its own
        return of(given[tensor.value_index])[0]
    if operation.type in _ENTRY_BY_ENTRY:
        return {"operation": _ENTRY_BY_ENTRY[operation.type], "of": of(*given)}
    if operation.type in ("Softmax", "LogSoftmax"):
        name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[operation.type]
        return {"operation": name, "of": of(given[0])}
    if operation.type == "LeakyRelu":
        slope = float(operation.get_attr("alpha"))
        return {"operation": "leaky_relu", "of": of(given[0]), "negative_slope": slope}
    if operation.type in _REDUCING:
        axes = [int(axis) for axis in np.ravel(_static(given[1], operation))]
        kept = bool(operation.get_attr("keep_dims"))
        name = _REDUCING[operation.type]
        return {"operation": name, "of": of(given[0]), "axis": axes, "keepdims": kept}
    return _moved_or_multiplied(tensor, operation, of)


def _moved_or_multiplied(tensor: Any, operation: Any, of: Of) -> dict[str, Any]:
    given = operation.inputs
    match operation.type:
        case "Cast":
            return {"operation": "cast", "of": of(given[0]), "dtype": tensor.dtype.name}
        case "Reshape" | "ExpandDims" | "Squeeze" | "BroadcastTo":
            name = "broadcast_to" if operation.type == "BroadcastTo" else "reshape"
            shape = tensor.shape.as_list() if tensor.shape.rank is not None else [None, None]
            if None in shape[1:]:  # as for (batch, -1, 8): at most one length may be unknown
                known = tf.get_static_value(given[1], partial=True)
                if known is None or None in list(known)[1:]:
                    raise UnknownOperation(operation.type)
                shape = [None, *map(int, list(known)[1:])]
            return {"operation": name, "of": of(given[0]), "shape": shape}
        case "Transpose":
            axes = [int(axis) for axis in _static(given[1], operation)]
            return {"operation": "transpose", "of": of(given[0]), "axes": axes}
        case "ConcatV2":
            axis = int(_static(given[-1], operation))
            return {"operation": "concatenate", "of": of(*given[:-1]), "axis": axis}
        case "Pack":
            axis = int(operation.get_attr("axis"))
            return {"operation": "stack", "of": of(*given), "axis": axis}
        case "Unpack":
            axis = int(operation.get_attr("axis"))
            return part(of(given[0])[0], given[0].shape.rank, axis, tensor.value_index)
        case "Split":
            axis = int(_static(given[0], operation))
            size = given[1].shape[axis] // operation.get_attr("num_split")
            start = size * tensor.value_index
            key = {"slice": [start, start + size, None]}
            return part(of(given[1])[0], given[1].shape.rank, axis, key)
        case "StridedSlice":
            return {"operation": "get_item", "of": of(given[0]), "key": _key(operation)}
        case "GatherV2":
            axis = int(_static(given[2], operation))
            return {"operation": "take", "of": of(*given[:2]), "axis": axis}
        case "MatMul" | "BatchMatMulV2" | "BatchMatMulV3":
            names = (
                ("transpose_a", "transpose_b") if operation.type == "MatMul" else ("adj_x", "adj_y")
            )
            turned = [bool(operation.get_attr(name)) for name in names]
            return {"operation": "matmul", "of": of(*given), "transposed": turned}
        case "Einsum":
            equation = operation.get_attr("equation").decode()
            return {"operation": "einsum", "of": of(*given), "subscripts": equation}
    raise UnknownOperation(operation.type)


def _key(operation: Any) -> list[Any]:
    """Return the key of ``x[key]``, in the format of `runner.wiring.CallWiring`."""
    starts, stops, steps = (
        [int(one) for one in _static(given, operation)] for given in operation.inputs[1:]
    )
    masks = {
        name: int(operation.get_attr(f"{name}_mask"))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    key: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            key.append("...")
        elif masks["new_axis"] & bit:
            key.append(None)
        elif masks["shrink_axis"] & bit:
            key.append(start)
        else:
            ends = [
                None if masks["begin"] & bit else start, None if masks["end"] & bit else stop
            ]  # fmt: skip
            key.append({"slice": [*ends, step]})
    return key


def _static(tensor: Any, operation: Any) -> Any:
    values = tf.get_static_value(tensor)
    if values is None:
        raise UnknownOperation(operation.type)
    return values


def before_casts(tensor: Any) -> Any:
    """Return the tensor from which another one is made by casts alone, or that itself."""
    while isinstance(tensor, tf.Tensor) and not hasattr(tensor, "numpy"):
        source = tensor.op.inputs[0] if tensor.op.type in ("Cast", "Identity") else None
        if source is None or not (tensor.dtype.is_floating or source.dtype.is_integer):
            break
        tensor = source
    return tensor


def elementwise_sources(tensor: Any) -> Sequence[Any]:
    """Return the inputs of the operation that made a tensor entry by entry, if one did."""
    if hasattr(tensor, "numpy") or tensor.op.type not in _ELEMENTWISE:
        return ()
    return tuple(tensor.op.inputs)
