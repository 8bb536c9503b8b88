"""The inputs of the shown samples: pictures, numbers or texts."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from runner.report.excerpt import Excerpt, MapExcerpt
from runner.report.layer_view import image_view, packed
from runner.runs.published_run import Run
from runner.sizes import readable
from runner.tensors import TensorSpec

_LARGEST_FILE = 1 << 28
_MOST_ENTRIES = 512
_IMAGE_VALUES = 4096
_LONGEST_TEXT = 500


def input_views(run: Run, excerpt: Excerpt) -> tuple[list[dict[str, Any]], str]:
    """Return the inputs that the page shows, and the reason if there are none.

    Returns
    -------
    list of dict
        ``name``; for vectors ``columns`` and ``values`` of shape (sample, column), or
        ``texts``; for other inputs, and for vectors of pixels, ``maps`` as in
        `runner.report.layer_view.tensor_view`.
    str
        The reason, empty if there are inputs.
    """
    record = run.probe_record
    if not record.has_inputs:
        return [], "The inputs are not kept with the run; their hash is in its record."
    if run.record.files[record.file].bytes > _LARGEST_FILE:
        return [], f"The probe's file is larger than {readable(_LARGEST_FILE)} and is not read."
    shown = run.shown
    inputs = (shown.input(spec.name, excerpt.places) for spec in record.inputs)
    views = [_view(given.name, given.entry_names, given.values) for given in inputs]
    if record.picture is not None and len(views) == 1:
        [spec] = record.inputs
        pixels = shown.input(spec.name, excerpt.places).values
        if pixels.shape[1:] == (prod(record.picture),):
            picture = pixels.reshape(len(pixels), *record.picture)
            views = [views[0] | _view(spec.name, (), picture, ("height", "width"))]
    return views, ""


def _view(
    name: str, entries: Sequence[str], values: np.ndarray, axes: tuple[str, ...] | None = None
) -> dict[str, Any]:
    shape, dtype = values.shape[1:], values.dtype.name
    spec = TensorSpec(name, "input", name, "", None, None, shape, dtype, 0, axes=axes)
    cut = MapExcerpt.of(spec, _IMAGE_VALUES)
    if cut is not None:
        return {"name": name, "maps": image_view(cut.cut(values), spec, cut)}
    flat = values.reshape(len(values), -1)[:, :_MOST_ENTRIES]
    columns = list(entries[: flat.shape[1]])
    columns = columns or [f"{name}{entry}" for entry in range(flat.shape[1])]
    told = f"the first {flat.shape[1]:,} of {values.shape[1]:,}" if flat.size < values.size else ""
    if flat.dtype.kind in "OSTU":
        texts = [[str(text)[:_LONGEST_TEXT] for text in row] for row in flat.tolist()]
        return {"name": name, "columns": columns, "texts": texts, "told": told}
    return {"name": name, "columns": columns, "values": packed(flat), "told": told}
