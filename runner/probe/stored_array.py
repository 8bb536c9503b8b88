"""An array in an object store, of which only the rows that are read are fetched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.given_files import GivenFile


class StoredArray:
    """An array in a file, in the order of its rows.

    Parameters
    ----------
    file
        The file.
    shape, dtype
        Of the array.
    offset
        Place of its first value in the file, in bytes.
    """

    def __init__(
        self, file: GivenFile, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._file = file
        self._offset = offset

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of its axes."""
        return len(self.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        shape = (max(0, stop - start), *self.shape[1:])
        row = math.prod(shape[1:]) * self.dtype.itemsize
        with self._file.open() as file:
            file.seek(self._offset + start * row)
            data = file.read(shape[0] * row)
        if len(data) != shape[0] * row:
            raise InputError.of(self._file.place, f"ends before row {stop:,}")
        return np.frombuffer(data, self.dtype).reshape(shape)


Array = np.ndarray | StoredArray
"""An array of which slices are read."""


def whole(array: Array | None) -> np.ndarray | None:
    """Return all values of an array."""
    return array[:] if isinstance(array, StoredArray) else array


def as_array(values: Any) -> Any:
    """Return values as an array; one in a store as it is."""
    return values if isinstance(values, StoredArray) else np.asarray(values)
