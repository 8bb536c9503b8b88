"""The view of the similarity of each layer of one run to each layer of another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.plots.drawing import evenly_spaced, how_many, labels
from runner.plots.similarity_figures import similarity_matrix
from runner.report.layer_view import bare, packed
from runner.report.shown_sweep import METRIC, ShownSweep
from runner.report.view import Part, View, text_beside
from runner.runs.runs import Runs
from runner.runs.same_probe import check_probes
from runner.similarity.measures import title_of
from runner.similarity.pairs import compare_layers
from runner.similarity.progress import Progress, titled

_MOST_RUNS = 12
_MOST_LAYERS = 360
_MOST_VALUES = 200_000_000


def _of_sweep(sweep: ShownSweep) -> Part | None:
    if len(sweep.drawn) < 2:
        return None
    progress = titled(sweep.progress, "layer by layer")
    layerwise, told = _layers_by_layers(sweep.drawn, sweep.titles, progress)
    shown = {"is_drawn": bool(layerwise), "told": told, "measure": title_of(METRIC)}
    return Part(shown, layerwise)


def _layers_by_layers(
    runs: Runs, titles: Sequence[str], progress: Progress
) -> tuple[dict[str, Any], str]:
    """Return the similarities of all layers of all runs, and a text on what is shown.

    The first is empty if the runs cannot be compared, and the text is the reason.
    """
    places = evenly_spaced(len(runs), _MOST_RUNS)
    chosen = [runs[place] for place in places]
    all_layers = [run.layer_outputs for run in chosen]
    most = max(1, _MOST_LAYERS // len(chosen))
    layers = [[names[place] for place in evenly_spaced(len(names), most)] for names in all_layers]
    instances = {
        key: number
        for number, key in enumerate(
            (run.id, name) for run, names in zip(chosen, layers, strict=True) for name in names
        )
    }
    representations = [
        run.representation(name)
        for run, names in zip(chosen, layers, strict=True)
        for name in names
    ]
    if sum(layer.samples * layer.width for layer in representations) > _MOST_VALUES:
        return {}, "Too many values for this page: runner similarity --layers all shows them."
    try:
        for run in chosen[1:]:
            check_probes(chosen[0], run)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # shown above, with the seeds
            pairs = compare_layers([representations], METRIC, progress=progress)
    except InputError as error:
        return {}, f"The layers cannot be compared: {error}"
    values = np.full((len(instances), len(instances)), np.nan, np.float32)
    np.fill_diagonal(values, 1)
    a, b = (
        [instances[key] for key in zip(pairs[f"run_{side}"], pairs[f"layer_{side}"], strict=True)]
        for side in "ab"
    )
    values[a, b] = values[b, a] = pairs["value"]
    figure = bare(similarity_matrix(np.zeros((1, 1)), [""], "layer", METRIC))
    cells = figure["data"][0]
    for key in ("x", "y", "z"):
        del cells[key]
    cells["zmin"] = min(0.0, float(np.nanmin(values)))
    told = how_many(len(chosen), len(runs), "run")
    if layers != all_layers:
        told += f"; at most {most} layers of each"
    data = {
        "figure": figure,
        "runs": [titles[place] for place in places],
        "layers": [labels(names) for names in layers],
        "values": packed(values),
    }
    return data, told


LAYERWISE = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    script=text_beside(__file__, ".js"),
    questions={
        "Layer by layer": (
            "Which layer of one run is similar to which layer of another? The models need not "
            "have layers in common."
        ),
    },
    order=25,
)
