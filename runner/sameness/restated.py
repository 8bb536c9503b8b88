"""Tensors that are within a quantized operation, and stand for no layer."""

from __future__ import annotations

from runner.record.record import RunRecord

WHY = "is a step of a quantized operation"

_PRODUCTS = ("MatMulInteger", "ConvInteger")
_CLASSES = ("DynamicQuantizeLinear", "QuantizeLinear", "QUANTIZE", *_PRODUCTS)


def restated_in(record: RunRecord) -> set[str]:
    """Return the names of the activations that are steps of a quantized operation.

    An ONNX model that is quantized dynamically writes each product three times: as sums of
    integers, cast, and multiplied by the scale. Its input is there once more as integers. Only the
    last product stands for the layer; the others have nearly its values, and its shape. A
    convolution adds its bias to this, as it would do in one operation if it was not quantized.

    Parameters
    ----------
    record
        The record of a run.
    """
    outputs = record.model.outputs if record.model else ()
    classes = {tensor.name: tensor.layer_class for tensor in record.tensors if tensor.per_sample}
    found = {name for name, made in classes.items() if made in _CLASSES}
    convolved = {name for name, made in classes.items() if made == "ConvInteger"}
    products: set[str] = set()
    constant: set[str] = set()
    for layer in record.layers:
        read = {wire.tensor for call in layer.calls for wire in call.wires if wire.tensor}
        own = {tensor.name for tensor in layer.tensors if tensor.per_sample}
        if layer.layer_class == "Cast" and any(classes.get(name) in _PRODUCTS for name in read):
            found |= own
        if layer.layer_class == "Cast" and read & convolved:
            convolved |= own
        elif layer.layer_class == "Mul" and read & convolved:
            products |= own
        elif layer.layer_class == "Add" and read & products and read <= products | constant:
            found |= read & products
        constant |= {call.name for call in layer.calls if not call.wires}
    return found.difference(outputs)
