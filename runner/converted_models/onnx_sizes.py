"""Sizes of the tensors of an ONNX model, known without computing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from runner.converted_models.onnx_data import bits_of, bodies_of, tensors_of
from runner.errors import InputError
from runner.sizes import free_memory, readable

_MOST = 1_000  # values of a constant that may be a shape
_DATA = (
    *("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"),
    "string_data",
)


class DeclaredSizes:
    """The sizes of a model's tensors, which depend on the shapes of its inputs.

    Parameters
    ----------
    path
        The model's file; its data in other files is not read.

    Raises
    ------
    InputError
        If a tensor is larger than the free memory of this machine, even for one sample.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._model = onnx.load(str(path), load_external_data=False)
        for tensor in tensors_of(self._model):
            if math.prod(tensor.dims) > _MOST:
                for field in _DATA:
                    tensor.ClearField(field)
        if self._model.functions:
            self._model = onnx.inliner.inline_local_functions(self._model)
        graph = self._model.graph
        constants = {each.name for each in graph.initializer}
        self._open = [
            [
                None if axis.HasField("dim_value") else axis
                for axis in each.type.tensor_type.shape.dim
            ]
            for each in graph.input
            if each.name not in constants
        ]
        self._checked = 0
        self._check("")

    def check(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Check the sizes for inputs of these shapes, unless larger inputs were checked.

        Raises
        ------
        InputError
            If a tensor is larger than the free memory of this machine.
        """
        values = sum(map(math.prod, shapes))
        if values <= self._checked:
            return
        for axes, shape in zip(self._open, shapes, strict=True):
            for axis, size in zip(axes, shape, strict=False):
                if axis is not None:
                    axis.dim_value = size
        self._check("show fewer samples at a time, with capture.batch_size")
        self._checked = values

    def _check(self, advice: str) -> None:
        """Check all tensors; an axis of unknown size counts as one."""
        memory = free_memory()
        if memory is None:
            return
        graph = onnx.shape_inference.infer_shapes(self._model, data_prop=True).graph
        for each in _tensors(graph):
            described = each.type.tensor_type
            axes = [
                axis.dim_value if axis.HasField("dim_value") else 1 for axis in described.shape.dim
            ]
            if min(axes, default=1) < 0 or described.elem_type == onnx.TensorProto.UNDEFINED:
                continue
            size = math.prod(axes) * bits_of(described.elem_type) // 8
            if size > memory:
                raise InputError.of(
                    "model.path",
                    f"'{each.name}' in {self._path} has {readable(size)}, this machine has "
                    f"{readable(memory)} of free memory",
                    advice,
                )


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the tensors of a graph, and of the graphs that its operations compute inside."""
    yield from (*graph.input, *graph.value_info, *graph.output)
    for node in graph.node:
        for body in bodies_of(node):
            yield from _tensors(body)
