"""Real numbers in place of the integers of a quantized graph of LiteRT."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from runner.converted_models.graph import Quantization
from runner.converted_models.litert_cut import IDENTIFIER

_DTYPES = {
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}
_TIMES = 8  # times the size of the file: float32 takes four times as much as int8
_CONVERSIONS = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)


def with_real_numbers(content: bytes) -> bytes | None:
    """Return a model whose tensors hold the real numbers that its integers stand for.

    Nothing is rounded to integers any more but the weights, which stay as they are. All tensors and
    operations keep their numbers.

    Parameters
    ----------
    content
        The content of the model's file.

    Returns
    -------
    bytes or None
        ``None`` if it has no such integers, or some in the body of a loop, or if many tensors have
        the same integers in the file: each would have real numbers of its own.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        return None
    [graph] = model.subgraphs
    if sum(_real_size(model, each) for each in graph.tensors) > _TIMES * len(content):
        return None
    changed = {place for place, each in enumerate(graph.tensors) if _made_real(model, each)}
    if not changed:
        return None
    same = len(model.operatorCodes)
    cast = schema.OperatorCodeT()
    cast.builtinCode = cast.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
    cast.version = 1
    for operation in graph.operators:
        kind = model.operatorCodes[operation.opcodeIndex].builtinCode
        if kind in _CONVERSIONS and changed & {*map(int, (*operation.inputs, *operation.outputs))}:
            operation.opcodeIndex = same
            operation.builtinOptionsType = schema.BuiltinOptions.CastOptions
            operation.builtinOptions = schema.CastOptionsT()
            operation.builtinOptions.inDataType = schema.TensorType.FLOAT32
            operation.builtinOptions.outDataType = schema.TensorType.FLOAT32
    model.operatorCodes.append(cast)
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _stands_for_real(tensor: Any) -> bool:
    told = tensor.quantization
    has_scale = told is not None and told.scale is not None and len(told.scale) > 0
    return has_scale and tensor.type in _DTYPES


def _real_size(model: Any, tensor: Any) -> int:
    """Return the size in bytes of the real numbers that the integers of a constant stand for."""
    data = model.buffers[tensor.buffer].data
    if data is None or not _stands_for_real(tensor):
        return 0
    return 4 * len(data) // np.dtype(_DTYPES[tensor.type]).itemsize


def _made_real(model: Any, tensor: Any) -> bool:
    """Make a tensor of integers one of float32; return whether it stands for real numbers."""
    if not _stands_for_real(tensor):
        return False
    told, dtype = tensor.quantization, _DTYPES[tensor.type]
    data = model.buffers[tensor.buffer].data
    if data is not None and len(data):
        integers = np.frombuffer(bytes(data), dtype).reshape(tensor.shape)
        scale = np.asarray(told.scale, np.float32)
        zero_point = np.zeros(1) if told.zeroPoint is None else np.asarray(told.zeroPoint)
        numbers = Quantization(scale, zero_point, told.quantizedDimension).dequantized(integers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(numbers).tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    return True
