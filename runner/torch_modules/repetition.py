"""Repeats a pass that makes the same calls as an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules import module as modules_of_torch

from runner.capture.call import Call
from runner.engines.torch.origins import version_of
from runner.torch_modules.keeping import Key
from runner.torch_modules.module_calls import calling, leaves_of
from runner.torch_modules.module_contents import Contents
from runner.torch_modules.tensors import is_storable
from runner.torch_modules.writes import Operations


class Repetition:
    """A pass whose calls are expected to be those of an earlier one, whose paths are known.

    Only what is selected is looked at in every call, and operations only where they may overwrite
    a tensor. That is several times as fast as to record the calls anew.

    Parameters
    ----------
    calls
        The calls of the earlier pass, in the order of completion.
    keys
        The tensors to keep, which must be outputs of calls.
    contents
        What the module held before that pass.

    Attributes
    ----------
    contents : Contents
        As given: while the module holds it, what is known of its modules holds too.
    """

    def __init__(self, calls: Sequence[Call], keys: set[Key], contents: Contents) -> None:
        self.contents = contents
        self._expected = _expected(calls, keys)

    def overwrites_nothing(self, contents: Contents) -> bool:
        """Return whether the pass over a module with such contents runs only code of PyTorch."""
        is_harmless = contents is self.contents and self._expected[0].harmless
        return is_harmless and not modules_of_torch._has_any_global_hook()

    def run(
        self, forward: Callable[[], Any], copied: set[Key], operations: Operations
    ) -> dict[Key, torch.Tensor] | None:
        """Run the pass; return the kept tensors, or ``None`` if it was not as expected.

        Parameters
        ----------
        forward
            Function that calls the module once.
        copied
            The tensors that are overwritten after they are kept; those of this pass are added.
        operations
            Observes the operations of the pass.
        """
        expected, begun, depth, as_expected = self._expected, 0, 0, True
        kept = _Kept(copied, operations)
        observed = modules_of_torch._has_any_global_hook()

        def call(original: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
            nonlocal begun, depth, as_expected, observed
            known = expected[begun] if begun < len(expected) else None
            begun += 1
            if known is None or known.module is not module or known.depth != depth:
                as_expected = False
            if not as_expected:
                return original(module, *args, **kwargs)
            assert known is not None
            depth += 1
            try:
                if known.harmless and not observed:
                    observed = True  # no call inside this one has to be looked at for it
                    try:
                        returned = operations.unobserved(original, module, args, kwargs)
                    finally:
                        observed = False
                else:
                    returned = original(module, *args, **kwargs)
            finally:
                depth -= 1
            if known.alone and isinstance(returned, torch.Tensor):
                for key in known.keys:
                    kept.add(key, returned)
            elif not known.has_added(returned, kept):
                as_expected = False
            return returned

        with calling(call):
            forward()
        return kept.values() if as_expected and begun == len(expected) else None


class _Expected(NamedTuple):
    """A call that is expected.

    Attributes
    ----------
    module
        The module.
    depth
        The number of calls that have not ended when it begins.
    places
        The places of what it returns.
    keys
        The tensors to keep.
    alone
        Whether it returns one tensor.
    harmless
        Whether it runs only code of PyTorch that overwrites no tensor.
    """

    module: nn.Module
    depth: int
    places: list[str | None]
    keys: list[Key]
    alone: bool
    harmless: bool

    def has_added(self, returned: Any, kept: _Kept) -> bool:
        """Keep the selected tensors of what a call returned, if it is as expected."""
        leaves = leaves_of(returned)
        if [place for place, _ in leaves] != self.places:
            return False
        found = dict(leaves)
        for key in self.keys:
            if not isinstance(found[key[-1]], torch.Tensor):
                return False
            kept.add(key, found[key[-1]])
        return True


def _expected(calls: Sequence[Call], keys: set[Key]) -> list[_Expected]:
    """Return calls, given in the order of completion, in the order in which they began."""
    waiting: list[
        list[_Expected]
    ] = []  # calls with those inside them, whose parents have not ended
    for call in calls:
        inside: list[list[_Expected]] = []
        while waiting and waiting[-1][0].depth > call.depth:
            inside.insert(0, waiting.pop())
        places = [place for place, _ in call.outputs]
        own: list[Key] = [(call.layer_path, call.index, "activation", place) for place in places]
        expected = _Expected(
            call.operation,
            call.depth,
            places,
            [key for key in own if key in keys],
            places == [None],
            _is_harmless(call.operation) and all(below[0].harmless for below in inside),
        )
        waiting.append([expected, *chain.from_iterable(inside)])
    return [*chain.from_iterable(waiting)]


def _is_harmless(module: nn.Module) -> bool:
    """Return whether a module runs only code of PyTorch that overwrites no tensor."""
    own = type(module).forward.__module__
    return (
        own == type(module).__module__
        and own.startswith("torch.nn.modules.")
        and "forward" not in vars(module)
        and not module.training  # as batch normalization does
        and not getattr(module, "inplace", False)  # as activations can do
        and getattr(module, "max_norm", None) is None  # as embeddings can do
        and not (module._forward_hooks or module._forward_pre_hooks)
    )


class _Kept:
    """The kept tensors of a pass; they share their memory unless it is known to be overwritten."""

    def __init__(self, copied: set[Key], operations: Operations) -> None:
        self._copied = copied
        self._existed = operations.existed
        self._tensors: dict[Key, torch.Tensor] = {}
        self._shared: list[tuple[Key, torch.Tensor, int]] = []

    def add(self, key: Key, tensor: torch.Tensor) -> None:
        """Keep a tensor."""
        version = version_of(tensor)
        if version == -1 or key in self._copied or self._existed(tensor):
            tensor = tensor.clone()
        else:
            self._shared.append((key, tensor, version))
        self._tensors[key] = tensor

    def values(self) -> dict[Key, torch.Tensor] | None:
        """Return the tensors; ``None`` if one has no table, or was overwritten since."""
        overwritten = {key for key, one, version in self._shared if version_of(one) != version}
        self._copied |= overwritten
        return (
            None
            if overwritten or not all(map(is_storable, self._tensors.values()))
            else self._tensors
        )
