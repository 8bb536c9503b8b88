"""Conversion of Arrow columns of numbers to NumPy arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.probe.exactness import KEEP_INTEGER, not_held, rounding

_INT64_DIGITS = 18
READ_AS_NAN = "set probe.allow_nan=true to read it as NaN"


class CellError(Exception):
    """Raised for a cell that cannot be shown to a model.

    Parameters
    ----------
    row
        Row of the cell, counted from 0 within the given table.
    message, advice
        As in `runner.errors.Problem`.

    Attributes
    ----------
    column
        Name of the column, once known.
    """

    def __init__(self, row: int, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.row = row
        self.message = message
        self.advice = advice
        self.column = ""


def why_not_numbers(kind: pa.DataType) -> str | None:
    """Return a description of a type that is not numeric; ``None`` for numeric types."""
    if isinstance(kind, pa.BaseExtensionType):
        return why_not_numbers(kind.storage_type)
    if pa.types.is_dictionary(kind) or is_array(kind):
        return why_not_numbers(kind.value_type)
    if pa.types.is_temporal(kind):
        return f"{kind}, a time"
    if (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        return None
    return str(kind)


def is_array(kind: pa.DataType) -> bool:
    """Return whether a cell of this type holds several values: a list or a tensor."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_array(kind.storage_type)
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def is_one_value(kind: pa.DataType) -> bool:
    """Return whether a cell of this type holds one value, as an id and a label must."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_one_value(kind.storage_type)
    return not pa.types.is_nested(kind)


def text_lengths(column: pa.Array) -> pa.Array | None:
    """Return the length of each text in bytes, of which several may be one; ``None`` for others.

    Those of a dictionary are counted as often as they are used.
    """
    if pa.types.is_dictionary(column.type):
        lengths = text_lengths(column.dictionary)
        return None if lengths is None else lengths.take(column.indices)
    kind = column.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        # Arrow cannot count them: each of its 16 bytes begins with the length.
        if not len(column):
            return pa.array([], pa.int32())
        views = np.frombuffer(column.buffers()[1], "<i4")[::4]
        return pa.array(views[column.offset : column.offset + len(column)])
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    if any(is_kind(kind) for is_kind in (*texts, pa.types.is_large_binary)):
        return pc.binary_length(column)
    return None


def is_integer(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds integers in the range of int64."""
    if pa.types.is_dictionary(kind):
        return is_integer(kind.value_type)
    return bool(pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0))


def matrix(table: pa.Table, names: Sequence[str], *, allow_nan: bool) -> np.ndarray:
    """Return columns of single numbers as one array.

    Returns
    -------
    numpy.ndarray
        Shape (row, column), in the common dtype of the columns.

    Raises
    ------
    CellError
        If a value is missing and NaN is not allowed, or the common dtype cannot represent an
        integer.
    """
    arrays = [array(table, name, allow_nan=allow_nan) for name in names]
    dtype = np.result_type(*arrays)
    whole = np.empty((len(table), len(arrays)), dtype)
    for place, column in enumerate(arrays):
        whole[:, place] = column
        if column.dtype.kind in "iu" and dtype.kind == "f":
            with _in_column(names[place]):
                _check_exact(column, whole[:, place])
    return whole


def array(table: pa.Table, name: str, *, allow_nan: bool) -> np.ndarray:
    """Return one column as an array.

    Returns
    -------
    numpy.ndarray
        Shape (row,), or (row, ...) for a column of lists or tensors. Missing values are NaN.

    Raises
    ------
    CellError
        As in `matrix`, or if lists have different lengths.
    """
    column = table.column(name)
    if pa.types.is_floating(column.type) and (allow_nan or not column.null_count):
        return np.asarray(column.to_numpy())
    with _in_column(name):
        return _values(column, allow_nan=allow_nan)


@contextlib.contextmanager
def _in_column(name: str) -> Iterator[None]:
    try:
        yield
    except CellError as error:
        error.column = name
        raise


def _tensors(column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    # Arrow's own conversion mixes up the values if more than two axes are permuted.
    plain = pa.fixed_shape_tensor(kind.value_type, kind.shape)
    pieces = [
        pa.ExtensionArray.from_storage(plain, chunk.storage).to_numpy_ndarray()
        for chunk in column.chunks
        if len(chunk)
    ]
    empty = np.empty((0, *kind.shape), kind.value_type.to_pandas_dtype())
    stored: np.ndarray = np.concatenate([empty, *pieces])
    if kind.permutation is None:
        return stored
    return stored.transpose(0, *(axis + 1 for axis in kind.permutation))


def _values(column: pa.ChunkedArray, *, allow_nan: bool) -> np.ndarray:
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        _refuse_null(column)
        return _tensors(column)
    if isinstance(kind, pa.BaseExtensionType):
        return _values(column.cast(kind.storage_type), allow_nan=allow_nan)
    if pa.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type), allow_nan=allow_nan)
    if is_array(kind):
        return _lists(column, allow_nan=allow_nan)
    if not allow_nan:
        _refuse_null(column, READ_AS_NAN)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind):
        exact = kind.scale <= 0 and kind.precision <= _INT64_DIGITS
        return _values(column.cast(pa.int64() if exact else pa.float64()), allow_nan=allow_nan)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if column.null_count and pa.types.is_integer(column.type):
        whole = column.fill_null(0).to_numpy()
        floats = whole.astype("float64")
        _check_exact(whole, floats)
        floats[column.is_null().to_numpy()] = np.nan
        return np.asarray(floats)
    return np.asarray(column.to_numpy())


def _lists(column: pa.ChunkedArray, *, allow_nan: bool) -> np.ndarray:
    _refuse_null(column)
    lengths = pc.list_value_length(column).to_numpy()
    width = int(lengths[0]) if len(lengths) else _width(column.type)
    if (wrong := lengths != width).any():
        row = int(wrong.argmax())
        count = f"{lengths[row]} value" + ("" if lengths[row] == 1 else "s")
        raise CellError(row, f"{count}, expected {width}", "pad all rows to one length")
    try:
        inner = _values(pc.list_flatten(column), allow_nan=allow_nan)
    except CellError as error:
        raise CellError(error.row // max(1, width), error.message, error.advice) from error
    return inner.reshape(len(column), width, *inner.shape[1:])


def _width(kind: pa.DataType) -> int:
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0


def _refuse_null(column: pa.ChunkedArray, advice: str = "") -> None:
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        raise CellError(row, "found an empty cell", advice)


def _check_exact(whole: np.ndarray, floats: np.ndarray) -> None:
    wrong = not_held(whole, floats)
    if wrong.any():
        row = int(wrong.argmax())
        raise CellError(row, rounding(int(whole[row]), floats.dtype, floats[row]), KEEP_INTEGER)
