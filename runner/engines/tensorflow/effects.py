"""What running a graph of TensorFlow changes, read from its operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from runner.engines.engine import Resource
from runner.engines.tensorflow.resources import READERS, resource_of

# Operations that run Python code, in any thread of TensorFlow.
_PYTHON = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc"))
# Operations whose first input selects the function that gets the others.
_BRANCHES = frozenset(("If", "StatelessIf", "Case", "StatelessCase"))
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"))


def changed_by(graph: Any) -> tuple[Resource, ...]:
    """Return the resources outside a graph that running it may change.

    Raises
    ------
    InputError
        If one of them could not be restored.
    """
    outside = {id(inner): outer for outer, inner in graph.captures}
    library = _Library(graph)
    found: dict[int, Resource] = {}
    for operation in graph.get_operations():
        if operation.type in READERS:
            continue
        for place, tensor in enumerate(operation.inputs):
            handle = outside.get(id(_source(tensor))) if tensor.dtype == tf.resource else None
            if handle is None or id(handle) in found:
                continue
            if library.changes(operation.type, operation, place):
                found[id(handle)] = resource_of(handle, operation.type)
    return tuple(found.values())


def runs_python(graph: Any) -> bool:
    """Return whether running a graph runs Python code."""
    return bool(_types(graph) & _PYTHON)


def varies(graph: Any) -> bool:
    """Return whether running a graph twice may give different values: it draws random numbers."""
    types = _types(graph) - READERS - _CALLS - _BRANCHES
    return any(op_def_registry.get(name).is_stateful for name in types)


def _types(graph: Any) -> set[str]:
    """Return the types of all operations that running a graph may run."""
    types = {operation.type for operation in graph.get_operations()}
    if types & (_CALLS | _BRANCHES):
        functions = _Library(graph).functions.values()
        types |= {node.op for function in functions for node in function.node_def}
    return types


def _source(tensor: Any) -> Any:
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


class _Library:
    """The functions that a graph calls, and which of their inputs they change."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._functions: dict[str, Any] | None = None
        self._changed: dict[str, set[int]] = {}

    @property
    def functions(self) -> dict[str, Any]:
        """All functions by name; read only when one is called, since there are many."""
        if self._functions is None:
            library = self._graph.as_graph_def().library.function
            self._functions = {function.signature.name: function for function in library}
        return self._functions

    def changes(self, kind: str, operation: Any, place: int) -> bool:
        """Return whether an operation may change the resource in one of its inputs.

        Parameters
        ----------
        kind
            Type of the operation.
        operation
            The operation, or its definition.
        place
            Position of the input.
        """
        if kind in READERS:
            return False
        if kind in _BRANCHES:
            place -= 1
        elif kind not in _CALLS:
            return True
        node = getattr(operation, "node_def", operation)
        names = [
            function.name
            for attribute in node.attr.values()
            for function in [attribute.func, *attribute.list.func]
            if function.name
        ]
        return any(name not in self.functions or place in self._inside(name) for name in names)

    def _inside(self, name: str) -> set[int]:
        """Return the positions of the arguments that a function may change."""
        if name in self._changed:
            return self._changed[name]
        self._changed[name] = set()  # a recursive call adds nothing
        function = self.functions[name]
        places = {
            argument.name: place for place, argument in enumerate(function.signature.input_arg)
        }
        for node in function.node_def:
            if node.op == "Identity" and node.input[0] in places:
                places[f"{node.name}:output:0"] = places[node.input[0]]
        resources = {
            argument.name
            for argument in function.signature.input_arg
            if argument.type == tf.resource.as_datatype_enum
        }
        self._changed[name] = {
            places[source]
            for node in function.node_def
            for place, source in enumerate(node.input)
            if source in places
            and function.signature.input_arg[places[source]].name in resources
            and self.changes(node.op, node, place)
        }
        return self._changed[name]
