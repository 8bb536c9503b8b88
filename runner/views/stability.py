"""The view of how similar each layer is in runs that differ only in their seed."""

from __future__ import annotations

from runner.errors import InputError
from runner.plots.similarity_figures import stability_figure
from runner.report.layer_view import bare
from runner.report.shown_sweep import METRIC, ShownSweep
from runner.report.view import Part, View, text_beside
from runner.similarity.measures import title_of

_NO_SEEDS = (
    "There is no figure here because no two comparable runs differ only in their seed. The "
    "similarity of these runs is shown below, layer by layer and for one layer in every run."
)


def _of_sweep(sweep: ShownSweep) -> Part | None:
    if not len(sweep.drawn):
        return None
    why_none, figure = sweep.no_pairs, None
    if sweep.pairs is not None:
        try:
            figure = bare(stability_figure(sweep.pairs, sweep.drawn.apart_from_seed(), METRIC))
        except InputError:
            why_none = _NO_SEEDS
    shown = {
        "why_none": why_none,
        "cautions": sweep.cautions,
        "told_runs": sweep.told_runs,
        "measure": title_of(METRIC),
    }
    return Part(shown, figure)


STABILITY = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    script='if (part) plot(document.getElementById("stability"), () => part);\n',
    questions={
        "Stability across seeds": (
            "How similar is each layer in networks that differ only in their seed, from the first"
            " layer to the last? If no runs can show that, the page says why."
        ),
    },
    order=20,
)
