"""The data of an ONNX model: in its file, and in the files beside it that it names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx

from runner.errors import InputError
from runner.probe.compressed import expands
from runner.regular_files import written_file
from runner.sizes import machine_memory, readable

_MOST = 2**31 - 2**20
"""Bytes of a graph that ONNX Runtime is given with the tensors to return."""

_MOST_NODES = 100_000
"""Operations of a model with functions, once these are written out."""

Place = tuple[Path, int, int]
"""A file, the offset of a tensor's values in it, and their length, in bytes."""


def load_model(path: Path) -> Any:
    """Return an ONNX model with its data, also that in other files.

    The files have to be regular and in the model's folder, and to hold as much as the model says.

    Parameters
    ----------
    path
        The model's file.

    Raises
    ------
    InputError
        If they are not, the model declares tensors larger than this machine's memory, or its
        functions are called so often that it has more than 100,000 operations, or that these
        take far more than the file.
    """
    written_file(path, "model.path")
    model = onnx.load(str(path), load_external_data=False)
    if model.functions:
        _check_functions(model, path)
    _check_declared(model, path)
    outside = [(each, _place(each, path)) for each in tensors_of(model) if _is_outside(each)]
    total = path.stat().st_size + sum(length for _, (_, _, length) in outside)
    if total > _MOST:
        raise InputError.of(
            "model.path",
            f"{path} and its data have {readable(total)}, the limit is {readable(_MOST)}",
            "export a smaller model",
        )
    for tensor, (file, offset, length) in outside:
        tensor.raw_data = np.fromfile(file, np.uint8, length, offset=offset).tobytes()
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return model


def _check_functions(model: Any, path: Path) -> None:
    """Check the number and size of the operations of a model with its functions written out."""
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    known: dict[tuple[str, str, str], np.ndarray] = {}
    nothing = np.zeros(2)

    def called(node: Any) -> np.ndarray:
        key = (node.domain, node.op_type, node.overload)
        if key not in functions:
            return nothing
        if key not in known:
            known[key] = nothing + np.inf  # of one that calls itself
            known[key] = counted(functions[key].node)
        return known[key]

    def counted(nodes: Iterable[Any]) -> np.ndarray:
        """Return the number of operations and their size in bytes, as floats: without a limit."""
        found = nothing
        for node in nodes:
            found = found + np.array([1, node.ByteSize()]) + called(node)
            found = sum(map(inside, bodies_of(node)), found)
        return found

    def inside(body: Any) -> np.ndarray:
        return counted(body.node)

    operations, size = counted(model.graph.node)
    if operations > _MOST_NODES:
        what = f"{path} has more than {_MOST_NODES:,} operations, with those of its functions"
        raise InputError.of("model.path", what)
    held = path.stat().st_size
    if expands(held, int(size), text=True):
        what = f"{path} has {readable(held)}, and its operations {readable(int(size))}"
        raise InputError.of("model.path", f"{what} with those of its functions")


def data_files(path: Path) -> list[Path]:
    """Return the files that hold data of an ONNX model, besides its own.

    Raises
    ------
    InputError
        As `load_model`.
    """
    model = onnx.load(str(path), load_external_data=False)
    return sorted({_place(each, path)[0] for each in tensors_of(model) if _is_outside(each)})


def tensors_of(model: Any) -> Iterator[Any]:
    """Yield all constant tensors of a model: of its graph, its functions, and what is in them."""
    for each in _constants_of(model):
        if _is_sparse(each):
            yield from (each.values, each.indices)
        else:
            yield each


def _is_sparse(tensor: Any) -> bool:
    return isinstance(tensor, onnx.SparseTensorProto)


def _constants_of(model: Any) -> Iterator[Any]:
    """Yield all constant tensors of a model, also sparse ones."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_attributes(function.attribute_proto)
        yield from _in_nodes(function.node)


def _in_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from graph.sparse_initializer
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield from _in_attributes(node.attribute)


def _in_attributes(attributes: Iterable[Any]) -> Iterator[Any]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor
        yield from attribute.sparse_tensors
        for graph in _graphs_of(attribute):
            yield from _in_graph(graph)


def bodies_of(node: Any) -> Iterator[Any]:
    """Yield the graphs that an operation computes inside, such as the body of a Loop."""
    for attribute in node.attribute:
        yield from _graphs_of(attribute)


def _graphs_of(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def plain(tensor: Any) -> np.ndarray:
    """Return the values of a constant; those of small types, such as bfloat16, as float32."""
    values = np.asarray(onnx.numpy_helper.to_array(tensor))
    return values if values.dtype.kind in "biufcSUO" else values.astype(np.float32)


def _is_outside(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _size(tensor: Any) -> int:
    """Return the size of the values that a tensor declares, in bytes; of a sparse one, of all."""
    held = tensor.values if _is_sparse(tensor) else tensor
    if any(axis < 0 for axis in tensor.dims):
        raise InputError.of("model.path", f"'{held.name}' has a negative shape")
    return -(-math.prod(map(int, tensor.dims)) * bits_of(held.data_type) // 8)


def bits_of(kind: int) -> int:
    """Return the size of a value of a type of ONNX, in bits."""
    name = onnx.TensorProto.DataType.Name(kind)
    if name.endswith("INT4") or name.startswith("FLOAT4"):
        return 4
    return 8 * int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize)


def _place(tensor: Any, path: Path) -> Place:
    """Return where the values of a tensor lie, after checking that they do."""
    told = {each.key: each.value for each in tensor.external_data}
    location = told.get("location", "")
    parts = PurePosixPath(location).parts
    file = path.parent.joinpath(*parts)
    inside = file.resolve().is_relative_to(path.parent.resolve())
    if not parts or not {"..", "/"}.isdisjoint(parts) or "\\" in location or not inside:
        raise InputError.of(
            "model.path",
            f"the values of '{tensor.name}' lie in '{location}', outside of the folder of {path}",
            "copy that file beside the model, and export the model again",
        )
    written_file(file, "model.path")
    size, held = _size(tensor), file.stat().st_size
    offset, length = int(told.get("offset", 0)), int(told.get("length", size))
    if length != size or offset < 0 or offset + length > held:
        raise InputError.of(
            "model.path",
            f"'{tensor.name}' declares {size:,} bytes at {offset:,}, {file} holds {held:,}",
            "copy or export it again",
        )
    return file, offset, length


def _check_declared(model: Any, path: Path) -> None:
    sizes = [(_size(each), _is_sparse(each)) for each in _constants_of(model)]
    declared, memory = sum(size for size, _ in sizes), machine_memory()
    if memory is not None and declared > memory:
        raise InputError.of(
            "model.path",
            f"{path} declares weights of {readable(declared)}, this machine has "
            f"{readable(memory)} of memory",
        )
    held, sparse = path.stat().st_size, sum(size for size, is_sparse in sizes if is_sparse)
    if expands(held, sparse):
        what = f"{path} has {readable(held)}, and its sparse weights declare {readable(sparse)}"
        raise InputError.of("model.path", what)
