"""The view of one layer in every run of a sweep: its values, and the similarity of the runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from runner.plots.drawing import evenly_spaced, how_many
from runner.plots.similarity_figures import similarity_matrix
from runner.plots.sweep_figures import MOST_BOXES, boxes
from runner.report.layer_view import bare, packed
from runner.report.shown_sweep import METRIC, ShownSweep
from runner.report.view import Part, View, text_beside
from runner.similarity.measures import title_of

_MOST_VALUES = 50_000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _of_sweep(sweep: ShownSweep) -> Part | None:
    runs, layers = len(sweep.drawn), sweep.chosen_layers if len(sweep.drawn) else []
    if not layers:
        return None
    empty = np.full((runs, len(_QUANTILES)), np.nan)
    figure = bare(boxes(empty, sweep.titles, sweep.about))
    matrix = _matrix(sweep)
    shown = {
        "told_layers": how_many(len(layers), len(sweep.layers), "layer"),
        "banded": runs > MOST_BOXES,
        "most_values": _MOST_VALUES,
        "has_matrix": matrix is not None,
        "measure": title_of(METRIC),
    }
    data = {
        "layers": layers,
        "boxes": {"figure": figure, "quantiles": packed(_quantiles(sweep))},
        "matrix": matrix,
    }
    return Part(shown, data)


def _quantiles(sweep: ShownSweep) -> np.ndarray:
    """Return the quantiles of each layer in each run: shape (layer, run, quantile)."""
    runs, layers = sweep.drawn, sweep.chosen_layers
    quantiles = np.full((len(layers), len(runs), len(_QUANTILES)), np.nan)
    for column, run in enumerate(runs):
        rows = run.record.probe.rows if run.record.probe is not None else 0
        for row, layer in enumerate(layers):
            if layer not in run:
                continue
            size = int(np.prod(run.tensor(layer).shape))
            places = evenly_spaced(rows, max(1, _MOST_VALUES // max(1, size)))
            values = run.representation(layer).values(places)
            finite = values[np.isfinite(values)]
            if finite.size:
                quantiles[row, column] = np.quantile(finite.astype(np.float64), _QUANTILES)
        sweep.progress("distributions: runs", column + 1, len(runs))
    return quantiles


def _matrix(sweep: ShownSweep) -> dict[str, Any] | None:
    """Return the similarity of each layer in each pair of runs: shape (layer, run, run)."""
    pairs, runs, layers = sweep.pairs, sweep.drawn, sweep.chosen_layers
    if pairs is None:
        return None
    places = {run.id: place for place, run in enumerate(runs)}
    values = np.full((len(layers), len(runs), len(runs)), np.nan, np.float32)
    values[:, range(len(runs)), range(len(runs))] = 1
    for row, layer in enumerate(layers):
        own = pairs[(pairs["layer_a"] == layer) & (pairs["layer_b"] == layer)]
        a, b = own["run_a"].map(places).to_numpy(), own["run_b"].map(places).to_numpy()
        values[row, a, b] = values[row, b, a] = own["value"]
    figure = bare(similarity_matrix(values[0], sweep.titles, sweep.about, METRIC))
    del figure["data"][0]["z"]
    figure["data"][0]["zmin"] = min(0.0, float(np.nanmin(values)))
    return {"figure": figure, "values": packed(values)}


ONE_LAYER = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    script=text_beside(__file__, ".js"),
    questions={
        "One layer in every run": (
            "How are its values distributed (boxes, or bands for more than 24 runs), and which "
            "runs represent the samples in the same way?"
        ),
    },
    order=50,
)
