"""The inputs of the shown samples."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from runner.preflight import readable
from runner.report.excerpt import Excerpt, MapExcerpt
from runner.report.layer_view import image_view, packed
from runner.runs.published_run import Run
from runner.tensors import InputSpec, TensorSpec

_LARGEST_FILE = 1 << 28
_MOST_ENTRIES = 512
_IMAGE_VALUES = 4096
_LONGEST_TEXT = 500


def input_views(run: Run, excerpt: Excerpt) -> tuple[list[dict[str, Any]], str]:
    """Return the inputs as the page shows them, and why there are none where there are none.

    Returns
    -------
    list of dict
        ``name``; of vectors ``columns`` and ``values`` of shape (sample, column), or
        ``texts``; of all else ``maps`` as in `runner.report.layer_view.tensor_view`.
    str
        Empty where there are inputs.
    """
    record = run.record.probe
    assert record is not None, "a completed run has a probe"
    if not record.has_inputs:
        return [], "The inputs are not kept with the run; their hash is in its record."
    if run.record.files[record.file].bytes > _LARGEST_FILE:
        return [], f"The probe's file is larger than {readable(_LARGEST_FILE)} and is not read."
    probe = run.probe.iloc[excerpt.places]
    views = []
    for spec in record.inputs:
        columns = _columns(probe, spec, alone=len(record.inputs) == 1)
        values = _values(probe[columns], spec)
        views.append(_view(spec.name, columns, values))
    return views, ""


def _columns(probe: pd.DataFrame, spec: InputSpec, alone: bool) -> list[str]:
    """Return the columns of an input; those of a single one may bear names of their own."""
    columns = [str(column) for column in probe]
    if spec.name in columns:
        return [spec.name]
    if alone:
        return [column for column in columns if not re.fullmatch(r"label|target\d*", column)]
    return [column for column in columns if re.fullmatch(re.escape(spec.name) + r"[\d_]+", column)]


def _values(table: pd.DataFrame, spec: InputSpec) -> np.ndarray:
    if table.shape[1] == 1 and len(table) and isinstance(table.iloc[0, 0], np.ndarray):
        return np.stack(list(table.iloc[:, 0]))
    values = table.to_numpy()
    known = all(length is not None for length in spec.shape)
    fits = known and prod(length or 0 for length in spec.shape) == values.shape[1]
    return values.reshape(len(values), *spec.shape) if fits else values


def _view(name: str, columns: list[str], values: np.ndarray) -> dict[str, Any]:
    if values.ndim > 2:
        spec = TensorSpec(
            name, "input", name, "", None, None, values.shape[1:], values.dtype.name, 0
        )
        cut = MapExcerpt.of(spec, _IMAGE_VALUES)
        assert cut is not None, "more than one axis a sample"
        return {"name": name, "maps": image_view(cut.cut(values), spec, cut)}
    flat = values.reshape(len(values), -1)[:, :_MOST_ENTRIES]
    if len(columns) != flat.shape[1]:
        columns = [f"{name}{entry}" for entry in range(flat.shape[1])]
    told = f"the first {flat.shape[1]:,} of {values.shape[1]:,}" if flat.size < values.size else ""
    if flat.dtype.kind in "OSTU":
        texts = [[str(text)[:_LONGEST_TEXT] for text in row] for row in flat.tolist()]
        return {"name": name, "columns": columns, "texts": texts, "told": told}
    return {"name": name, "columns": columns, "values": packed(flat), "told": told}
