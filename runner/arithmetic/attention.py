"""Accounts of multi-head attention, head by head."""

from __future__ import annotations

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.functions import softmax
from runner.arithmetic.layer_call import LayerCall

Place = tuple[int, ...]

_MOST_NUMBERS = 2**26


def multi_head_attention(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of MultiHeadAttention, or of one of its scores.

    Vaswani et al., "Attention Is All You Need" (2017), section 3.2: each head takes the mean
    of the values, weighted by the softmax of query times key over the root of their width.
    """
    known = call.arguments
    masks = [wire for wire in call.wiring.wires if wire.masked or "mask" in wire.argument]
    if masks:
        raise not_covered(call.name, "masked inputs")
    if call.training and known.get("dropout"):
        raise not_covered(call.name, "random numbers drawn in training")
    if call.has_weight("query/kernel_scale"):
        parts = "query, key, value and attention_output"
        raise not_covered(
            call.name, "quantized attention layers", f"explain {parts} inside it instead"
        )
    given = {operand.argument: operand.values for operand in call.operands}
    query, value = given["query"], given["value"]
    key = given.get("key", value)
    if known.get("use_gate") or query.ndim != 2 or known.get("attention_axes", [1]) != [1]:
        raise not_covered(call.name, "attention layers with gates or several attention axes")
    of_query = _projected(call, "query", query) / np.sqrt(float(known["key_dim"]))
    of_key, of_value = _projected(call, "key", key), _projected(call, "value", value)
    check_growth(of_query.shape[1] * len(of_query) * len(of_key), _MOST_NUMBERS)
    scores = np.einsum("thk,shk->hts", of_query, of_key)
    if call.wiring.settings.get("use_causal_mask"):
        scores[:, np.tri(*scores.shape[1:]) == 0] = -np.inf
    weights = softmax(scores)
    tensor = call.run.tensor(call.name, "activation")
    if tensor.output == "1":
        return _score(call, place, of_query, of_key, scores, weights)
    return _output(call, place, weights, of_value)


def _projected(call: LayerCall, part: str, values: np.ndarray) -> np.ndarray:
    """Return queries, keys or values of each head: shape (position, head, width)."""
    kernel = call.weight(f"{part}/kernel").astype(np.float64)
    check_growth(len(values) * kernel[0].size, _MOST_NUMBERS)
    projected = np.einsum("ti,ihk->thk", values.astype(np.float64), kernel)
    bias = call.weight(f"{part}/bias") if call.arguments.get("use_bias", True) else 0.0
    return np.asarray(projected + bias)


def _output(call: LayerCall, place: Place, weights: np.ndarray, of_value: np.ndarray) -> Account:
    position, unit = place
    kernel = call.weight("attention_output/kernel").astype(np.float64)
    means = np.einsum("hs,shk->hk", weights[:, position], of_value)
    parts = np.einsum("hk,hk->h", means, kernel[:, :, unit])
    bias = 0.0
    if call.arguments.get("use_bias", True):
        bias = float(call.weight("attention_output/bias")[unit])
    dtype = call.dtype.type
    looks = weights[:, position].argmax(axis=1)
    terms = table_of(
        [f"head {head}" for head in range(len(parts))],
        looks_most_at=looks,
        with_weight=weights[range(len(parts)), position, looks].astype(dtype),
        contribution=parts.astype(dtype),
    )
    total = float(parts.sum() + bias)
    size = float((np.abs(means) * np.abs(kernel[:, :, unit])).sum() + abs(bias))
    operations = means.size + sum(weights.shape) + call.operands[0].values.shape[-1]
    steps = [("bias", dtype(bias)), ("sum", dtype(total))]
    return Account(terms, steps, total, size * (1 + float(np.abs(of_value).max())), operations)


def _score(
    call: LayerCall,
    place: Place,
    of_query: np.ndarray,
    of_key: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
) -> Account:
    head, position, looked_at = place
    dtype = call.dtype.type
    one, other = of_query[position, head], of_key[looked_at, head]
    terms = table_of(
        [str(entry) for entry in range(len(one))],
        query=one.astype(dtype),
        key=other.astype(dtype),
        product=(one * other).astype(dtype),
    )
    steps = [("sum", dtype(scores[place]))]
    size = float(np.abs(one * other).sum())
    operations = len(one) + call.operands[0].values.shape[-1]
    among = weights.shape[-1]
    return Account(terms, steps, float(weights[place]), size, operations, "softmax", among)
