"""Cuts a graph of ONNX at some tensors: the operations that read them are given other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from runner.converted_models.onnx_data import bodies_of

GIVEN = "/given"
"""The end of the name of the input that is read in place of a tensor."""


def cut_at(graph: Any, dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Make operations read further inputs in place of the tensors that others return.

    Parameters
    ----------
    graph
        The graph, which is changed.
    dtypes
        The tensors, with the types of their values.
    """
    for name, dtype in dtypes.items():
        element = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        graph.input.append(onnx.helper.make_tensor_value_info(name + GIVEN, element, None))
    _rename(graph, {name: name + GIVEN for name in dtypes})


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in names:
                node.input[place] = names[name]
        for body in bodies_of(node):
            _rename(body, names)
            for returned in body.output:
                returned.name = names.get(returned.name, returned.name)
