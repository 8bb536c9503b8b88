"""ONNX Runtime, which computes models in ``.onnx`` files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.converted_models.runtime import Runtime
from runner.patching import patched

if TYPE_CHECKING:  # a configuration is checked without NumPy
    from runner.converted_models.graph import ConvertedModel


class _Onnx(Runtime):
    def load(self, path: Path) -> ConvertedModel:
        """Return the model in a file."""
        from runner.converted_models.onnx_file import OnnxModel

        return OnnxModel(path)

    def data_files(self, path: Path) -> list[Path]:
        """Return the files beside a model's file that hold its weights."""
        from runner.converted_models.onnx_data import data_files

        return data_files(path)

    def convert(self, model: Any, path: Path) -> None:
        """Write a model of Keras as a file.

        TensorFlow counts tensors that layers hold, as the means of a `Normalization`, among the
        inputs of a function. They are kept as constants here, not as further inputs.
        """
        convert = importlib.import_module("tf2onnx.convert")
        of_graph = convert._convert_common

        def with_constants(graph: Any, *, input_names: list[str], **options: Any) -> Any:
            known = {node.name for node in graph.node if node.op == "Const"}
            inputs = [name for name in input_names if name.partition(":")[0] not in known]
            return of_graph(graph, input_names=inputs, **options)

        with patched(convert, _convert_common=with_constants):
            model.export(str(path), format="onnx", verbose=False)


ONNX = _Onnx(
    ".onnx",
    "ONNX",
    {"onnx": "[onnx]", "onnxruntime": "[onnx]"},
    converters={"tensorflow": "tensorflow", "tf2onnx": "[onnx-export]"},
    order=20,
)
