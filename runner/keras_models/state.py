"""State besides Keras's variables that a pass can change: restored, or carried on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from runner.engines.engine import Resource
from runner.keras_models.attributes import Attributes
from runner.keras_models.own_code import runs_keras_alone
from runner.keras_models.streams import Streams
from runner.model.backend import framework
from runner.model.keras_internals import global_generator, use_global_generator, watching_builds

_lock = threading.RLock()  # state shared by the process is restored by one thread at a time


class State:
    """The state that a capture carries from one pass over a model to the next.

    It belongs to the capture: the user's own state is restored after every pass, whether or
    not the pass succeeded. Keras's variables are not part of it; `keras.StatelessScope` keeps
    those.

    Parameters
    ----------
    model
        The model whose state is carried.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._resources: dict[int, Resource] = {}
        self._values: dict[int, Any] = {}
        self._python: _Python | None = None
        self._attributes: Attributes | None = None
        self._quiet_with: Attributes | None = None
        self.generator: Any = None

    def forget(self) -> None:
        """Begin the next pass with the current state of the user's model."""
        self._values = {}
        self._python = None

    @property
    def carries_resources(self) -> bool:
        """Whether the framework's variables or tables are carried from pass to pass."""
        return bool(self._resources)

    @property
    def carried(self) -> Any:
        """The state at the beginning of the next pass; can be set to an earlier value."""
        return self._values, self._python

    @carried.setter
    def carried(self, carried: Any) -> None:
        self._values, self._python = carried

    def expect(self, resources: tuple[Resource, ...]) -> None:
        """Carry resources that a traced pass is known to change."""
        self._resources |= {id(resource.handle): resource for resource in resources}

    @contextlib.contextmanager
    def traced_pass(self) -> Iterator[None]:
        """Run a traced function, which changes only the expected resources."""
        if not self._resources:
            yield
            return
        with _lock, self._own_resources():
            yield

    @contextlib.contextmanager
    def python_pass(self, *, every_thread: bool = False, carry: bool = True) -> Iterator[None]:
        """Run Python code of the model: a trace, or an eager pass.

        Parameters
        ----------
        every_thread
            Whether the framework may run some of it in other threads.
        carry
            Whether the next pass begins with the state that this one leaves.
        """
        with _lock:
            users = _Python(self._noted())
            own = self._python or users
            present: Attributes | None = None  # what the pass left, where that is known
            try:
                if own is not users:
                    own.put_back(users.attributes)
                elif self.generator is not None and users.streams.keras is None:
                    use_global_generator(self.generator)
                own.attributes.lend()
                is_quiet = own.attributes is self._quiet_with and not self._resources
                with self._own_resources(
                    watched=True, every_thread=every_thread, is_quiet=is_quiet
                ):
                    yield
                if users.streams.keras is None:
                    self.generator = global_generator()
                present = own.attributes if own.attributes.is_present() else None
                if not is_quiet:
                    self._note_quiet(present)
                if carry:
                    present = present or Attributes(self._model)
                    self._python = _Python(present)
                else:
                    self.forget()
            finally:
                users.put_back(present)

    def _noted(self) -> Attributes:
        """Return the attributes as they are now: those noted before, if they are present."""
        if self._attributes is not None and self._attributes.is_present():
            return self._attributes
        noted = Attributes(self._model)
        # Others are not kept: those that hold arrays hold copies of them.
        self._attributes = noted if noted.is_present() else None
        return noted

    def _note_quiet(self, left: Attributes | None) -> None:
        """Note the attributes that a pass left as they were, if it and all like it are quiet."""
        is_quiet = left is not None and not self._resources and runs_keras_alone(left)
        self._quiet_with = left if is_quiet else None

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        """Trace a pass, without carrying on the Python state that the trace leaves."""
        with self.python_pass(carry=False):
            yield

    @contextlib.contextmanager
    def _own_resources(
        self, *, watched: bool = False, every_thread: bool = False, is_quiet: bool = False
    ) -> Iterator[None]:
        users = {key: resource.read() for key, resource in self._resources.items()}

        def note(resource: Resource) -> None:
            key = id(resource.handle)
            if key not in users:
                self._resources[key] = resource
                users[key] = resource.read()

        try:
            for key, value in self._values.items():
                self._resources[key].write(value)
            noting = framework().noting_changes(note, every_thread=every_thread, is_quiet=is_quiet)
            with noting if watched else contextlib.nullcontext():
                yield
            self._values = {key: self._resources[key].read() for key in users}
        finally:
            for key, value in users.items():
                self._resources[key].write(value)


@contextlib.contextmanager
def first_call(model: keras.Model) -> Iterator[None]:
    """Build a model by a first call inside the scope, without any other effect.

    What is built stays: layers, weights, and attributes set by a layer's ``build``. Earlier
    states are restored, new ones have their initial values.
    """
    with _lock:
        streams, attributes = Streams(), Attributes(model)
        found: dict[int, tuple[Resource, Any]] = {}

        def note(resource: Resource) -> None:
            if id(resource.handle) not in found:
                found[id(resource.handle)] = resource, resource.read()

        def note_built(layer: Any, known: set[int]) -> None:
            attributes.note_built(layer)
            for key in (found.keys() - known) & made.keys():  # its state after building
                del found[key]

        made: Mapping[int, Any] = {}
        try:
            attributes.lend()
            with (
                watching_builds(lambda: set(found), note_built),
                framework().noting_changes(note) as made,
            ):
                yield
        finally:
            for resource, value in found.values():
                resource.write(value)
            attributes.put_back()
            streams.put_back(names=False)


@contextlib.contextmanager
def left_alone(model: keras.Model) -> Iterator[None]:
    """Restore everything that Python code of a model changes inside the scope."""
    with State(model).python_pass(carry=False):
        yield


class _Python:
    """The Python state of a model at one moment, given its attributes then."""

    def __init__(self, attributes: Attributes) -> None:
        self.streams = Streams()
        self.attributes = attributes

    def put_back(self, present: Attributes | None) -> None:
        self.attributes.put_back(present)
        self.streams.put_back()
