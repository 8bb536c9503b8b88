"""What the views of a run's page have in common: its samples, tensors and inputs, read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.report.excerpt import Excerpt
from runner.report.explanations import explained
from runner.report.layer_view import tensor_view
from runner.report.probe_view import input_views
from runner.runs.published_run import Run
from runner.similarity.progress import Progress, silent

_ALL_OPEN = 8
_MOST_VIEWS = 400


class ShownRun:
    """A run as a page shows it.

    Parameters
    ----------
    run
        The run.
    progress
        Called with what is being computed, how much of it is done, and of how much.
    """

    def __init__(self, run: Run, progress: Progress = silent) -> None:
        self.run = run
        self._progress = progress

    @property
    def record(self) -> RunRecord:
        """The record of the run."""
        return self.run.record

    @property
    def has_values(self) -> bool:
        """Whether there is anything to show besides the record: false for a failed run."""
        return self.record.error is None and self.record.probe is not None

    @cached_property
    def all_tensors(self) -> list[TensorRecord]:
        """The tensors captured per sample, without aliases."""
        captured = [tensor for tensor in self.record.tensors if tensor.per_sample]
        return [tensor for tensor in captured if tensor.alias_of is None]

    @property
    def tensors(self) -> list[TensorRecord]:
        """Those of which the page shows the values."""
        return self.all_tensors[:_MOST_VIEWS] if self.record.keeps_values else []

    @property
    def all_open(self) -> bool:
        """Whether all tensors are shown at once, not one at a time."""
        return len(self.tensors) <= _ALL_OPEN

    @cached_property
    def excerpt(self) -> Excerpt:
        """The samples, units and positions that the page shows."""
        return Excerpt.of(self.run, list(self.tensors))

    @cached_property
    def tensor_views(self) -> list[dict[str, Any]]:
        """Figures and values of each of `tensors`, with the arithmetic of its values."""
        views = []
        for tensor in self.tensors:
            views.append(tensor_view(self.run, tensor, self.excerpt))
            self._progress("layers", len(views), len(self.tensors))
        units = [_value_names(view) for view in views]
        texts = explained(self.run, self.tensors, units, self.excerpt)
        for view, explanation in zip(views, texts, strict=True):
            view["explained"] = explanation
        return views

    @cached_property
    def _inputs(self) -> tuple[list[dict[str, Any]], str]:
        return input_views(self.run, self.excerpt)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The inputs of the shown samples."""
        return self._inputs[0]

    @property
    def no_inputs(self) -> str:
        """Why there are no inputs; empty if there are."""
        return self._inputs[1]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """The statistics of the tensors."""
        return self.run.summary

    @cached_property
    def anchors(self) -> dict[tuple[str, str], str]:
        """Where on the page each of `tensors` is shown, by its kind and name."""
        return {
            (tensor.kind, tensor.name): f"layer-{place}"
            for place, tensor in enumerate(self.tensors)
        }


def _value_names(view: dict[str, Any]) -> Sequence[str]:
    """Return the names of a sample's shown values: ``u3``, or ``u0_1_3`` for a map."""
    maps = view["maps"]
    if maps is None:
        return list(view["unit_names"])
    _, images, rows, columns = maps["values"]["shape"]
    step = maps["step"]
    names = []
    for image, row, column in np.ndindex(images, rows, columns):
        place = [*maps["fixed"], row * step, column * step]
        if maps["axis"] is not None:
            place.insert(maps["axis"], maps["entries"][image])
        names.append("u" + "_".join(map(str, place)))
    return names
