"""TensorFlow's state that a pass can change: variables, tables and random streams."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context
from tensorflow.python.ops import (
    gen_resource_variable_ops,
    resource_variable_ops,
    stateful_random_ops,
)
from tensorflow.python.ops.lookup_ops import LookupInterface

from runner.engines.engine import Resource
from runner.errors import InputError
from runner.patching import patched

READERS = frozenset(
    (
        "Identity", "IdentityN", "NoOp", "ReadVariableOp", "_ReadVariablesOp", "VariableShape",
        "VarIsInitializedOp", "VarHandleOp", "ResourceGather", "ResourceGatherNd",
        "DisableCopyOnRead", "LookupTableFind", "LookupTableFindV2", "LookupTableSize",
        "LookupTableSizeV2", "LookupTableExport", "LookupTableExportV2", "DestroyResourceOp",
    )
)  # fmt: skip
"""Operations that take a resource and do not change it."""


def resource_of(handle: Any, operation: str) -> _Variable | _Table:
    """Return the variable or table of a handle, which an operation is about to change.

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


class _Variable:
    """A variable. Its value is not copied before the variable changes."""

    def __init__(self, handle: Any, dtype: Any) -> None:
        self.handle = handle
        self._dtype = dtype

    @property
    def is_initialized(self) -> bool:
        return bool(gen_resource_variable_ops.var_is_initialized_op(self.handle))

    def read(self) -> Any:
        return gen_resource_variable_ops.read_variable_op(self.handle, self._dtype)

    def write(self, value: Any) -> None:
        gen_resource_variable_ops.assign_variable_op(self.handle, value)


class _Table:
    """A table, by its Python object: a handle alone does not give the key and value types."""

    is_initialized = True

    def __init__(self, handle: Any, table: Any) -> None:
        self.handle = handle
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
def noting_changes(
    note: Callable[[Resource], None],
    *,
    every_thread: bool = False,
    is_quiet: bool = False,  # noqa: ARG001
) -> Iterator[dict[int, Any]]:
    """Note every resource before it is changed in the scope; yield the handles made there.

    Raises
    ------
    InputError
        If a resource could not be restored. Keras rewrites the errors of layers, so the
        error is kept and raised after them.
    """
    made: dict[int, Any] = {}
    refused: list[InputError] = []

    def changed(operation: str, handle: Any) -> None:
        try:
            resource = resource_of(handle, operation)
        except InputError as error:
            if id(handle) in made:  # nothing else uses it
                return
            refused.append(error)
            raise RuntimeError(str(error)) from error
        if resource.is_initialized:
            note(resource)

    def note_made(handle: Any) -> None:
        made.setdefault(id(handle), handle)

    try:
        with _observing(changed, note_made, every_thread=every_thread):
            yield made
    except Exception:
        if refused:
            raise refused[0] from None
        raise


@contextlib.contextmanager
def _observing(
    changed: Callable[[str, Any], None], made: Callable[[Any], None], *, every_thread: bool
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
        if operation not in READERS:
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


def random_streams() -> Callable[[], None]:
    """Return a function that restores the present positions of TensorFlow's random streams.

    TensorFlow makes a generator when it first draws without a seed. One that did not exist is
    removed again, since making it draws from another stream.
    """
    eager = context.context()
    seed, operations = getattr(eager, "_seed", None), getattr(eager, "_rng", None)
    position = operations and operations.getstate()
    generator = stateful_random_ops.global_generator

    def put_back() -> None:
        eager = context.context()
        eager._seed = seed
        if operations is not None:
            eager._rng = operations
            operations.setstate(position)
        stateful_random_ops.global_generator = generator

    return put_back
