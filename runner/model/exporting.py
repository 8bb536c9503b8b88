"""Writes a Keras model as a file of another runtime."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.config.model_config import CONVERTED, CONVERTED_CHOICES, is_importable
from runner.config.strict import not_among
from runner.errors import InputError, first_line
from runner.model.backend import is_installed, stderr_kept_back
from runner.patching import patched

_PLACE = "convert"
_SUFFIXES = dict(zip(CONVERTED_CHOICES, CONVERTED, strict=True))
_CONVERTERS = {"onnx": ("tf2onnx", "onnx-export")}
"""The package with which Keras writes a format, and the extra of Runner that installs it."""


def check_exportable(format: str) -> str:
    """Check that models can be written in a format and run, without importing Keras.

    Parameters
    ----------
    format
        One of `runner.config.model_config.CONVERTED_CHOICES`.

    Returns
    -------
    str
        The end of the names of its files: ``.tflite``.

    Raises
    ------
    InputError
        If there is no such format, or a package that it needs is not installed.
    """
    if format not in _SUFFIXES:
        raise InputError([not_among(_PLACE, format, CONVERTED_CHOICES)])
    suffix = _SUFFIXES[format]
    if not is_installed("tensorflow"):
        message = "Keras converts models with TensorFlow"
        raise InputError.missing(_PLACE, message, "tensorflow")
    runtime = CONVERTED[suffix]
    needed = [(package, runtime.choice) for package in runtime.packages]
    if format in _CONVERTERS:
        needed.insert(0, _CONVERTERS[format])
    for package, extra in needed:
        if not is_importable(package):
            raise InputError.missing(_PLACE, f"{runtime.format} needs {package}", f"[{extra}]")
    return suffix


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

    format = CONVERTED[path.suffix].choice
    try:
        mark_as_called(model)
        with _silent(), _with_constants() if format == "onnx" else contextlib.nullcontext():
            model.export(str(path), format=format, verbose=False)
    except Exception as error:  # any error, as of the converters
        why = first_line(error)
        advice = ""
        if "format" in why and format in why:
            why, advice = f"Keras {keras.version()} has no such format", "update Keras"
        raise InputError.of(_PLACE, f"Keras cannot convert the model: {why}", advice) from error
    return path.read_bytes()


@contextlib.contextmanager
def _with_constants() -> Iterator[None]:
    """Have tf2onnx keep the tensors that layers hold as constants, not as further inputs.

    TensorFlow counts them among the inputs of a function, as the means of a `Normalization`.
    """
    convert = importlib.import_module("tf2onnx.convert")
    of_graph = convert._convert_common

    def with_constants(graph: Any, *, input_names: list[str], **options: Any) -> Any:
        known = {node.name for node in graph.node if node.op == "Const"}
        inputs = [name for name in input_names if name.partition(":")[0] not in known]
        return of_graph(graph, input_names=inputs, **options)

    with patched(convert, _convert_common=with_constants):
        yield


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
