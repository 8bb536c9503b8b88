"""State of PyTorch that a pass can change: tensors, and random streams."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import TorchDispatchMode

from runner.engines.engine import Resource

# Operations that change arguments which their schema does not mark, and where these are.
_STATISTICS = {"aten::native_batch_norm": (3, 4), "aten::cudnn_batch_norm": (3, 4)}


class _Values:
    """The values of a tensor, which operations change in place."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.handle = tensor

    def read(self) -> Any:
        return self.handle.detach().clone()

    def write(self, value: Any) -> None:
        with torch.no_grad():
            self.handle.detach().copy_(value)


@contextlib.contextmanager
def noting_changes(
    note: Callable[[Resource], None],
    *,
    every_thread: bool = False,  # noqa: ARG001
    is_quiet: bool = False,
) -> Iterator[Mapping[int, Any]]:
    """Note every tensor before it is changed in the scope, unless it was made there.

    To look at every operation takes as long as several of them, so nothing is looked at where only
    Keras's own code runs: it changes nothing but the values of Keras's variables.

    Yields
    ------
    Mapping
        Empty: tensors made in the scope are not noted.
    """
    with contextlib.nullcontext() if is_quiet and not _has_any_global_hook() else _Noting(note):
        yield {}


class _Noting(TorchDispatchMode):  # type: ignore[misc]
    def __init__(self, note: Callable[[Resource], None]) -> None:
        super().__init__()
        self._note = note
        self._made: dict[int, weakref.ref[Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return ``False``: to leave out what compiles takes longer than most operations."""
        return False

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        for tensor in _changed(operation, arguments, options or {}):
            if not self._is_made(tensor):
                # A view is another one in each pass.
                self._note(_Values(tensor if tensor._base is None else tensor._base))
        returned = operation(*arguments, **(options or {}))
        if not _returns_memory_of_arguments(operation):
            for tensor in returned if isinstance(returned, (list, tuple)) else (returned,):
                if isinstance(tensor, torch.Tensor):
                    self._made[tensor.untyped_storage()._cdata] = weakref.ref(tensor)
        return returned

    def _is_made(self, tensor: torch.Tensor) -> bool:
        made = self._made.get(tensor.untyped_storage()._cdata)
        return made is not None and made() is not None


@functools.cache
def _returns_memory_of_arguments(operation: Any) -> bool:
    """Return whether an operation makes no tensor, but a view of one, or overwrites it."""
    return any(returned.alias_info is not None for returned in operation._schema.returns)


def _changed(operation: Any, arguments: Any, options: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that an operation is about to change."""
    schema = operation._schema
    places = set(_STATISTICS.get(schema.name, ()))
    if not schema.is_mutable and not places:
        return
    for place, argument in enumerate(schema.arguments):
        info = argument.alias_info
        if place in places or (info is not None and info.is_write):
            given = arguments[place] if place < len(arguments) else options.get(argument.name)
            for tensor in given if isinstance(given, (list, tuple)) else (given,):
                if isinstance(tensor, torch.Tensor):
                    yield tensor


def random_streams() -> Callable[[], None]:
    """Return a function that restores the present positions of PyTorch's random streams."""
    position = torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def put_back() -> None:
        torch.set_rng_state(position)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)

    return put_back
