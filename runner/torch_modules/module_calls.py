"""Records every call of every module during a forward pass, in order."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree

from runner.capture.call import Call, Leaf, Observer, leaves, set_names
from runner.deep_models import room_for_depth
from runner.errors import InputError, RunnerError
from runner.patching import patched
from runner.torch_modules.module_tree import is_wrapper, submodules
from runner.torch_modules.tensors import Values

_MOST_CALLS = 50_000

_watching = threading.RLock()  # the class of all modules is wrapped for one pass at a time


def watch(
    forward: Callable[[], Any],
    values: Values,
    observers: Sequence[Observer] = (),
    known: Mapping[tuple[str, int], Any] | None = None,
) -> tuple[list[Call], Any]:
    """Run a forward pass; return every call in it, in the order of completion, and its result.

    Parameters
    ----------
    forward
        Function that calls a module once; its call is the root, and last in the result.
    values
        The values of the tensors of the pass: the inputs and outputs of the calls.
    observers
        Observers of every call, notified in this order.
    known
        Path and index of calls that are not made, and what they return: copies of it.
    """
    watcher = _Watcher(values, observers, known or {})
    with calling(watcher.call):
        returned = forward()
    *calls, root = watcher.finished
    set_names(calls)
    root.name = root.layer_path
    return watcher.finished, returned


@contextlib.contextmanager
def calling(call: Callable[..., Any]) -> Iterator[None]:
    """Let a function make every call of a module inside the scope, for this thread alone.

    The hooks of a module run inside its call. Modules on several devices run on one.

    Parameters
    ----------
    call
        Called with the function that makes the call, the module, its positional and its keyword
        arguments; returns what the call returns.
    """
    # What `__call__` calls: every class of modules would have to learn of another `__call__`.
    original, thread = nn.Module._call_impl, threading.get_ident()

    def call_impl(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return original(module, *args, **kwargs)
        if not is_wrapper(module):
            return call(original, module, args, kwargs)
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            return module.module(*args, **kwargs)
        return original(module, *args, **kwargs)

    with _watching, room_for_depth(), patched(nn.Module, _call_impl=call_impl):
        yield


def copied(structure: Any) -> Any:
    """Return a structure with copies of its tensors, which may be overwritten."""
    return _pytree.tree_map_only(torch.Tensor, torch.clone, structure)


def leaves_of(structure: Any) -> list[Leaf]:
    """Return the leaves of nested lists, tuples, mappings and dataclasses, each with its place."""
    if isinstance(structure, torch.Tensor):
        return [(None, structure)]
    return leaves(_plain(structure))


def _plain(structure: Any) -> Any:
    """Return a structure with mappings in place of its dataclasses."""
    if dataclasses.is_dataclass(structure) and not isinstance(structure, (type, dict)):
        fields = [field.name for field in dataclasses.fields(structure)]
        return {name: _plain(getattr(structure, name, None)) for name in fields}
    if isinstance(structure, (list, tuple)):
        return [_plain(value) for value in structure]
    return structure


class _Watcher:
    def __init__(
        self, values: Values, observers: Sequence[Observer], known: Mapping[tuple[str, int], Any]
    ) -> None:
        self.finished: list[Call] = []
        self._known = known
        self._values = values
        self._observers = observers
        self._open: list[Call] = []
        self._paths: dict[int, dict[int, str]] = {}
        self._unregistered: dict[tuple[str, int], str] = {}
        self._unregistered_counts: Counter[tuple[str, str]] = Counter()
        self._repeats: Counter[tuple[int, int]] = Counter()
        self._indices: Counter[str] = Counter()

    def call(self, original: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Make a call and record it."""
        call = self._begun(module, args, kwargs)
        if len(self.finished) >= _MOST_CALLS:
            raise InputError.of(
                "model",
                f"calls its modules more than {_MOST_CALLS:,} times for one batch",
                "show it with fewer steps or a shorter loop",
            )
        self._open.append(call)
        for observer in self._observers:
            observer.began(call)
        args, kwargs = call.arguments
        try:
            key = call.layer_path, call.index
            is_known = key in self._known
            returned = copied(self._known[key]) if is_known else original(module, *args, **kwargs)
        except BaseException as error:
            if isinstance(error, IndexError) and isinstance(module, nn.Embedding):
                _check_indices(module, call)
            if not isinstance(error, RunnerError) and not getattr(error, "__notes__", []):
                error.add_note(f"in {call.layer_path}")
            raise
        finally:
            self._open.pop()
        call.outputs = self._seen(leaves_of(returned))
        for observer in self._observers:
            returned = observer.ended(call, returned)
        self.finished.append(call)
        return returned

    def _begun(self, module: nn.Module, args: Any, kwargs: Any) -> Call:
        given = (*args, *kwargs.values())
        call = Call(module, None, self._seen(leaves_of(given)), depth=len(self._open))
        call.keywords, call.given = dict(enumerate(kwargs, len(args))), given
        if not self._open:
            call.layer_path = call.indexed = type(module).__name__
            return call
        parent, call.segment = self._place(module)
        call.parent = parent
        above = "" if parent.parent is None else f"{parent.layer_path}/"
        call.layer_path = above + call.segment
        call.index = self._indices[call.layer_path]
        self._indices[call.layer_path] += 1
        key = id(parent), id(module)
        call.repeat = self._repeats[key]
        self._repeats[key] += 1
        above = "" if parent.parent is None else f"{parent.indexed}/"
        call.indexed = f"{above}{call.segment}@{call.repeat}"
        return call

    def _place(self, module: nn.Module) -> tuple[Call, str]:
        """Return the innermost open call whose module contains a module, and the path below it.

        A module that belongs to no other is named after its class.
        """
        for call in reversed(self._open):
            key = id(call.operation)
            if key not in self._paths:
                below = submodules(call.operation)
                self._paths[key] = {id(found): path for path, found, _ in below}
            path = self._paths[key].get(id(module))
            if path is not None:
                return call, path
        parent = self._open[-1]
        owner = parent.layer_path, id(module)
        if owner not in self._unregistered:
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(module).__name__).lower()
            self._unregistered_counts[parent.layer_path, name] += 1
            count = self._unregistered_counts[parent.layer_path, name]
            self._unregistered[owner] = name if count == 1 else f"{name}#{count}"
        return parent, self._unregistered[owner]

    def _seen(self, found: list[Leaf]) -> list[Leaf]:
        of = self._values.of
        return [
            (place, of(leaf) if isinstance(leaf, torch.Tensor) else leaf) for place, leaf in found
        ]


def _check_indices(module: nn.Embedding, call: Call) -> None:
    """Raise an error for the first index that an embedding does not have, if there is one."""
    for _, given in leaves_of(call.given):
        outside = given[(given < 0) | (given >= module.num_embeddings)].flatten().tolist()
        if outside:
            last = module.num_embeddings - 1
            raise InputError.of(
                "probe", f"index {outside[0]} is outside an embedding of 0 to {last}"
            )


def argument_names(call: Call) -> dict[int, str]:
    """Return the names of a module's arguments, by position."""
    parameters = inspect.signature(call.operation.forward).parameters.values()
    named = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    return {**dict(enumerate(named)), **call.keywords}
