"""Everything besides Keras's variables that a pass can move: put back, and carried on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

from runner.capture.attributes import Attributes
from runner.capture.resources import Resource, watching
from runner.capture.streams import Streams, keras_generator, use_keras_generator
from runner.errors import InputError

_lock = threading.RLock()  # what is shared by all of a process is put back by one at a time


class State:
    """What a capture carries from one pass over a model to the next.

    It belongs to the capture: the user's own is put back after every pass, whether that
    ended well or not. Keras's variables are no part of it; `keras.StatelessScope` keeps
    those.

    Parameters
    ----------
    model
        Whose state it is.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._resources: dict[int, Resource] = {}
        self._values: dict[int, Any] = {}
        self._python: _Python | None = None
        self.generator: Any = None

    def forget(self) -> None:
        """Begin the next pass with the state that the user's model has then."""
        self._values = {}
        self._python = None

    @property
    def carries_resources(self) -> bool:
        """Whether variables or tables of TensorFlow are carried from pass to pass."""
        return bool(self._resources)

    @property
    def carried(self) -> Any:
        """What the next pass begins with; can be set to what it was."""
        return self._values, self._python

    @carried.setter
    def carried(self, carried: Any) -> None:
        self._values, self._python = carried

    def expect(self, resources: tuple[Resource, ...]) -> None:
        """Carry resources that a traced pass is known to change."""
        self._resources |= {id(resource.handle): resource for resource in resources}

    @contextlib.contextmanager
    def traced_pass(self) -> Iterator[None]:
        """Run a traced function, which changes nothing but the resources expected of it."""
        if not self._resources:
            yield
            return
        with _lock, self._own_resources():
            yield

    @contextlib.contextmanager
    def python_pass(self, *, every_thread: bool = False, carry: bool = True) -> Iterator[None]:
        """Run Python code of the model: a trace, or a pass without one.

        Parameters
        ----------
        every_thread
            Whether TensorFlow may run some of it in other threads.
        carry
            Whether the next pass begins with what this one leaves.
        """
        with _lock:
            users = _Python(self._model)
            try:
                if self._python is not None:
                    self._python.put_back()
                elif self.generator is not None and users.streams.keras is None:
                    use_keras_generator(self.generator)
                with self._own_resources(watched=True, every_thread=every_thread):
                    yield
                if users.streams.keras is None:
                    self.generator = keras_generator()
                if carry:
                    self._python = _Python(self._model)
                else:
                    self.forget()
            finally:
                users.put_back()

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        """Trace a pass: what it leaves in Python was no pass yet, and is not carried on."""
        with self.python_pass(carry=False):
            yield

    @contextlib.contextmanager
    def _own_resources(
        self, *, watched: bool = False, every_thread: bool = False
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
            with _noting(note, every_thread) if watched else contextlib.nullcontext():
                yield
            self._values = {key: self._resources[key].read() for key in users}
        finally:
            for key, value in users.items():
                self._resources[key].write(value)


@contextlib.contextmanager
def first_call(model: keras.Model) -> Iterator[None]:
    """Let a first call build a model inside the scope, and do nothing else.

    What is built stays: layers, weights, and what a layer's ``build`` sets. States that
    were there before are put back, new ones begin as they were made.
    """
    with _lock:
        streams, attributes = Streams(), Attributes(model)
        found: dict[int, tuple[Resource, Any]] = {}

        def note(resource: Resource) -> None:
            if id(resource.handle) not in found:
                found[id(resource.handle)] = resource, resource.read()

        build = keras.Layer._maybe_build

        def maybe_build(layer: Any, *arguments: Any) -> None:
            was_built, known = layer.built, set(found)
            build(layer, *arguments)
            if layer.built and not was_built and not getattr(layer.build, "_is_default", False):
                attributes.note_built(layer)
                for key in (found.keys() - known) & made.keys():  # as the building left it
                    del found[key]

        made: dict[int, Any] = {}
        keras.Layer._maybe_build = maybe_build
        try:
            with _noting(note) as made:
                yield
        finally:
            keras.Layer._maybe_build = build
            for resource, value in found.values():
                resource.write(value)
            attributes.put_back()
            streams.put_back(names=False)


@contextlib.contextmanager
def _noting(
    note: Callable[[Resource], None], every_thread: bool = False
) -> Iterator[dict[int, Any]]:
    """Note every resource before it is changed inside the scope; yields the ones made there.

    Raises
    ------
    InputError
        If one could not be put back. Keras words errors of layers anew, so that this one
        is kept until they have passed.
    """
    made: dict[int, Any] = {}
    refused: list[InputError] = []

    def changed(operation: str, handle: Any) -> None:
        try:
            resource = Resource.of(handle, operation)
        except InputError as error:
            if id(handle) in made:  # nobody else has it
                return
            refused.append(error)
            raise RuntimeError(str(error)) from error
        if resource.is_initialized:
            note(resource)

    try:
        with watching(
            changed,
            lambda handle: made.setdefault(id(handle), handle),
            every_thread=every_thread,
        ):
            yield made
    except Exception:
        if refused:
            raise refused[0] from None
        raise


@contextlib.contextmanager
def left_alone(model: keras.Model) -> Iterator[None]:
    """Put back what Python code of a model moves inside the scope."""
    with State(model).python_pass(carry=False):
        yield


class _Python:
    """What Python holds, at one moment."""

    def __init__(self, model: keras.Model) -> None:
        self.streams = Streams()
        self._attributes = Attributes(model)

    def put_back(self) -> None:
        self._attributes.put_back()
        self.streams.put_back()
