"""LiteRT (TensorFlow Lite), which computes models in ``.tflite`` files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.converted_models.runtime import Runtime

if TYPE_CHECKING:  # a configuration is checked without NumPy
    from runner.converted_models.graph import ConvertedModel


class _LiteRT(Runtime):
    def load(self, path: Path) -> ConvertedModel:
        """Return the model in a file."""
        from runner.converted_models.litert_file import LiteRTModel

        return LiteRTModel(path)

    def convert(self, model: Any, path: Path) -> None:
        """Write a model of Keras as a file."""
        model.export(str(path), format="litert", verbose=False)


LITERT = _LiteRT(
    ".tflite",
    "LiteRT",
    {"ai-edge-litert": "[litert]"},
    converters={"tensorflow": "tensorflow"},
    order=10,
)
