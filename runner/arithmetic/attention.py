"""Accounts of attention, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from runner.arithmetic.account import Account, check_growth, not_covered, table_of
from runner.arithmetic.functions import softmax
from runner.arithmetic.layer_call import LayerCall
from runner.record.interventions import heads_changed

Place = tuple[int, ...]

_MOST_NUMBERS = 2**26


@dataclass(frozen=True)
class Heads:
    """The heads of one call of attention, for one sample.

    Vaswani et al., "Attention Is All You Need" (2017), section 3.2: each head takes the mean
    of the values, weighted by the softmax of query times key over the root of their width.

    Attributes
    ----------
    query, key, value
        Shape (position, head, width); queries are divided by the root of their width.
    mask
        What is added to the scores, of shape (query, key) or (head, query, key): minus infinity
        where a key is masked.
    kernel
        The weights of the output: shape (head, width, unit).
    bias
        The bias of the output: shape (unit,).
    changed
        What an intervention made of the means that the heads take, of shape
        (query, head, width); ``None`` if they were not changed.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    mask: np.ndarray | float
    kernel: np.ndarray
    bias: np.ndarray
    changed: np.ndarray | None = None

    @cached_property
    def scores(self) -> np.ndarray:
        """Shape (head, query, key)."""
        check_growth(self.query.shape[1] * len(self.query) * len(self.key), _MOST_NUMBERS)
        return np.asarray(np.einsum("thk,shk->hts", self.query, self.key) + self.mask)

    @cached_property
    def weights(self) -> np.ndarray:
        """The softmax of the scores: shape (head, query, key)."""
        return softmax(self.scores)

    def output(self, call: LayerCall, place: Place) -> Account:
        """Return the account of a value of the output: the sum of what the heads contribute."""
        position, unit = place
        kernel, bias, dtype = self.kernel[:, :, unit], float(self.bias[unit]), call.dtype.type
        columns, count = {}, len(kernel)
        if self.changed is None:
            means = np.einsum("hs,shk->hk", self.weights[:, position], self.value)
            looks = self.weights[:, position].argmax(axis=1)
            weights = self.weights[range(count), position, looks].astype(dtype)
            columns = {"looks_most_at": looks, "with_weight": weights}
        else:
            means = self.changed[position]
        parts = np.einsum("hk,hk->h", means, kernel)
        labels = [f"head {head}" for head in range(count)]
        terms = table_of(labels, **columns, contribution=parts.astype(dtype))
        total = float(parts.sum() + bias)
        size = float((np.abs(means) * np.abs(kernel)).sum() + abs(bias))
        operations = means.size + sum(self.weights.shape) + call.operands[0].values.shape[-1]
        steps = [("bias", dtype(bias)), ("sum", dtype(total))]
        size *= 1 + float(np.abs(self.value).max())
        return Account(terms, steps, total, size, operations)

    def score(self, call: LayerCall, place: Place) -> Account:
        """Return the account of the weight of a key for a query, in one head."""
        head, position, looked_at = place
        dtype = call.dtype.type
        one, other = self.query[position, head], self.key[looked_at, head]
        terms = table_of(
            [str(entry) for entry in range(len(one))],
            query=one.astype(dtype),
            key=other.astype(dtype),
            product=(one * other).astype(dtype),
        )
        steps = [("sum", dtype(self.scores[place]))]
        size = float(np.abs(one * other).sum())
        operations = len(one) + call.operands[0].values.shape[-1]
        among, value = self.weights.shape[-1], float(self.weights[place])
        return Account(terms, steps, value, size, operations, "softmax", among)

    def mean_score(self, call: LayerCall, place: Place) -> Account:
        """Return the account of the weight of a key for a query, the mean of all heads."""
        weights = self.weights[:, place[0], place[1]]
        labels = [f"head {head}" for head in range(len(weights))]
        terms = table_of(labels, weight=weights.astype(call.dtype))
        value, finite = float(weights.mean()), self.scores[np.isfinite(self.scores)]
        size = float(np.abs(finite).max(initial=1.0))
        steps = [("sum", call.dtype.type(weights.sum())), ("mean", call.dtype.type(value))]
        operations = self.query.shape[-1] + call.operands[0].values.shape[-1]
        return Account(terms, steps, value, size, operations)


