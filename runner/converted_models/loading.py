"""Loads models in files of other runtimes."""

from __future__ import annotations

from pathlib import Path

from runner.config.model_config import runtime_of
from runner.converted_models.graph import ConvertedModel
from runner.errors import InputError
from runner.regular_files import written_file


def load_converted(given: str, place: str) -> ConvertedModel:
    """Load a converted model, such as a ``.tflite`` or ``.onnx`` file.

    Raises
    ------
    InputError
        If there is no such file, its runtime is not installed, or cannot read it.
    """
    path = written_file(given, place)
    runtime = runtime_of(path)
    if runtime is None:
        raise InputError.of(place, f"no runtime reads {path.suffix} files")
    runtime.check_installed(place)
    return runtime.load(path)


def data_files_of(path: Path) -> list[Path]:
    """Return the other files that a model's file takes data from, as an ONNX model may.

    None are told of a file that cannot be loaded: loading it says why.
    """
    runtime = runtime_of(path)
    if runtime is None or not runtime.is_installed:
        return []
    try:
        return runtime.data_files(path)
    except Exception:  # those of its parser have no common class
        return []
