"""TensorFlow's settings, which go into the record of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import config

from runner.engines.settings import Backend


def start() -> None:
    """Initialize TensorFlow's devices, which writes log lines."""
    tf.config.list_logical_devices()


def read_settings() -> Backend:
    """Return the settings of TensorFlow."""
    return Backend(
        name="tensorflow",
        intra_op_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_op_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        onednn=_onednn(),
        deterministic=config.is_op_determinism_enabled(),
        version=tf.__version__,
        devices=tuple(dict.fromkeys(map(_name_of, tf.config.list_logical_devices()))),
        precision=(
            "tensor_float_32"
            if tf.config.experimental.tensor_float_32_execution_enabled()
            else "float32"
        ),
        xla_flags=os.environ.get("XLA_FLAGS") or None,
    )


def _name_of(device: Any) -> str:
    if device.device_type != "GPU":
        return str(device.device_type).lower()
    [physical, *_] = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(physical)
    return str(details.get("device_name", "gpu"))


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
