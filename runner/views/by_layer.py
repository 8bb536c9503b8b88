"""The view of a statistic of each layer in each run of a sweep."""

from __future__ import annotations

import numpy as np

from runner.plots.drawing import how_many
from runner.plots.sweep_figures import statistic_by_layer
from runner.report.layer_view import bare, packed
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside
from runner.tables.summary import all_statistics


def _of_sweep(sweep: ShownSweep) -> Part | None:
    if not len(sweep.drawn):
        return None
    summary, layers = sweep.summary, sweep.plotted_layers
    there = {name: each for name, each in all_statistics().items() if name in summary}
    statistics = dict(sorted(there.items(), key=lambda item: not item[1].is_shown))
    runs = range(len(sweep.drawn))
    values = np.stack(
        [
            summary.assign(value=each.comparable(summary[name], summary["units"]))
            .pivot_table("value", "name", "number", aggfunc="first", dropna=False)
            .reindex(index=layers, columns=runs)
            .to_numpy(np.float64)
            for name, each in statistics.items()
        ]
    )
    figure = bare(statistic_by_layer(values[0], layers, sweep.titles))
    for trace in figure["data"]:
        del trace["y"]  # the page fills in the values of the chosen statistic
    shown = {
        "titles": [each.title for each in statistics.values()],
        "told_layers": how_many(len(layers), len(sweep.layers), "layer"),
        "told_runs": sweep.told_runs,
    }
    return Part(shown, {"figure": figure, "values": packed(values)})


BY_LAYER = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    script=text_beside(__file__, ".js"),
    questions={
        "Statistics by layer": "In which layer does a run differ from the others?",
    },
    order=40,
)
