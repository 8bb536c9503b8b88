"""Which operation made each tensor of a pass of PyTorch, and from which others."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from runner.engines.describing import Description, UnknownOperation, constant


@dataclass(frozen=True, eq=False)
class Origin:
    """How a tensor got the value that it has at one moment of a pass.

    Attributes
    ----------
    shape, dtype
        Those of the tensor; the dtype by NumPy's name.
    operation
        The operation that made it; ``None`` if it was made before the pass.
    given
        The arguments of the operation by name, with origins in place of tensors.
    place
        Its place among several results.
    constant
        The description of its numbers, if it was made before the pass and has one.
    overwritten
        Whether it was overwritten by way of another tensor that shares its memory.
    tensor
        Returns the tensor, which may have another value now; ``None`` if it is gone.
    """

    shape: tuple[int, ...]
    dtype: str
    operation: Any = None
    given: dict[str, Any] | None = None
    place: int = 0
    constant: Description | None = None
    overwritten: bool = False
    tensor: Callable[[], torch.Tensor | None] = lambda: None

    @property
    def sources(self) -> list[Origin]:
        """The origins of the tensors that the operation took."""
        found = []
        for given in (self.given or {}).values():
            several = given if isinstance(given, list) else [given]
            found += [one for one in several if isinstance(one, Origin)]
        return found

    @property
    def name(self) -> str:
        """Name of the operation, the same whether or not it overwrites its argument."""
        if self.operation is None:
            shape = list(self.shape)
            return "write into a part of it" if self.overwritten else f"constant of shape {shape}"
        name = str(self.operation.overloadpacket.__name__)
        return name.removesuffix("_") or name


class Origins:
    """The origins of the tensors of one pass. Holds no tensor.

    Operations are noted in two steps: `given_to` before one runs, `note` after it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], tuple[int, ...], Origin]] = {}

    def of(self, tensor: torch.Tensor) -> Origin:
        """Return the origin of the present value of a tensor."""
        known = self._known.get(id(tensor))
        version = version_of(tensor)
        if known is not None and known[0]() is tensor:
            _, versions, origin = known
            if version in versions:
                return origin
            origin = Origin(origin.shape, origin.dtype, overwritten=True)
        else:
            shape, dtype = tuple(tensor.shape), name_of(tensor.dtype)
            origin = Origin(shape, dtype, constant=_constant(tensor), tensor=weakref.ref(tensor))
        self._set(tensor, (version,), origin)
        return origin

    def given_to(self, operation: Any, arguments: Any, options: Any) -> dict[str, Any]:
        """Return the arguments of an operation that is about to run, with origins for tensors."""
        declared = operation._schema.arguments
        named = dict(zip((one.name for one in declared), arguments, strict=False))
        defaults = {one.name: one.default_value for one in declared if one.has_default_value()}
        return {name: self._told(given) for name, given in {**defaults, **named, **options}.items()}

    def note(self, operation: Any, arguments: Any, given: dict[str, Any], returned: Any) -> None:
        """Note the results of an operation."""
        schema = operation._schema
        views = any(one.alias_info and not one.alias_info.is_write for one in schema.returns)
        for place, made in enumerate(
            returned if isinstance(returned, (tuple, list)) else [returned]
        ):
            if isinstance(made, torch.Tensor):
                # Only later, a view takes the version of its tensor, and one that was overwritten
                # a higher one.
                version = version_of(arguments[0] if views else made)
                versions = (version, version + 1) if schema.is_mutable else (version,)
                name = name_of(made.dtype)
                shape, held = tuple(made.shape), weakref.ref(made)
                origin = Origin(shape, name, operation, given, place, tensor=held)
                self._set(made, versions, origin)

    def _set(self, tensor: torch.Tensor, versions: tuple[int, ...], origin: Origin) -> None:
        self._known[id(tensor)] = weakref.ref(tensor), versions, origin

    def _told(self, given: Any) -> Any:
        if isinstance(given, torch.Tensor):
            return self.of(given)
        return [self._told(one) for one in given] if isinstance(given, (list, tuple)) else given


def name_of(dtype: torch.dtype) -> str:
    """Return NumPy's name of a dtype."""
    return str(dtype).removeprefix("torch.")


def version_of(tensor: torch.Tensor) -> int:
    """Return how often a tensor was overwritten; -1 if PyTorch does not count it."""
    return -1 if tensor.is_inference() else tensor._version


def _constant(tensor: torch.Tensor) -> Description | None:
    """Return the description of a tensor of numbers that is not a parameter, if it has one."""
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided:
        return None
    if tensor.is_meta or tensor.is_quantized or tensor.is_complex():
        return None
    values = tensor.detach().cpu()
    values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        return constant(values.numpy(), name_of(tensor.dtype))
    except (UnknownOperation, TypeError):
        return None
