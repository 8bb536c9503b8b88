"""Cuts a graph of LiteRT at some tensors: the operations that read them are given other values."""

from __future__ import annotations

import copy
from collections.abc import Collection

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
"""What every file of LiteRT has at its fifth byte."""


def cut_at(content: bytes, keys: Collection[int]) -> tuple[bytes, dict[int, int]]:
    """Return a model whose operations read further inputs in place of tensors.

    All other tensors keep their numbers.

    Parameters
    ----------
    content
        The content of the model's file.
    keys
        The tensors.

    Returns
    -------
    bytes
        The content of a file of the model that is cut.
    dict[int, int]
        The further input that is read in place of each tensor.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    places: dict[int, int] = {}
    for key in keys:
        tensor = copy.copy(graph.tensors[key])
        tensor.name = b"given/" + tensor.name
        tensor.buffer = 0  # the empty one, by convention
        tensor.shapeSignature = [-1] * len(tensor.shape)
        places[key] = len(graph.tensors)
        graph.tensors.append(tensor)
    for operation in graph.operators:
        operation.inputs = [places.get(int(key), int(key)) for key in operation.inputs]
    graph.inputs = [*map(int, graph.inputs), *places.values()]
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output()), places
