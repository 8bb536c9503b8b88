"""Conversion of pandas objects: values to arrays, and indices to sample ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from runner.errors import InputError, first_line
from runner.probe.arrow_values import CellError, is_integer, matrix, why_not_numbers
from runner.probe.sample_ids import identifiers


class FrameArray:
    """A DataFrame as one array.

    Parameters
    ----------
    frame
        The DataFrame.

    Attributes
    ----------
    array
        Shape (row, column), in the common dtype of all columns; missing values are NaN.
    columns
        Names of the columns.
    integers
        As in `runner.probe.probe.Probe`.

    Raises
    ------
    InputError
        If a column is not numeric, or the common dtype cannot represent an integer.
    """

    integers: Callable[[], Sequence[bool]] | None = None

    def __init__(self, frame: Any) -> None:
        self.columns = tuple(map(str, frame.columns))
        kinds = {getattr(dtype, "kind", "O") for dtype in frame.dtypes}
        same = len(set(frame.dtypes)) == 1 and kinds <= set("biuf")
        if same or not kinds & set("biuf"):  # numbers of one dtype, or only texts
            self.array = np.asarray(frame)
            return
        try:
            unique = frame.set_axis([str(place) for place in range(frame.shape[1])], axis=1)
            table = pa.Table.from_pandas(unique, preserve_index=False)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError.of("probe", f"cannot be read: {first_line(error)}") from error
        for name, field in zip(self.columns, table.schema, strict=True):
            if wrong := why_not_numbers(field.type):
                raise InputError.of(
                    "probe",
                    f"column '{name}' holds {wrong}, not numbers",
                    "give only the columns that are inputs",
                )
        try:
            self.array = matrix(table, table.column_names, allow_nan=True)
        except CellError as error:
            at = f"row {error.row}, column '{self.columns[int(error.column)]}'"
            raise InputError.of("probe", f"{at}: {error.message}", error.advice) from error
        integers = [is_integer(field.type) for field in table.schema]
        self.integers = lambda: integers


def is_frame(given: Any) -> bool:
    """Return whether an object is a pandas DataFrame."""
    return hasattr(given, "dtypes") and hasattr(given, "columns") and hasattr(given, "iloc")


def common_index(named: Iterable[tuple[Any, str]]) -> Any:
    """Return the common index of the pandas objects among some; ``None`` if there are none.

    Parameters
    ----------
    named
        Pairs of an object and its name.

    Raises
    ------
    InputError
        If they have different indices, so that the rows cannot be matched.
    """
    index: Any = None
    first = ""
    for given, name in named:
        if not (hasattr(given, "iloc") and hasattr(given, "index")):
            continue
        if index is None:
            index, first = given.index, name
        elif not index.equals(given.index):
            raise InputError.of(
                "probe",
                f"the index of the {name} differs from that of the {first}",
                "align them with .loc; if the rows are in the same order, pass .to_numpy()",
            )
    return index


def index_ids(index: Any) -> list[Any]:
    """Return the sample ids of an index: ``a/1`` for the levels of a MultiIndex.

    Raises
    ------
    InputError
        If an id occurs twice.
    """
    several = getattr(index, "nlevels", 1) > 1
    ids = ["/".join(map(str, levels)) for levels in index] if several else list(index)
    if not index.is_unique:
        identifiers(ids, "probe", advice="give sample_ids, or reset the index (reset_index)")
    return ids
