"""Describes how a tensor of a pass of PyTorch was computed outside the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from runner.engines.describing import (
    Description,
    Of,
    Source,
    UnknownOperation,
    applied,
    constant,
    described,
    filled,
    part,
    reshaped,
)
from runner.engines.torch.origins import Origin

_PASSING = frozenset(("alias", "clone", "contiguous", "detach", "lift_fresh", "view_as"))

_ENTRY_BY_ENTRY = {
    "abs": "absolute", "cos": "cos", "div": "divide", "eq": "equal", "erf": "erf",
    "erfc": "erfc", "exp": "exp", "floor": "floor", "ge": "greater_equal", "gt": "greater",
    "le": "less_equal", "log": "log", "log1p": "log1p", "logical_and": "logical_and",
    "logical_not": "logical_not", "logical_or": "logical_or", "lt": "less",
    "maximum": "maximum", "minimum": "minimum", "mish": "mish", "mul": "multiply",
    "ne": "not_equal", "neg": "negative", "pow": "power", "relu": "relu", "round": "round",
    "rsqrt": "rsqrt", "sigmoid": "sigmoid", "sign": "sign", "silu": "silu", "sin": "sin",
    "sqrt": "sqrt", "tanh": "tanh", "hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid",
    "log_sigmoid_forward": "log_sigmoid",
}  # fmt: skip
_OF_TRUTHS = {
    "bitwise_and": "logical_and",
    "bitwise_not": "logical_not",
    "bitwise_or": "logical_or",
}
_REDUCING = {
    "amax": "max", "amin": "min", "max": "max", "mean": "mean", "min": "min", "prod": "prod",
    "sum": "sum", "linalg_vector_norm": "norm",
}  # fmt: skip
_SHAPING = frozenset(("_unsafe_view", "reshape", "squeeze", "unsqueeze", "view"))
_FILLED = {"full": None, "full_like": None, "new_full": None, "ones": 1, "ones_like": 1,
    "new_ones": 1, "zeros": 0, "zeros_like": 0, "new_zeros": 0, "scalar_tensor": None}  # fmt: skip

# Operations whose result has the axes of the tensors of the same rank that they take.
_ELEMENTWISE = _PASSING | {*_ENTRY_BY_ENTRY, *_OF_TRUTHS} | {
    "add", "sub", "rsub", "where", "masked_fill", "clamp", "clamp_min", "clamp_max", "hardtanh",
    "gelu", "elu", "leaky_relu", "softplus", "_softmax", "_log_softmax", "_to_copy", "cat",
    "native_layer_norm", "native_batch_norm", "native_dropout",
}  # fmt: skip


def description_of(origin: Origin, source: Source) -> Description:
    """Describe how a tensor was computed from named tensors; see `runner.engines.engine`.

    Parameters
    ----------
    origin
        Where the tensor came from.
    source
        Returns the description of an origin whose tensor has a name, else ``None``.
    """
    return described(origin, source, _computed, lambda one: str(one.name))


def _computed(made: Origin, of: Of) -> Description:
    if made.given is None:
        if made.constant is None:
            raise UnknownOperation(made.name)
        return made.constant
    name, given = made.name, made.given
    if name in _PASSING:
        return of(given["self"])[0]
    if name in _ENTRY_BY_ENTRY or (name in _OF_TRUTHS and made.dtype == "bool"):
        if given.get("rounding_mode") is not None:
            raise UnknownOperation(name)
        operands = [given[one] for one in ("self", "other", "exponent") if one in given]
        told = _ENTRY_BY_ENTRY.get(name) or _OF_TRUTHS[name]
        return applied(told, *_operands(made, operands, of))
    if name in _REDUCING and made.place == 0:
        return _reduced(made, given, of)
    if name in _FILLED:
        value: Any = given.get("fill_value", given.get("s", _FILLED[name]))
        return filled(value, made.shape, made.dtype)
    if name in _SHAPING:
        return reshaped(of(given["self"])[0], given["self"].shape, made.shape)
    for describe in (_scaled, _activated, _moved, _picked, _multiplied):
        found = describe(made, name, given, of)
        if found is not None:
            return found
    raise UnknownOperation(name)


Given = dict[str, Any]


def _operands(made: Origin, operands: Sequence[Any], of: Of) -> list[Description]:
    """Describe the operands of an elementwise operation, in the type that it computes in."""
    types = [one.dtype for one in operands if isinstance(one, Origin)]
    common = made.dtype if made.dtype != "bool" else types[0]
    found = []
    for one in operands:
        if not isinstance(one, Origin):
            whole = isinstance(one, int) or "float" in common
            found.append(constant(one, common if whole else "float32"))
        else:
            found.append(_cast(of(one)[0], one.dtype, common))
    return found


def _cast(told: Description, before: str, after: str) -> Description:
    return told if before == after else applied("cast", told, dtype=after)


def _reduced(made: Origin, given: Given, of: Of) -> Description:
    taken = given["self"]
    axes = given.get("dim")
    axes = [axes] if isinstance(axes, int) else list(axes or range(len(taken.shape)))
    told = _cast(of(taken)[0], taken.dtype, made.dtype)
    parameters = {"axis": axes, "keepdims": bool(given.get("keepdim", False))}
    if made.name == "linalg_vector_norm":
        if given["ord"] != 2:
            raise UnknownOperation(made.name)
        return applied("sqrt", applied("sum", applied("square", told), **parameters))
    return applied(_REDUCING[made.name], told, **parameters)


def _scaled(made: Origin, name: str, given: Given, of: Of) -> Description | None:
    """Describe sums, differences and selections, entry by entry."""
    match name:
        case "add" | "sub" | "rsub":
            one, other = _operands(made, [given["self"], given["other"]], of)
            if given.get("alpha", 1) != 1:
                other = applied("multiply", other, constant(given["alpha"], made.dtype))
            pair = (other, one) if name == "rsub" else (one, other)
            return applied("add" if name == "add" else "subtract", *pair)
        case "where":
            [condition] = of(given["condition"])
            return applied(
                "where", condition, *_operands(made, [given["self"], given["other"]], of)
            )
        case "masked_fill":
            [mask] = of(given["mask"])
            kept, value = _operands(made, [given["self"], given["value"]], of)
            return applied("where", mask, value, kept)
        case "clamp" | "clamp_min" | "clamp_max" | "hardtanh":
            [told] = _operands(made, [given["self"]], of)
            for bound, limit in (("min", "maximum"), ("max", "minimum")):
                most = given.get(bound, given.get(f"{bound}_val"))
                if most is not None:
                    told = applied(limit, told, *_operands(made, [most], of))
            return told
        case "_to_copy":
            taken = given["self"]
            return _cast(of(taken)[0], taken.dtype, made.dtype)
        case "copy":
            taken = given["src"]
            told = _cast(of(taken)[0], taken.dtype, made.dtype)
            same = taken.shape == made.shape
            return told if same else applied("broadcast_to", told, shape=[*made.shape])
        case "fill" | "zero":
            value = given.get("value", 0)
            told = of(value)[0] if isinstance(value, Origin) else constant(value, made.dtype)
            return applied("broadcast_to", told, shape=[*made.shape]) if made.shape else told
    return None


def _activated(made: Origin, name: str, given: Given, of: Of) -> Description | None:
    """Describe activation functions with parameters, and normalizations."""
    match name:
        case "gelu":
            return applied("gelu", *of(given["self"]), approximate=given["approximate"] == "tanh")
        case "leaky_relu":
            slope = float(given["negative_slope"])
            return applied("leaky_relu", *of(given["self"]), negative_slope=slope)
        case "elu" if given["input_scale"] == 1 and given["scale"] == 1:
            return applied("elu", *of(given["self"]), alpha=float(given["alpha"]))
        case "softplus" if given["beta"] == 1:
            return applied("softplus", *of(given["self"]))
        case "_softmax" | "_log_softmax":
            last = len(made.shape) - 1
            axis = given["dim"] % len(made.shape)
            axes = list(range(last + 1))
            axes[axis], axes[last] = axes[last], axes[axis]
            told = of(given["self"])[0]
            if axis == last:
                return applied(name[1:], told)
            told = applied(name[1:], applied("transpose", told, axes=axes))
            return applied("transpose", told, axes=axes)
        case "native_layer_norm" if made.place == 0:
            axes = [-1 - axis for axis in range(len(given["normalized_shape"]))]
            told = of(given["input"])[0]
            mean = applied("mean", told, axis=axes, keepdims=True)
            squares = applied("squared_difference", told, mean)
            variance = applied("mean", squares, axis=axes, keepdims=True)
            return _normalized(made, told, mean, variance, of)
        case "native_batch_norm" if made.place == 0 and not given["training"]:
            mean, variance = (
                _of_channels(made, given[f"running_{one}"], of) for one in ("mean", "var")
            )
            return _normalized(made, of(given["input"])[0], mean, variance, of)
    return None


def _normalized(
    made: Origin, told: Description, mean: Description, variance: Description, of: Of
) -> Description:
    given: Any = made.given
    root = applied("rsqrt", applied("add", variance, constant(given["eps"], made.dtype)))
    told = applied("multiply", applied("subtract", told, mean), root)
    for name, operation in (("weight", "multiply"), ("bias", "add")):
        if given[name] is not None:
            told = applied(operation, told, _of_channels(made, given[name], of))
    return told


def _of_channels(made: Origin, weight: Origin, of: Of) -> Description:
    """Describe a weight of a normalization, whose axes are the channels or the last axes."""
    told = of(weight)[0]
    if made.name == "native_layer_norm":
        return told
    return reshaped(told, weight.shape, [*weight.shape, *[1] * (len(made.shape) - 2)])


def _moved(made: Origin, name: str, given: Given, of: Of) -> Description | None:
    """Describe tensors whose values are those of others in other places."""
    taken: Any = given.get("self")
    rank = len(taken.shape) if taken is not None else 0
    match name:
        case "permute" | "transpose" | "t" | "numpy_T":
            axes = list(range(rank))
            if name == "permute":
                axes = [axis % rank for axis in given["dims"]]
            elif name == "transpose":
                one, other = given["dim0"] % rank, given["dim1"] % rank
                axes[one], axes[other] = axes[other], axes[one]
            else:
                axes.reverse()
            return applied("transpose", *of(taken), axes=axes)
        case "expand":
            return applied("broadcast_to", *of(taken), shape=[*made.shape])
        case "cat" | "stack":
            axis = given["dim"] % len(made.shape)
            told = "concatenate" if name == "cat" else "stack"
            whole = [one for one in given["tensors"] if one.shape != (0,)]
            return applied(
                told, *(_cast(of(one)[0], one.dtype, made.dtype) for one in whole), axis=axis
            )
        case "tril" | "triu":
            return applied(name, *of(taken), k=int(given["diagonal"]))
        case "flip":
            return applied(name, *of(taken), axis=given["dims"])
        case "roll" if given["dims"]:
            return applied(name, *of(taken), shift=given["shifts"], axis=given["dims"])
        case "arange":
            start, step = given.get("start", 0), given.get("step", 1)
            if any(not isinstance(one, int) for one in (start, step, given["end"])):
                raise UnknownOperation(name)
            return {"range": [start, given["end"], step], "dtype": made.dtype}
    return None


def _picked(made: Origin, name: str, given: Given, of: Of) -> Description | None:
    """Describe parts of tensors."""
    if name == "embedding":
        return applied("take", *of(given["weight"], given["indices"]), axis=0)
    taken: Any = given.get("self")
    axis = given.get("dim", 0)
    key: Any = None
    match name:
        case "select":
            key = int(given["index"])
        case "slice":
            start, end, step = (given[name] for name in ("start", "end", "step"))
            end = None if end is None or end >= taken.shape[axis] else end
            key = {"slice": [start or None, end, step]}
        case "unbind":
            key = made.place
        case "split":
            start = given["split_size"] * made.place
            key = {"slice": [start, start + given["split_size"], None]}
        case "split_with_sizes":
            sizes = given["split_sizes"]
            start = sum(sizes[: made.place])
            key = {"slice": [start, start + sizes[made.place], None]}
        case "index":
            places = [one for one in given["indices"] if one is not None]
            if any(one.dtype == "bool" for one in places):
                return None
            if len(places) == 1:
                axis = given["indices"].index(places[0])
                return applied("take", *of(taken, *places), axis=axis)
            if given["indices"][: len(places)] == places:
                return applied("index", *of(taken, *places))
        case "index_select":
            return applied("take", *of(taken, given["index"]), axis=axis)
    return None if key is None else part(of(taken)[0], len(taken.shape), axis, key)


def _multiplied(made: Origin, name: str, given: Given, of: Of) -> Description | None:
    """Describe products of matrices."""
    plain = [False, False]
    match name:
        case "mm" | "bmm":
            return applied("matmul", *of(given["self"], given["mat2"]), transposed=plain)
        case "addmm" | "baddbmm":
            names = ("mat1", "mat2") if name == "addmm" else ("batch1", "batch2")
            product = applied("matmul", *of(*(given[one] for one in names)), transposed=plain)
            added = of(given["self"])[0]
            if given["alpha"] != 1:
                product = applied("multiply", product, constant(given["alpha"], made.dtype))
            if given["beta"] == 0:
                return product
            if given["beta"] != 1:
                added = applied("multiply", added, constant(given["beta"], made.dtype))
            return applied("add", added, product)
        case "_scaled_dot_product_flash_attention_for_cpu" if made.place == 0:
            return _attention(made, given, of)
    return None


def _attention(made: Origin, given: Given, of: Of) -> Description:
    """Describe attention: the mean of the values, weighted by the softmax of query times key."""
    query, key = given["query"], given["key"]
    if given["dropout_p"]:
        raise UnknownOperation(made.name)
    scale = given["scale"] or 1 / math.sqrt(query.shape[-1])
    scores = applied("matmul", *of(query, key), transposed=[False, True])
    scores = applied("multiply", scores, constant(scale, made.dtype))
    if given["is_causal"]:
        square = query.shape[-2], key.shape[-2]
        mask = applied("triu", filled(-math.inf, square, made.dtype), k=1)
        scores = applied("add", scores, mask)
    elif given.get("attn_mask") is not None:
        scores = applied("add", scores, *of(given["attn_mask"]))
    weights = applied("softmax", scores)
    return applied("matmul", weights, *of(given["value"]), transposed=[False, False])


def sources_of(origin: Origin) -> list[Origin]:
    """Return the origins of what an operation took, if it keeps the axes of its arguments."""
    return origin.sources if origin.name in _ELEMENTWISE else []
