"""What a module holds at one moment: the contents of all objects that it refers to."""

from __future__ import annotations

import collections
import operator
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from runner.capture.membership import Membership
from runner.torch_modules.module_inputs import Placing

# Packages whose objects are not looked into, except modules.
_LIBRARIES = sys.stdlib_module_names - {"__main__"} | {
    "numpy", "torch", "transformers", "timm", "torchvision", "keras", "tensorflow", "runner",
}  # fmt: skip


class Contents:
    """The contents of all objects that a module refers to, at one moment.

    Parameters
    ----------
    model
        The module.

    Attributes
    ----------
    tensors : list[torch.Tensor]
        The parameters, buffers and other tensors.
    modes : list[tuple[nn.Module, bool]]
        Whether each module is in training mode.
    is_training : set[bool]
        The modes that there are.
    compiled : list[nn.Module]
        The modules that are compiled.
    fused : list[nn.Module]
        PyTorch's transformer layers.
    placing : Placing
        Where the module computes, and in which numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.tensors: list[torch.Tensor] = []
        self.modes: list[tuple[nn.Module, bool]] = []
        self._mappings: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._members: list[tuple[Any, Any]] = []
        self._puts: list[Callable[[], None]] = []
        self._owners: list[Any] = []  # of `_attributes`, one each
        self._attributes: list[dict[str, Any]] = []
        self._walk(model)
        modules = [module for module, _ in self.modes]
        self.is_training = {mode for _, mode in self.modes}
        self.compiled = [one for one in modules if one._compiled_call_impl is not None]
        self.fused = [one for one in modules if isinstance(one, nn.TransformerEncoderLayer)]
        self.placing = Placing.of(model)
        self._parameters = _Parameters(
            [one for one in self.tensors if isinstance(one, nn.Parameter)]
        )
        self._membership = Membership(
            [mapping for mapping, _ in self._mappings],
            [container for container, _ in self._members],
        )

    def is_present(self) -> bool:
        """Return whether all objects have the same contents now."""
        return (
            not self._puts  # generators and arrays, which may have moved
            and all(map(operator.is_, map(vars, self._owners), self._attributes))
            and self._membership.is_same()
            and self._parameters.is_same()
        )

    def put_modes_back(self) -> None:
        """Put every module into the mode that it had."""
        for module, mode in self.modes:
            if module.training is not mode:
                module.training = mode

    def put_back(self) -> None:
        """Restore the contents of all objects, except the values of tensors."""
        if self.is_present():
            return
        for mapping, pairs in self._mappings:
            if not _same_pairs(mapping, pairs):
                mapping.clear()
                mapping.update(pairs)
        for container, members in self._members:
            if not _same_members(container, members):
                container.clear()
                getattr(container, "update" if isinstance(container, set) else "extend")(members)
        if not self._parameters.is_same():
            self._parameters.put_back()
        for put in self._puts:
            put()

    def _walk(self, model: nn.Module) -> None:
        seen: set[int] = set()
        waiting: list[Any] = [model]
        while waiting:
            thing = waiting.pop()
            kind = type(thing)
            if kind in _PLAIN or id(thing) in seen or isinstance(thing, _PLAIN_BASES):
                continue
            seen.add(id(thing))
            if isinstance(thing, dict):
                self._mappings.append((thing, dict(thing)))
                waiting += thing.values()
            elif isinstance(thing, torch.Tensor):
                self.tensors.append(thing)
            elif isinstance(thing, nn.Module):
                self.modes.append((thing, thing.training))
                waiting.append(self._attributes_of(thing))
            else:
                waiting += self._noted(thing)

    def _noted(self, thing: Any) -> Any:
        """Note an object of another type, and return the objects that it refers to."""
        match thing:
            case list() | set() | collections.deque() | bytearray():
                members = list(thing)
                self._members.append((thing, members))
                return members
            case tuple():
                return thing
            case np.ndarray() if thing.flags.writeable:
                array = thing.copy()
                self._puts.append(lambda: np.copyto(thing, array))
                return ()
            case random.Random():
                state = thing.getstate()
                self._puts.append(lambda: thing.setstate(state))
                return ()
            case np.random.RandomState() | torch.Generator():
                position: Any = thing.get_state()
                self._puts.append(lambda: thing.set_state(position))
                return ()
            case np.random.Generator():
                drawn = thing.bit_generator.state
                self._puts.append(lambda: setattr(thing.bit_generator, "state", drawn))
                return ()
        if (type(thing).__module__ or "").partition(".")[0] in _LIBRARIES:
            return ()
        return (self._attributes_of(thing),) if hasattr(thing, "__dict__") else ()

    def _attributes_of(self, thing: Any) -> dict[str, Any]:
        attributes: dict[str, Any] = vars(thing)
        self._owners.append(thing)
        self._attributes.append(attributes)
        return attributes


_PLAIN = frozenset(
    (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
)
_PLAIN_BASES = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    np.generic,
)  # fmt: skip


class _Parameters:
    """The memory, the gradients and the flags of parameters at one moment."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self._parameters = parameters
        self._data = [parameter.data for parameter in parameters]
        self._gradients = [parameter.grad for parameter in parameters]
        self._held = self._present()

    def is_same(self) -> bool:
        """Return whether all parameters have them still."""
        return self._present() == self._held

    def _present(self) -> list[list[Any]]:
        every = self._parameters
        gradients = map(_gradient_of, every)
        return [
            [*map(torch.Tensor.data_ptr, every)],
            [*map(_shape_of, every)],
            [*map(id, gradients)],
            [*map(_wanted_of, every)],
        ]

    def put_back(self) -> None:
        """Give them to the parameters again."""
        wanted = self._held[-1]
        for parameter, *held in zip(
            self._parameters, self._data, self._gradients, wanted, strict=True
        ):
            parameter.data, parameter.grad = held[:2]
            parameter.requires_grad_(held[2])


_shape_of, _gradient_of, _wanted_of = map(operator.attrgetter, ("shape", "grad", "requires_grad"))


def _same_pairs(now: dict[Any, Any], before: dict[Any, Any]) -> bool:
    return (
        len(now) == len(before)
        and all(map(operator.is_, now.values(), before.values()))
        and all(map(operator.eq, now, before))
    )


def _same_members(now: Any, before: list[Any]) -> bool:
    return len(now) == len(before) and all(map(operator.is_, now, before))