def multi_head_attention(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of Keras's MultiHeadAttention, or of one of its scores."""
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
    kernel = call.weight("attention_output/kernel").astype(np.float64)
    bias = np.zeros(kernel.shape[-1])
    if known.get("use_bias", True):
        bias = call.weight("attention_output/bias").astype(np.float64)
    mask: np.ndarray | float = 0.0
    if call.wiring.settings.get("use_causal_mask"):
        mask = causal(len(query), len(key))
    heads = Heads(
        _projected(call, "query", query) / np.sqrt(float(known["key_dim"])),
        _projected(call, "key", key),
        _projected(call, "value", value),
        mask,
        kernel,
        bias,
        _changed(call),
    )
    is_score = call.run.tensor(call.name, "activation").output == "1"
    return (heads.score if is_score else heads.output)(call, place)


def _changed(call: LayerCall) -> np.ndarray | None:
    """Return the values of all heads before the output projection, if an intervention changed them.

    Raises
    ------
    InputError
        If the run does not hold them.
    """
    run, name = call.run, f"{call.wiring.name}/attention_output"
    if not heads_changed(run.tensor(call.name, "activation")):
        return None
    if not any((one.name, one.kind) == (name, "input") for one in run.record.tensors):
        advice = "make the run again with capture.kinds=[activation,input,weight]"
        raise not_covered(call.name, "heads whose changed values the run does not hold", advice)
    return np.asarray(run.array(name, "input")[call.row], np.float64)


def causal(queries: int, keys: int) -> np.ndarray:
    """Return a mask of shape (query, key) that leaves each query the keys up to its own."""
    return np.where(np.tri(queries, keys) == 0, -np.inf, 0.0)


def _projected(call: LayerCall, part: str, values: np.ndarray) -> np.ndarray:
    """Return queries, keys or values of each head: shape (position, head, width)."""
    kernel = call.weight(f"{part}/kernel").astype(np.float64)
    check_growth(len(values) * kernel[0].size, _MOST_NUMBERS)
    projected = np.einsum("ti,ihk->thk", values.astype(np.float64), kernel)
    bias = call.weight(f"{part}/bias") if call.arguments.get("use_bias", True) else 0.0
    return np.asarray(projected + bias)


def torch_attention(call: LayerCall, place: Place) -> Account:
    """Return the account of a value of PyTorch's MultiheadAttention, or of one of its weights."""
    known, settings = call.arguments, call.wiring.settings
    if not known.get("batch_first"):
        what = "attention modules without batch_first, whose first axis is not that of the samples,"
        raise not_covered(call.name, what)
    if known.get("add_zero_attn") or call.has_weight("bias_k"):
        raise not_covered(call.name, "attention modules with add_zero_attn or add_bias_kv")
    if call.training and known.get("dropout"):
        raise not_covered(call.name, "random numbers drawn in training")
    given = {operand.argument: operand.values for operand in call.operands}
    count, units = int(known["num_heads"]), int(known["embed_dim"])
    query, key, value = (
        _rows(call, number, given[part], count)
        for number, part in enumerate(("query", "key", "value"))
    )
    out = call.weight("out_proj/weight").astype(np.float64)
    bias = np.zeros(units)
    if call.has_weight("out_proj/bias"):
        bias = call.weight("out_proj/bias").astype(np.float64)
    masks = [given[name] for name in ("attn_mask", "key_padding_mask") if name in given]
    heads = Heads(
        query / np.sqrt(units // count),
        key,
        value,
        sum((_added(call, mask) for mask in masks), np.zeros(())),
        out.reshape(units, count, -1).transpose(1, 2, 0),
        bias,
    )
    if call.run.tensor(call.name, "activation").output != "1":
        return heads.output(call, place)
    averaged = settings.get("average_attn_weights", True)
    return (heads.mean_score if averaged else heads.score)(call, place)


def _rows(call: LayerCall, number: int, values: np.ndarray, count: int) -> np.ndarray:
    """Return queries (0), keys (1) or values (2) of each head: shape (position, head, width)."""
    if values.ndim != 2:
        raise not_covered(call.name, f"inputs of shape {list(values.shape)} a sample")
    units, part = int(call.arguments["embed_dim"]), "qkv"[number]
    rows: Sequence[int] | slice = slice(number * units, (number + 1) * units)
    if call.has_weight("in_proj_weight"):
        kernel = call.weight("in_proj_weight")[rows]
    else:
        kernel = call.weight(f"{part}_proj_weight")
    check_growth(len(values) * len(kernel), _MOST_NUMBERS)
    projected = values.astype(np.float64) @ kernel.astype(np.float64).T
    if call.has_weight("in_proj_bias"):
        projected = projected + call.weight("in_proj_bias")[rows]
    return projected.reshape(len(values), count, -1)


def _added(call: LayerCall, mask: np.ndarray) -> np.ndarray:
    """Return what a mask adds to the scores: minus infinity where it is true."""
    if mask.ndim > 2:
        raise not_covered(call.name, "attention masks for each head")
    if mask.dtype == bool:
        return np.where(mask, -np.inf, 0.0)
    return mask.astype(np.float64)
