"""The layer classes that can be explained, and the function for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from runner.arithmetic import (
    attention,
    custom,
    elementwise,
    moves,
    normalizations,
    operations,
    torch_layers,
    weighted_sums,
    windows,
)
from runner.arithmetic.account import Account, fitting_tables, not_covered
from runner.arithmetic.layer_call import LayerCall

_PASSING = (
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
)
_QUANTIZED = ("Dense", "EinsumDense", "Embedding")
_DIMENSIONS = ("1D", "2D", "3D")

COVERED: dict[str, Callable[[LayerCall, tuple[int, ...]], Account]] = {
    "Activation": elementwise.activation,
    "BatchNormalization": normalizations.batch_normalization,
    "Concatenate": elementwise.concatenated,
    "Dense": weighted_sums.dense_layer,
    "ELU": elementwise.elu,
    "EinsumDense": weighted_sums.einsum_dense,
    "Embedding": elementwise.embedding,
    "GroupNormalization": normalizations.group_normalization,
    "LayerNormalization": normalizations.layer_normalization,
    "LeakyReLU": elementwise.leaky_relu,
    "MultiHeadAttention": attention.multi_head_attention,
    "Normalization": normalizations.normalization,
    "RMSNormalization": normalizations.rms_normalization,
    "ReLU": elementwise.relu,
    "Rescaling": elementwise.rescaling,
    "Softmax": elementwise.softmax,
    **dict.fromkeys(elementwise.MERGING, elementwise.merged),
    **dict.fromkeys(_PASSING, elementwise.same),
    **dict.fromkeys(moves.MOVING, moves.moved),
    **{f"Conv{d}": weighted_sums.conv for d in _DIMENSIONS},
    **{f"DepthwiseConv{d}": weighted_sums.depthwise_conv for d in _DIMENSIONS[:2]},
    **{f"MaxPooling{d}": windows.max_pooling for d in _DIMENSIONS},
    **{f"AveragePooling{d}": windows.average_pooling for d in _DIMENSIONS},
    **{f"GlobalMaxPooling{d}": windows.global_max_pooling for d in _DIMENSIONS},
    **{f"GlobalAveragePooling{d}": windows.global_average_pooling for d in _DIMENSIONS},
}
"""Functions that return the account of a value, by the name of the layer's class."""


@np.errstate(all="ignore")  # what overflows is infinite, and is shown as that
def spell_out(call: LayerCall, place: tuple[int, ...]) -> Account:
    """Recompute one value of a layer's output in float64 from stored tensors.

    Parameters
    ----------
    call
        Call of the layer on one sample.
    place
        Position in the output, without the sample axis.

    Raises
    ------
    InputError
        If the layer is not covered, one of its inputs was not stored, or the record of the
        layer does not match the tables.
    """
    with fitting_tables(call.name):
        account = _accounting(call)(call, place)
    return replace(account, operations=account.operations + call.rounded_before)


def _accounting(call: LayerCall) -> Callable[[LayerCall, tuple[int, ...]], Account]:
    """Return the function that computes the accounts of a layer or operation."""
    if "operation" in call.arguments:
        return operations.operation
    if call.layer.arguments is None:
        return custom.custom_layer
    if call.arguments.get("module") == "torch.nn":
        return torch_layers.account_of
    if call.layer.layer_class not in COVERED:
        raise not_covered(call.name, f"{call.layer.layer_class} layers")
    if call.arguments.get("quantization") and call.layer.layer_class not in _QUANTIZED:
        raise not_covered(call.name, f"quantized {call.layer.layer_class} layers")
    return COVERED[call.layer.layer_class]
