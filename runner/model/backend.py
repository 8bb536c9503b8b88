"""Loads Keras and its framework without log output, and chooses the engine."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from runner.engines.engine import Engine
from runner.errors import InputError, Problem, installing, suggest


@dataclass(frozen=True)
class Framework:
    """A framework that Keras can run on.

    Attributes
    ----------
    load
        Imports it, and returns its engine.
    requirement
        What pip installs it by, or the extra of Runner.
    packages
        Those that compute with it, whose versions the record of a run has.
    title
        Its name in texts.
    for_float64
        Variables of the environment without which it does not compute in float64.
    """

    load: Callable[[], Engine]
    requirement: str
    packages: tuple[str, ...]
    title: str
    for_float64: Mapping[str, str] = field(default_factory=dict)


_wanted: ContextVar[str | None] = ContextVar("_wanted", default=None)


@contextlib.contextmanager
def wanting(name: str | None) -> Iterator[None]:
    """Let what loads Keras inside the scope load it on the backend that a configuration names."""
    token = _wanted.set(name)
    try:
        yield
    finally:
        _wanted.reset(token)


def check_backend(wanted: str | None = None) -> str:
    """Return the backend that Keras runs on, or will run on, without importing Keras.

    Parameters
    ----------
    wanted
        The backend that a configuration names; ``None`` for that of the scope of `wanting`, or
        else the one that Keras is set to.

    Raises
    ------
    InputError
        If it has no engine, its framework is not installed, or Keras runs on another one already.
    """
    running, wanted = running_backend(), wanted or _wanted.get()
    name, place = (wanted, "backend") if wanted is not None else default_backend()
    if problems := [*backend_problems(name, place)]:
        raise InputError(problems)
    if running is not None and name != running:
        raise InputError.of(
            place,
            f"Keras runs on {running} in this process, and cannot change to {name}",
            f"start Python anew with KERAS_BACKEND={name}",
        )
    return name


def backend_problems(name: str, place: str = "") -> Iterator[Problem]:
    """Yield a problem if a backend has no engine, or its framework is not installed."""
    if name not in ENGINES:
        message = f"expected one of {', '.join(ENGINES)}, found {name}"
        yield Problem(place, message, suggest(name, ENGINES) or "set backend=tensorflow")
    elif not is_installed(name):
        others = [f"set backend={other}" for other in ENGINES if is_installed(other)]
        install = installing(ENGINES[name].requirement)
        yield Problem(place, f"{name} is not installed", ", or ".join((install, *others)))


def running_backend() -> str | None:
    """Return the backend of this process's Keras; ``None`` if Keras is not imported."""
    return str(sys.modules["keras"].config.backend()) if "keras" in sys.modules else None


def default_backend() -> tuple[str, str]:
    """Return the backend that Keras runs on, or else is set to, and what sets it."""
    if (running := running_backend()) is not None:
        return running, "Keras's backend"
    return configured_backend()


def configured_backend() -> tuple[str, str]:
    """Return the backend that Keras is set to when it is imported, and what sets it.

    TensorFlow is Keras's default, which it also writes to its settings: where TensorFlow is not
    installed, the first backend that is takes its place.
    """
    if name := os.environ.get("KERAS_BACKEND", ""):
        return name, "KERAS_BACKEND"
    file = _settings()
    name = _configured(file)
    if name == "tensorflow" and not is_installed(name):
        name = next(filter(is_installed, ENGINES), name)
    return name, str(file)


def is_installed(name: str) -> bool:
    """Return whether the framework of a backend is installed, without importing it."""
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _settings() -> Path:
    """Return the path of Keras's settings file."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser() / "keras.json"
    home = Path("~").expanduser()
    if not os.access(home, os.W_OK):
        home = Path("/tmp")
    return home / ".keras" / "keras.json"


def _configured(file: Path) -> str:
    """Return the backend in Keras's settings, read as Keras reads them."""
    try:
        settings = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return "tensorflow"
    return str(settings.get("backend", "tensorflow")) if isinstance(settings, dict) else ""


def load_backend(wanted: str | None = None) -> None:
    """Import Keras on a backend, once, without the log lines of its framework.

    A framework's libraries write them directly to the process's stderr, before any level can be
    set. If the import fails, they are shown. On another backend than TensorFlow, Keras is told
    that TensorFlow is not there: else it would import it where it is installed.

    Raises
    ------
    InputError
        As in `check_backend`.
    """
    name = check_backend(wanted)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" in sys.modules:
        return
    with stderr_kept_back(), _variable("KERAS_BACKEND", name):
        importlib.import_module("keras")
        if "tensorflow" not in sys.modules:
            importlib.import_module("runner.model.keras_internals").leave_out_tensorflow()
        framework().start()


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment inside the scope: what is started later inherits it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def stderr_kept_back(*, shown: bool = True) -> Iterator[None]:
    """Keep back what is written to stderr, also by libraries; show it if the scope fails.

    Parameters
    ----------
    shown
        Whether to show it then, rather than leaving it out: the error says what happened.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept, contextlib.ExitStack() as after:
        real = os.dup(2)
        after.callback(os.close, real)
        os.dup2(kept.fileno(), 2)
        after.callback(os.dup2, real, 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(real, kept.read() if shown else b"")
            raise


@functools.cache
def framework() -> Engine:
    """Return the engine of Keras's backend. Imports Keras and its framework."""
    import keras

    return ENGINES[keras.backend.backend()].load()


def _tensorflow() -> Engine:
    from runner.engines import tensorflow

    return tensorflow


def _jax() -> Engine:
    from runner.engines import jax

    return jax


def _torch() -> Engine:
    from runner.engines import torch

    return torch


ENGINES = {
    "tensorflow": Framework(_tensorflow, "tensorflow>=2.18,<3", ("tensorflow",), "TensorFlow"),
    "jax": Framework(_jax, "[jax]", ("jax", "jaxlib"), "JAX", {"JAX_ENABLE_X64": "1"}),
    "torch": Framework(_torch, "[torch]", ("torch",), "PyTorch"),
}
"""The frameworks with an engine, by Keras's names of the backends; another one is refused."""
