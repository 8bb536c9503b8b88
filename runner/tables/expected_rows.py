"""Checks of a table's rows: their number, their sample ids, and the values to write."""

from __future__ import annotations

from math import prod

import numpy as np
import pyarrow as pa

from runner.errors import DamagedError
from runner.probe.probe_hash import SampleIdsHash
from runner.tables.layout import Layout
from runner.tensors import TensorSpec


def check_ids(place: str, samples: np.ndarray, ids: SampleIdsHash | None) -> None:
    """Check the sample ids of a table.

    Parameters
    ----------
    place
        Where the table's file is.
    samples
        Its sample ids.
    ids
        Checksum of the sample ids that it must have, if known.

    Raises
    ------
    DamagedError
        If it has other sample ids, or in another order.
    """
    if ids is not None and not ids.is_of(samples):
        raise other_ids(place)


def other_ids(place: str) -> DamagedError:
    """Return the error for a table with other sample ids, or in another order."""
    return DamagedError.of(place, "its sample ids are not those of the probe, in their order")


def ids_of(table: pa.Table) -> np.ndarray:
    """Return the sample ids of a table."""
    return np.asarray(table.column("sample").to_numpy())


def check_values(spec: TensorSpec, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Check that shape and dtype of values match the spec, raise ValueError otherwise."""
    if values.shape != shape or values.dtype.name != spec.dtype:
        raise ValueError(
            f"{spec.name}: expected {spec.dtype} of shape {shape}, "
            f"found {values.dtype.name} of shape {values.shape}"
        )


def check_rows(place: str, spec: TensorSpec, layout: Layout, found: int, rows: int | None) -> None:
    """Check that a table has the expected number of rows, raise DamagedError otherwise."""
    expected = rows if spec.per_sample else prod(spec.shape[: len(layout.index)])
    if expected not in (None, found):
        wrong = f"expected {expected:,} rows of '{spec.name}', found {found:,}"
        raise DamagedError.of(place, wrong)
