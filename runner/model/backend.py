"""Loads Keras and its framework without their log output, and chooses the engine."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.bounds import Count
from runner.engines.engine import Engine
from runner.errors import InputError


@dataclass(frozen=True)
class Backend:
    """The settings of Keras's computations.

    Attributes
    ----------
    name
        Keras's backend.
    intra_op_threads, inter_op_threads
        Numbers of threads set in TensorFlow; 0 if TensorFlow chooses them.
    onednn
        Whether oneDNN's kernels, which may round in another order, are on; ``None`` if
        TensorFlow does not report it.
    deterministic
        Whether only deterministic operations are allowed.
    """

    name: str
    intra_op_threads: Count
    inter_op_threads: Count
    onednn: bool | None
    deterministic: bool


def check_backend() -> None:
    """Check that Keras's backend is one that has an engine, without importing Keras.

    Raises
    ------
    InputError
        If Keras runs on another one, or the environment or Keras's own settings choose one.
    """
    if "keras" in sys.modules:
        name, place = sys.modules["keras"].config.backend(), "Keras's backend"
        advice = "import Keras with KERAS_BACKEND=tensorflow"
    elif name := os.environ.get("KERAS_BACKEND", ""):
        place, advice = "KERAS_BACKEND", "set KERAS_BACKEND=tensorflow"
    else:
        file = _settings()
        name, place, advice = _configured(file), str(file), "set KERAS_BACKEND=tensorflow"
    if name not in ENGINES:
        raise InputError.of(place, f"expected the backend tensorflow, found {name}", advice)


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


def load_backend() -> None:
    """Import Keras on TensorFlow, once, without its log lines.

    TensorFlow's libraries write them directly to the process's stderr, before any level can be
    set. If the import fails, they are shown.

    Raises
    ------
    InputError
        As in `check_backend`.
    """
    check_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        return
    with _stderr_kept_back():
        importlib.import_module("keras")
        framework().start()


@contextlib.contextmanager
def _stderr_kept_back() -> Iterator[None]:
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
            os.write(real, kept.read())
            raise


def read_backend() -> Backend:
    """Return the settings of Keras's computations. Imports Keras and its framework."""
    import keras

    return Backend(name=keras.backend.backend(), **framework().read_settings())


@functools.cache
def framework() -> Engine:
    """Return the engine of Keras's backend. Imports Keras and its framework."""
    import keras

    return ENGINES[keras.backend.backend()]()


def _tensorflow() -> Engine:
    from runner.engines import tensorflow

    return tensorflow


ENGINES: dict[str, Callable[[], Engine]] = {"tensorflow": _tensorflow}
"""The engines by Keras's names of the backends; another backend is refused."""
