"""The factors of a quantized layer: small integers with scales, or eight-bit floats.

The formulas are those of ``keras.quantizers``: ``abs_max_quantize``, ``unpack_int4``,
``dequantize_with_sz_map`` and ``quantize_and_dequantize``. Results that are rounded to an
integer are computed in the type of the layer, as in Keras: in another type a value halfway
between two integers might be rounded to the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from runner.arithmetic.account import not_covered
from runner.arithmetic.layer_call import LayerCall
from runner.runs.real_weights import unpacked

_MODES = ("int8", "int4", "float8")
_COMPUTED_IN = ("float16", "float32", "float64")

# E4M3: three bits of mantissa, exponents from -6 on, and no infinity.
_LARGEST_FLOAT8, _LEAST_EXPONENT, _MANTISSA = 448.0, -6, 3


@dataclass(frozen=True)
class Factors:
    """One side of the products, and the scale to divide their sum by.

    Attributes
    ----------
    values
        Numbers that are multiplied.
    scale
        Scale that the numbers were multiplied by before rounding; ``None`` if they are not
        scaled.
    """

    values: np.ndarray
    scale: np.ndarray | None = None


def mode_of(call: LayerCall) -> str | None:
    """Return the quantization mode of a layer, ``None`` if it is not quantized.

    Raises
    ------
    InputError
        If the layer is quantized in a way that is not covered.
    """
    described = call.arguments.get("quantization")
    if described is None:
        return None
    mode = str(described["mode"])
    if mode not in _MODES:
        raise not_covered(call.name, f"layers quantized with {mode}", f"{', '.join(_MODES)} are")
    if call.arguments.get("lora_rank"):
        raise not_covered(call.name, "quantized layers with LoRA")
    if call.arguments.get("dtype") not in _COMPUTED_IN:
        raise not_covered(call.name, f"quantized layers in {call.arguments.get('dtype')}")
    return mode


def inputs_of(call: LayerCall, values: np.ndarray) -> Factors:
    """Return a layer's inputs as the layer multiplies them.

    Parameters
    ----------
    call
        The call.
    values
        All inputs of one value of the output, which share one scale.
    """
    mode = mode_of(call)
    if mode is None:
        return Factors(values)
    dtype = np.dtype(str(call.arguments["dtype"])).type
    values = values.astype(dtype)
    if mode == "float8":
        return Factors(_through_float8(values, call.weight("inputs_scale")))
    quantizer: dict[str, Any] | None = call.arguments["quantization"].get("inputs")
    if quantizer is None:
        return Factors(values)
    if quantizer["class_name"] != "AbsMaxQuantizer":
        raise not_covered(call.name, f"inputs quantized with {quantizer['class_name']}")
    least, most = quantizer["value_range"]
    scale = dtype(most) / (np.abs(values).max() + dtype(quantizer["epsilon"]))
    return Factors(np.clip(np.rint(values * scale), least, most), np.asarray(scale))


def kernel_of(call: LayerCall, shape: Sequence[int], reduced: int = 1) -> Factors:
    """Return the kernel of a Dense or EinsumDense as the layer multiplies it.

    Parameters
    ----------
    call
        The call.
    shape
        Shape of the kernel before it was quantized.
    reduced
        Number of entries that are summed over: the number of rows of a packed kernel.

    Returns
    -------
    Factors
        ``values`` in that shape; ``scale`` by unit for a Dense, and for an EinsumDense with
        the axes of a batch of outputs, of length 1 where entries share a scale.

    Raises
    ------
    ValueError
        If the kernel does not have that shape.
    """
    factors = _factors(call, shape, reduced)
    if factors.values.shape != tuple(shape):
        raise ValueError(f"a kernel of shape {factors.values.shape}, expected {tuple(shape)}")
    return factors


def _factors(call: LayerCall, shape: Sequence[int], reduced: int) -> Factors:
    mode, kernel = mode_of(call), call.weight("kernel")
    if mode is None:
        return Factors(_with_lora(call, kernel, "kernel"))
    if mode == "float8":
        return Factors(_through_float8(kernel, call.weight("kernel_scale")))
    scale = call.weight("kernel_scale")
    if mode == "int8":
        return Factors(kernel, scale)
    entries = unpacked(kernel, prod(shape) // reduced)
    if call.has_weight("kernel_zero"):
        groups = call.weight("g_idx").astype(int)
        zeros = call.weight("kernel_zero")[groups].astype(scale.dtype)
        return Factors(((entries - zeros) * scale[groups]).reshape(shape))
    if len(shape) == 2 and call.layer.layer_class == "Dense":
        return Factors(entries, scale)
    return Factors((entries.astype(scale.dtype) / scale).reshape(shape))


def bias_of(call: LayerCall) -> np.ndarray:
    """Return a layer's bias as the layer adds it: rounded to bfloat16 in mode ``float8``."""
    bias = call.weight("bias")
    if mode_of(call) == "float8" and bias.dtype == np.float32:
        bits = np.ascontiguousarray(bias).view(np.uint32)
        to_even = 0x7FFF + (bits >> 16 & 1)
        bias = (bits + to_even & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return bias.astype(np.float64)


def embedding_row(
    call: LayerCall, row: int, width: int
) -> tuple[np.ndarray, list[tuple[str, np.ndarray]], int]:
    """Return a row of an Embedding, and the steps of its computation if it is quantized.

    Returns
    -------
    values
        Output of the layer, of shape (width,).
    steps
        Names and numbers, of shape (width,); empty if the row is not quantized.
    operations
        Number of rounded operations from the steps to the values.
    """
    mode, table = mode_of(call), call.weight("embeddings")
    if mode is None:
        return _with_lora(call, table, "embeddings")[row], [], 0
    scale = call.weight("embeddings_scale")[row]
    if mode == "int8":
        entries = table[row]
        return entries / scale, [("stored as", entries), ("scale", np.full(width, scale))], 1
    entries = unpacked(table[row], width)
    if not call.has_weight("embeddings_zero"):
        return entries / scale, [("stored as", entries), ("scale", np.full(width, scale))], 1
    groups = call.weight("g_idx").astype(int)
    zeros = call.weight("embeddings_zero")[row][groups].astype(scale.dtype)
    steps = [("stored as", entries), ("zero point", zeros), ("step", scale[groups])]
    return (entries - zeros) * scale[groups], steps, 2


def _with_lora(call: LayerCall, weights: np.ndarray, name: str) -> np.ndarray:
    """Return weights with their low-rank update, if they have one.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
    """
    if not call.arguments.get("lora_rank"):
        return weights
    # Without the argument, as in records of older versions of Keras, the update is not scaled.
    rank = call.arguments["lora_rank"]
    factor = call.arguments.get("lora_alpha", rank) / rank
    update = call.weight(f"lora_{name}_a").astype(np.float64) @ call.weight(f"lora_{name}_b")
    return np.asarray(weights + factor * update)


def _through_float8(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return values divided by a scale, rounded to float8_e4m3fn, and multiplied again."""
    divisor = np.asarray(scale, values.dtype)
    scaled = np.clip(values / divisor, -_LARGEST_FLOAT8, _LARGEST_FLOAT8)
    exponents = np.maximum(np.frexp(scaled)[1] - 1, _LEAST_EXPONENT)
    steps = np.ldexp(np.ones_like(scaled), exponents - _MANTISSA)
    return np.asarray(np.rint(scaled / steps) * steps * divisor)
