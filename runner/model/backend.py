"""TensorFlow and Keras: loaded without chatter, and how they compute."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """How Keras computes.

    Attributes
    ----------
    name
        Keras's backend.
    intra_op_threads, inter_op_threads
        Threads as set in TensorFlow; 0 where it chooses by itself.
    onednn
        Whether oneDNN's kernels, which may round in another order, are on; ``None``
        where TensorFlow does not tell.
    deterministic
        Whether operations are restricted to deterministic ones.
    """

    name: str
    intra_op_threads: int
    inter_op_threads: int
    onednn: bool | None
    deterministic: bool


def load_backend() -> None:
    """Import Keras on TensorFlow, once, without the log lines that come with it.

    TensorFlow's libraries write them straight to the process's stderr, before any level
    can be set. If the import fails, they are shown after all.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        return
    with _stderr_kept_back():
        importlib.import_module("keras")
        importlib.import_module("tensorflow").config.list_logical_devices()


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


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Restrict TensorFlow to operations that give the same bits every time inside the scope."""
    from tensorflow.python.framework import config

    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()


def read_backend() -> Backend:
    """Return how Keras computes. Imports Keras and TensorFlow."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import config

    return Backend(
        name=keras.backend.backend(),
        intra_op_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_op_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        onednn=_onednn(),
        deterministic=config.is_op_determinism_enabled(),
    )


def _onednn() -> bool | None:
    try:  # TensorFlow's only answer, in no public place
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())
