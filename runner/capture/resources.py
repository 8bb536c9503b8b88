"""TensorFlow's resources: variables and tables that a pass can change."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.ops import gen_resource_variable_ops, resource_variable_ops
from tensorflow.python.ops.lookup_ops import LookupInterface

from runner.errors import InputError
from runner.patching import patched

# Operations that take a resource and do not change it.
_READERS = frozenset(
    (
        "Identity", "IdentityN", "NoOp", "ReadVariableOp", "_ReadVariablesOp", "VariableShape",
        "VarIsInitializedOp", "VarHandleOp", "ResourceGather", "ResourceGatherNd",
        "DisableCopyOnRead", "LookupTableFind", "LookupTableFindV2", "LookupTableSize",
        "LookupTableSizeV2", "LookupTableExport", "LookupTableExportV2", "DestroyResourceOp",
    )
)  # fmt: skip
# Operations that run Python code, in any thread of TensorFlow.
_PYTHON = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc"))
# Operations whose first input selects the function that gets the others.
_BRANCHES = frozenset(("If", "StatelessIf", "Case", "StatelessCase"))
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile"))

Changed = Callable[[str, Any], None]


class Resource:
    """A variable or a table whose value can be read and written.

    Attributes
    ----------
    handle
        TensorFlow's handle of the resource; keeps it alive.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    @classmethod
    def of(cls, handle: Any, operation: str) -> Resource:
        """Return the resource of a handle.

        Raises
        ------
        InputError
            If it is neither a variable nor a table, and could not be restored.
        """
        data = resource_variable_ops.get_eager_safe_handle_data(handle)
        if data is not None and data.is_set and len(data.shape_and_type) == 1:
            return _Variable(handle, tf.as_dtype(data.shape_and_type[0].dtype))
        for thing in gc.get_objects() if "Table" in operation else ():
            if issubclass(type(thing), LookupInterface) and thing.resource_handle is handle:
                return _Table(handle, thing)
        raise InputError.of(
            "model",
            f"it changes state outside the model that cannot be restored ({operation})",
            "capture the model without that layer: only variables, tables, random streams "
            "and Python attributes are restored",
        )

    @property
    def is_initialized(self) -> bool:
        """Whether the resource has a value yet."""
        return True

    def read(self) -> Any:
        """Return the value of the resource."""
        raise NotImplementedError

    def write(self, value: Any) -> None:
        """Set the resource to a value that `read` returned."""
        raise NotImplementedError


class _Variable(Resource):
    """A variable. Its value is not copied before the variable changes."""

    def __init__(self, handle: Any, dtype: Any) -> None:
        super().__init__(handle)
        self._dtype = dtype

    @property
    def is_initialized(self) -> bool:
        return bool(gen_resource_variable_ops.var_is_initialized_op(self.handle))

    def read(self) -> Any:
        return gen_resource_variable_ops.read_variable_op(self.handle, self._dtype)

    def write(self, value: Any) -> None:
        gen_resource_variable_ops.assign_variable_op(self.handle, value)


class _Table(Resource):
    """A table, by its Python object: a handle alone does not give the key and value types."""

    def __init__(self, handle: Any, table: Any) -> None:
        super().__init__(handle)
        self._table = table

    def read(self) -> Any:
        keys, values = self._table.export()
        if not hasattr(self._table, "_empty_key"):
            return keys, values
        # A dense table exports its empty slots as well.
        blanks = [
            tf.convert_to_tensor(key, self._table.key_dtype)
            for key in (self._table._empty_key, self._table._deleted_key)
        ]
        keys = tf.reshape(keys, [-1, *blanks[0].shape])
        values = tf.reshape(values, [-1, *self._table._default_value.shape])
        used = tf.ones(len(keys), tf.bool)
        for key in blanks:
            same = tf.equal(keys, key)
            used &= ~tf.reduce_all(same, axis=list(range(1, same.shape.rank)))
        return tf.boolean_mask(keys, used), tf.boolean_mask(values, used)

    def write(self, value: Any) -> None:
        self._table.remove(self.read()[0])
        self._table.insert(*value)


@contextlib.contextmanager
def watching(
    changed: Changed, made: Callable[[Any], None], *, every_thread: bool = False
) -> Iterator[None]:
    """Report every resource that an eager operation is about to change, and new resources.

    All operations that TensorFlow runs outside graphs use two functions; they are wrapped
    inside the scope, for this thread or for all threads.
    """
    thread = threading.get_ident()
    fast, slow = pywrap_tfe.TFE_Py_FastPathExecute, pywrap_tfe.TFE_Py_Execute
    inside = False

    def observed(operation: str, inputs: Iterable[Any], run: Callable[[], Any]) -> Any:
        nonlocal inside
        if inside or not (every_thread or threading.get_ident() == thread):
            return run()
        if operation not in _READERS:
            inside = True  # these calls are not part of the pass
            try:
                for handle in _handles(inputs):
                    changed(operation, handle)
            finally:
                inside = False
        outputs = run()
        for handle in _handles(outputs if isinstance(outputs, (list, tuple)) else [outputs]):
            made(handle)
        return outputs

    def fast_execute(context: Any, operation: str, name: Any, *arguments: Any) -> Any:
        return observed(operation, arguments, lambda: fast(context, operation, name, *arguments))

    def execute(context: Any, device: Any, operation: Any, inputs: Any, *rest: Any) -> Any:
        name = operation.decode() if isinstance(operation, bytes) else str(operation)
        return observed(name, inputs, lambda: slow(context, device, operation, inputs, *rest))

    with patched(pywrap_tfe, TFE_Py_FastPathExecute=fast_execute, TFE_Py_Execute=execute):
        yield


def _handles(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _handles(value)
        elif isinstance(value, tf.Tensor) and value.dtype == tf.resource:
            yield value


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
        if operation.type in _READERS:
            continue
        for place, tensor in enumerate(operation.inputs):
            handle = outside.get(id(_source(tensor))) if tensor.dtype == tf.resource else None
            if handle is None or id(handle) in found:
                continue
            if library.changes(operation.type, operation, place):
                found[id(handle)] = Resource.of(handle, operation.type)
    return tuple(found.values())


def runs_python(graph: Any) -> bool:
    """Return whether running a graph runs Python code."""
    types = {operation.type for operation in graph.get_operations()}
    if types & (_CALLS | _BRANCHES):
        functions = _Library(graph).functions.values()
        types |= {node.op for function in functions for node in function.node_def}
    return bool(types & _PYTHON)


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
        if kind in _READERS:
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
