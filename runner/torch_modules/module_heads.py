"""The heads of attention modules, found from a module's attributes and the calls inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from runner.capture.call import Call
from runner.capture.changing import Output
from runner.capture.heads import Heads, layer_of
from runner.tensors import TensorSpec
from runner.torch_modules.module_tree import submodules
from runner.torch_modules.tensors import Value

_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head")
"""Attributes of modules, or of their configuration, that hold the number of heads."""


def heads_in(calls: Sequence[Call]) -> list[Heads]:
    """Return the heads of all calls of attention modules.

    Parameters
    ----------
    calls
        All calls of a forward pass, in the order of completion.
    """
    inside: dict[int, list[Call]] = {}
    holding: set[int] = set()  # those in which a call has heads
    found = []
    for call in calls:
        heads = None if id(call) in holding else _heads_of(call, inside.get(id(call), []))
        if heads is not None:
            found.append(heads)
        if call.parent is not None:
            inside.setdefault(id(call.parent), []).append(call)
            if heads is not None or id(call) in holding:
                holding.add(id(call.parent))
    return found


def refused_heads_in(calls: Sequence[Call]) -> list[tuple[TensorSpec, str]]:
    """Return the calls of modules whose heads are in no tensor of the pass, and why.

    Where it can, PyTorch runs `nn.MultiheadAttention` as one kernel. Another computation, in which
    its heads could be changed, rounds differently.
    """
    why = "is one function of PyTorch, which joins its heads inside"
    found = [call for call in calls if isinstance(call.operation, nn.MultiheadAttention)]
    return [(layer_of(call), why) for call in found]


def _heads_of(call: Call, below: list[Call]) -> Heads | None:
    """Return the heads of a call, given the calls that it made itself."""
    module, count = call.operation, _count_of(call.operation)
    if count is None or isinstance(module, nn.MultiheadAttention):  # which makes no calls
        return None
    own = {id(value) for _, value in call.inputs}
    products = [one for one in below if _is_product(one.operation)]
    joining = [one for one in products if not any(id(value) in own for _, value in one.inputs)]
    if joining:
        last = joining[-1]
        [(_, given)] = last.inputs
        return _split(call, count, given, Output(last.layer_path, last.index, None, "input"))
    uncalled = {id(one) for _, one, _ in submodules(module) if _is_product(one)}
    uncalled -= {id(one.operation) for one in products}
    if products and not uncalled and call.outputs:  # what it returns is joined elsewhere
        place, returned = call.outputs[0]
        return _split(call, count, returned, Output(call.layer_path, call.index, place))
    return None


def _split(call: Call, count: int, joined: Any, output: Output) -> Heads | None:
    fits = isinstance(joined, Value) and len(joined.shape) > 1 and joined.shape[-1] % count == 0
    return Heads.of(call, count, output) if fits else None


def _count_of(module: nn.Module) -> int | None:
    """Return the number of heads that a module has according to its attributes."""
    said: list[Any] = [module]
    if "attention" in type(module).__name__.lower():
        said.append(getattr(module, "config", None))
    counts = [getattr(one, name, None) for one in said for name in _COUNTS]
    return next((count for count in counts if type(count) is int and count > 0), None)


def _is_product(module: nn.Module) -> bool:
    """Return whether a module multiplies its input by a matrix: Linear, or one like it."""
    weight = getattr(module, "weight", None)
    is_matrix = isinstance(weight, torch.Tensor) and weight.ndim == 2
    return is_matrix and not isinstance(module, nn.Embedding)
