"""Notes where the tensors of a pass of a Keras model came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runner.engines.describing import Description, Source
from runner.engines.torch.derivations import description_of, sources_of
from runner.engines.torch.origins import Origin, Origins

_noted: ContextVar[_Noting | None] = ContextVar("_noted", default=None)


class _Noting(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.origins = Origins()

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        given = self.origins.given_to(operation, arguments, options)
        returned = operation(*arguments, **options)
        self.origins.note(operation, arguments, given, returned)
        return returned


@contextlib.contextmanager
def noting_origins() -> Iterator[None]:
    """Note in the scope of every tensor which operation made it, and from which others."""
    noting = _Noting()
    token = _noted.set(noting)
    try:
        with noting:
            yield
    finally:
        _noted.reset(token)


def derivation(tensor: Any, source: Source) -> Description | None:
    """Describe how a tensor was computed from named tensors; see `runner.engines.engine`."""
    origin = _origin_of(tensor)
    if origin is None:
        return None

    def named(one: Origin) -> Description | None:
        found = one.tensor()
        return source(found) if found is not None and _origin_of(found) is one else None

    return description_of(origin, named)


def before_casts(tensor: Any) -> Any:
    """Return the tensor from which another one is made by casts alone, or that itself."""
    origin = _origin_of(tensor)
    while origin is not None and origin.given is not None and origin.name == "_to_copy":
        origin = origin.given["self"]
        before = origin.tensor()
        if before is None:
            break
        tensor = before
    return tensor


def elementwise_sources(tensor: Any) -> Sequence[Any]:
    """Return the inputs of the operation that made a tensor entry by entry, if one did."""
    origin = _origin_of(tensor)
    found = [] if origin is None else [one.tensor() for one in sources_of(origin)]
    return [one for one in found if one is not None]


def depends_on(result: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Return whether a tensor was computed from another one; true also where that is not known."""
    end, start = _origin_of(result), _origin_of(tensor)
    if end is None or start is None:
        return True
    waiting, seen = [end], {id(end)}
    while waiting:
        one = waiting.pop()
        if one is start:
            return True
        for before in one.sources:
            if id(before) not in seen:
                seen.add(id(before))
                waiting.append(before)
    return False


def _origin_of(tensor: Any) -> Origin | None:
    noting = _noted.get()
    if noting is None or not isinstance(tensor, torch.Tensor):
        return None
    return noting.origins.of(tensor)
