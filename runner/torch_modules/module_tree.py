"""The tree of modules of a model: their paths, and the wrappers around a module.

It is read with the methods of PyTorch's own `Module`: a class that overrides them could return or
raise anything.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import nn


def is_wrapper(module: nn.Module) -> bool:
    """Return whether a module only runs another one: compiled, or on several devices."""
    return _is_of_wrappers(type(module))  # type: ignore[arg-type]  # a class can be hashed


@functools.cache
def _is_of_wrappers(cls: type) -> bool:
    parallel = issubclass(cls, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    return parallel or cls.__name__ == "OptimizedModule"  # its class is private


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module that a wrapper runs, or a module itself."""
    while is_wrapper(module):
        _, module = next(nn.Module.named_children(module))
    return module


def submodules(root: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield all modules below one, each once, in the order of ``named_modules``.

    Yields
    ------
    tuple
        The path below `root`, joined by ``/``; the module; and the path of its parent. A wrapper
        has the path of the module that it runs, and is not yielded.
    """
    seen = {id(root)}
    waiting = [("", nn.Module.named_children(root))]
    while waiting:
        above, rest = waiting[-1]
        name, child = next(rest, ("", None))
        if child is None:
            waiting.pop()
            continue
        module = unwrapped(child)
        if id(module) not in seen:
            seen.add(id(module))
            path = f"{above}/{name}" if above else name
            yield path, module, above
            waiting.append((path, nn.Module.named_children(module)))


def own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a module's own parameters and buffers by name."""
    yield from nn.Module.named_parameters(module, recurse=False, remove_duplicate=False)
    yield from nn.Module.named_buffers(module, recurse=False, remove_duplicate=False)


def tensors_in(root: nn.Module) -> list[torch.Tensor]:
    """Return the parameters of a module and of all modules below it, and then the buffers."""
    root = unwrapped(root)
    modules = [root, *(module for _, module, _ in submodules(root))]
    found = [tensor for module in modules for _, tensor in own_tensors(module)]
    return sorted(found, key=lambda tensor: not isinstance(tensor, nn.Parameter))


def parameters_in(root: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a module and of all modules below it."""
    return [tensor for tensor in tensors_in(root) if isinstance(tensor, nn.Parameter)]
