"""Loads models in files of other runtimes."""

from __future__ import annotations

from pathlib import Path

from runner.config.model_config import CONVERTED
from runner.converted_models.graph import ConvertedModel
from runner.errors import InputError
from runner.regular_files import written_file


def load_converted(given: str, place: str) -> ConvertedModel:
    """Load a ``.tflite`` or ``.onnx`` file.

    Raises
    ------
    InputError
        If there is no such file, its runtime is not installed, or cannot read it.
    """
    path = written_file(given, place)
    runtime = CONVERTED[path.suffix.lower()]
    if runtime.missing is not None:
        message = f"a {runtime.format} model needs {runtime.missing}"
        raise InputError.missing(place, message, f"[{runtime.choice}]")
    if path.suffix.lower() == ".tflite":
        from runner.converted_models.litert_file import LiteRTModel

        return LiteRTModel(path)
    from runner.converted_models.onnx_file import OnnxModel

    return OnnxModel(path)


def data_files_of(path: Path) -> list[Path]:
    """Return the other files that a model's file takes data from, as an ONNX model may.

    None are told of a file that cannot be loaded: loading it says why.
    """
    if path.suffix.lower() != ".onnx" or CONVERTED[".onnx"].missing:
        return []
    from runner.converted_models.onnx_data import data_files

    try:
        return data_files(path)
    except Exception:  # those of its parser have no common class
        return []
