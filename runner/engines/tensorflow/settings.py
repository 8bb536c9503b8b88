"""TensorFlow's settings, which go into the record of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import config


def start() -> None:
    """Initialize TensorFlow's devices, which writes log lines."""
    tf.config.list_logical_devices()


def read_settings() -> dict[str, Any]:
    """Return the fields of `runner.model.backend.Backend` except the name."""
    return {
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn": _onednn(),
        "deterministic": config.is_op_determinism_enabled(),
    }


def _onednn() -> bool | None:
    try:  # not available in TensorFlow's public API
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Allow only deterministic operations of TensorFlow inside the scope."""
    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            config.disable_op_determinism()
