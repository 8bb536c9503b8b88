"""Tensors that hold the values of another one again, as integers of a quantization."""

from __future__ import annotations

from runner.record.record import RunRecord

WHY = "restates the value of another operation as integers"

_PRODUCTS = ("MatMulInteger", "ConvInteger")
_CLASSES = ("DynamicQuantizeLinear", "QuantizeLinear", "QUANTIZE", *_PRODUCTS)


def restated_in(record: RunRecord) -> set[str]:
    """Return the names of the activations that restate another one.

    An ONNX model that is quantized dynamically writes each product three times: as sums of
    integers, cast, and multiplied by the scale. Its input is there once more as integers. Only the
    last product stands for the layer; the others have nearly its values, and its shape.

    Parameters
    ----------
    record
        The record of a run.
    """
    outputs = record.model.outputs if record.model else ()
    classes = {tensor.name: tensor.layer_class for tensor in record.tensors if tensor.per_sample}
    found = {name for name, made in classes.items() if made in _CLASSES}
    for layer in record.layers:
        read = {wire.tensor for call in layer.calls for wire in call.wires}
        if layer.layer_class == "Cast" and any(
            classes.get(name or "") in _PRODUCTS for name in read
        ):
            found |= {tensor.name for tensor in layer.tensors if tensor.per_sample}
    return found.difference(outputs)
