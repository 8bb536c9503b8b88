"""Observes the operations of a pass: what they overwrite, and what they make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode,
    _pop_mode,
    _push_mode,
)

from runner.engines.torch.origins import Origin, Origins

_STATISTICS = frozenset(("running_mean", "running_var"))


class Operations(TorchDispatchMode):  # type: ignore[misc]
    """Observes every operation of PyTorch in its scope.

    Parameters
    ----------
    tensors
        Tensors that exist before the scope.
    note
        Called with each of them before an operation overwrites its memory.
    describing
        Whether to note of every tensor which operation made it.
    """

    def __init__(
        self,
        tensors: Iterable[torch.Tensor],
        note: Callable[[torch.Tensor], None],
        *,
        describing: bool,
    ) -> None:
        super().__init__()
        self._origins = Origins() if describing else None
        self._note = note
        self._by_memory: dict[int, list[torch.Tensor]] = {}
        for tensor in tensors:
            if (memory := _memory_of(tensor)) is not None:
                self._by_memory.setdefault(memory, []).append(tensor)
        self._memories = frozenset(self._by_memory)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return ``False``: nothing is compiled in the scope anyway."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation."""
        kwargs = kwargs or {}
        for tensor in _overwritten(func, args, kwargs):
            for known in self._by_memory.pop(_memory_of(tensor), ()):  # type: ignore[arg-type]
                self._note(known)
        if self._origins is None:
            return func(*args, **kwargs)
        given = self._origins.given_to(func, args, kwargs)
        result = func(*args, **kwargs)
        self._origins.note(func, args, given, result)
        return result

    def unobserved(
        self, function: Callable[..., Any], module: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a module that is known to overwrite nothing, without observing its operations."""
        if _get_current_dispatch_mode() is not self:
            return function(module, *args, **kwargs)
        _pop_mode()
        try:
            return function(module, *args, **kwargs)
        finally:
            _push_mode(self)

    def existed(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor shares the memory of one that existed before the scope."""
        return _memory_of(tensor) in self._memories

    def origin_of(self, tensor: torch.Tensor) -> Origin | None:
        """Return where the present value of a tensor came from, if that is noted."""
        return None if self._origins is None else self._origins.of(tensor)


def _memory_of(tensor: torch.Tensor) -> int | None:
    """Return what identifies the memory of a tensor; ``None`` if it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):  # sparse, nested, meta
        return None


def _overwritten(func: Any, args: tuple[Any, ...], kwargs: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that an operation is about to overwrite."""
    for position, name in _written_arguments(func):
        given = args[position] if position < len(args) else kwargs.get(name)
        if name in _STATISTICS and not _is_training(func, args, kwargs):
            continue
        for tensor in given if isinstance(given, (tuple, list)) else (given,):
            if isinstance(tensor, torch.Tensor):
                yield tensor


def _is_training(func: Any, args: tuple[Any, ...], kwargs: Any) -> bool:
    """Return whether a batch normalization takes its statistics from the batch."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == "training":
            return bool(args[position] if position < len(args) else kwargs.get("training"))
    return True


@functools.cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Return position and name of the arguments that an operation writes to."""
    arguments = func._schema.arguments
    # The schemas of batch normalization do not tell that it updates the running statistics.
    statistics = _STATISTICS if "batch_norm" in func.__name__ else frozenset[str]()
    return tuple(
        (position, argument.name)
        for position, argument in enumerate(arguments)
        if argument.name in statistics
        or (argument.alias_info is not None and argument.alias_info.is_write)
    )
