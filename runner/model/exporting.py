"""Writes a Keras model as a file of another runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.config.model_config import RUNTIMES, runtime_of
from runner.config.strict import not_among
from runner.errors import InputError, first_line
from runner.model.backend import stderr_kept_back

_PLACE = "convert"


def convertible() -> list[str]:
    """Return the formats that a model of Keras can be converted to, as ``--convert`` names them."""
    return [name for name, runtime in RUNTIMES.items() if runtime.converters]


def check_exportable(format: str) -> str:
    """Check that models can be written in a format and run, without importing Keras.

    Parameters
    ----------
    format
        One of `convertible`.

    Returns
    -------
    str
        The end of the names of its files: ``.tflite``.

    Raises
    ------
    InputError
        If there is no such format, or a package that it needs is not installed.
    """
    if format not in (choices := convertible()):
        raise InputError([not_among(_PLACE, format, choices)])
    RUNTIMES[format].check_installed(_PLACE, to_convert=True)
    return RUNTIMES[format].suffix


def export_model(model: Any, path: Path) -> bytes:
    """Write a model of Keras on TensorFlow as a file of another runtime; return its content.

    Parameters
    ----------
    model
        The model.
    path
        The file, which does not exist yet; the end of its name tells the format.

    Raises
    ------
    InputError
        If Keras cannot convert it.
    """
    import keras

    from runner.model.keras_internals import mark_as_called

    runtime = runtime_of(path)
    assert runtime is not None
    try:
        mark_as_called(model)
        with _silent():
            runtime.convert(model, path)
    except Exception as error:  # any error, as of the converters
        why = first_line(error)
        advice = ""
        if "format" in why and runtime.format.lower() in why:
            why, advice = f"Keras {keras.version()} has no such format", "update Keras"
        raise InputError.of(_PLACE, f"Keras cannot convert the model: {why}", advice) from error
    return path.read_bytes()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep back what converters print, warn of and log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            stderr_kept_back(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
