"""State that a pass over a module can change: restored, and carried to the next pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from runner.torch_modules.module_contents import Contents
from runner.torch_modules.stream_positions import are_equal, positions, set_positions
from runner.torch_modules.writes import Operations

_Saved = tuple[torch.Tensor, torch.Tensor]


class State:
    """The state that a capture carries from one pass over a module to the next.

    The user's own state is restored after every pass, whether or not the pass succeeded: modes,
    parameters, buffers, the attributes of modules with the lists and mappings in them, and the
    random streams of PyTorch, NumPy and Python.

    Parameters
    ----------
    model
        The module whose state is carried.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._users: Contents | None = None
        self.carried: _Moment | None = None
        self.changed = False

    def present(self) -> Contents:
        """Return the present contents of the user's module: the last ones where they are."""
        if self._users is None or not self._users.is_present():
            self._users = Contents(self._model)
        return self._users

    @contextlib.contextmanager
    def one_pass(
        self,
        present: Contents,
        given: Iterable[torch.Tensor],
        *,
        training: bool,
        describing: bool,
    ) -> Iterator[tuple[Operations, Contents]]:
        """Run a pass over the module inside the scope, in the given mode.

        Parameters
        ----------
        present
            The present contents of the user's module.
        given
            Tensors that share memory with arrays, which no operation overwrites.
        training
            Whether it is training mode.
        describing
            Whether to note of every tensor where it came from.

        Yields
        ------
        Operations
            What is known of the operations of the pass.
        Contents
            The contents of the module's objects before it.
        """
        users = _Moment(present)
        is_users = False  # whether the pass began with the user's state, and left all of it
        try:
            before = users.streams
            if self.carried is not None:
                self.carried.put_back(users)
                before = positions()
            own = (self.carried or users).contents
            existing = [*present.tensors, *given]
            operations = Operations(existing, users.save, describing=describing)
            with operations:
                if own.is_training != {training}:
                    self._model.train(training)
                yield operations, own
            self.changed = bool(users.saved) or not are_equal(before, positions())
            is_present = self._is_present_again(users.contents)
            is_users = self.carried is None and is_present and not self.changed
            left = users.contents if is_present else Contents(self._model)
            moved = self.changed or not is_present
            self.carried = _Moment(left, users.saved.values()) if moved else None
        finally:
            if not is_users:
                users.contents.put_modes_back()
                users.put_back()

    def _is_present_again(self, contents: Contents) -> bool:
        """Return whether all objects have earlier contents, once their modes are put back."""
        if contents.is_present():
            return True
        contents.put_modes_back()
        return contents.is_present()


class _Moment:
    """The state of a module at one moment.

    Parameters
    ----------
    contents
        The present contents of the module's objects.
    written
        Tensors whose values are held from the beginning, each with other values.

    Attributes
    ----------
    contents
        As given.
    streams
        The positions of the random streams.
    saved : dict
        Tensors of which the values are held, by identity, each with its values.
    """

    def __init__(self, contents: Contents, written: Iterable[_Saved] = ()) -> None:
        self.contents = contents
        self.streams = positions()
        self.saved: dict[int, _Saved] = {}
        for tensor, _ in written:
            self.save(tensor)

    def save(self, tensor: torch.Tensor) -> None:
        """Hold the values of a tensor."""
        if id(tensor) not in self.saved:
            with torch.no_grad():
                self.saved[id(tensor)] = tensor, tensor.detach().clone()

    def put_back(self, users: _Moment | None = None) -> None:
        """Restore this state; what that overwrites is saved in the user's, if given."""
        self.contents.put_back()
        for tensor, values in self.saved.values():
            if users is not None:
                users.save(tensor)
            with torch.no_grad():
                tensor.detach().copy_(values)
        set_positions(self.streams)
