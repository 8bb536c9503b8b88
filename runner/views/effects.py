"""The view of what interventions did to the outputs of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from runner.plots.effect_figures import bars_figure, grid_figure, measures_of
from runner.record.effect_record import MEASURED
from runner.record.interventions import changed_place, changes_told
from runner.report.layer_view import bare
from runner.report.shown_run import ShownRun
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside
from runner.runs.published_run import Run

_MOST_FIGURES = 12
_MOST_ROWS = 20


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values or not run.record.effects:
        return None
    figures = [*_figures(run.run)]
    return _part(figures, [] if figures else _rows(run.run, ""))


def _of_sweep(sweep: ShownSweep) -> Part | None:
    rows = [
        row
        for run, title in zip(sweep.drawn, sweep.titles, strict=True)
        if run.record.effects
        for row in _rows(run, title)
    ]
    rows.sort(key=lambda row: -row["mean_abs"])
    return _part([*_figures_of_runs(sweep)], rows) if rows else None


def _part(figures: list[tuple[str, dict[str, Any]]], rows: list[dict[str, Any]]) -> Part:
    measures = [name for name in MEASURED if any(pd.notna(row[name]) for row in rows)]
    shown = [
        (row["what"], [f"{row[name]:.4g}" if pd.notna(row[name]) else "" for name in measures])
        for row in rows[:_MOST_ROWS]
    ]
    left = len(rows) - len(shown)
    about = {
        "captions": [caption for caption, _ in figures],
        "titles": [MEASURED[name].title for name in measures],
        "rows": shown,
        "left": f"and {left:,} more" if left else "",
    }
    return Part(about, [figure for _, figure in figures])


def _figures(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a figure for each output and each layer whose units changed, and for each grid."""
    frame = pd.DataFrame([vars(effect) for effect in run.record.effects])
    frame = frame[frame["layer"].notna()]
    several = frame["output"].nunique() > 1
    made = 0
    for output, effects in frame.groupby("output", sort=False):
        on = f", on {output}" if several else ""
        measure = measures_of(effects)[0]
        has = {key: effects[key].notna() for key in ("head", "unit", "position")}
        for across, grid in (
            ("position", effects[has["position"] & ~has["unit"]]),
            ("head", effects[has["head"] & ~has["position"]]),
        ):
            if len(grid):
                figure = grid_figure(grid, measure, across)
                yield f"{MEASURED[measure].title} by layer and {across}{on}", bare(figure)
        units = effects[has["unit"] & ~has["position"]]
        for layer, of_layer in units.groupby("layer", sort=False):
            if made < _MOST_FIGURES:
                made += 1
                largest = of_layer.sort_values(measure, ascending=False, kind="stable")
                names = [f"u{unit}" for unit in largest["unit"].astype(int)]
                figure = bars_figure(names, largest[measure], "unit")
                yield f"{MEASURED[measure].title} by unit of {layer}{on}", bare(figure)


def _figures_of_runs(sweep: ShownSweep) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a figure for each output, of the runs in which one change was made on the whole."""
    effects = pd.DataFrame(
        [
            {**vars(effect), "title": title}
            for run, title in zip(sweep.drawn, sweep.titles, strict=True)
            for effect in run.record.effects
            if effect.layer is None
        ]
    )
    for output, of_runs in effects.groupby("output", sort=False) if len(effects) else ():
        if len(of_runs) > 1:
            measure = measures_of(of_runs)[0]
            figure = bars_figure([*of_runs["title"]], of_runs[measure], sweep.about)
            yield f"{MEASURED[measure].title} by run, on {output}", bare(figure)


def _rows(run: Run, title: str) -> list[dict[str, Any]]:
    """Return the effects of a run as rows of a table, whose name begins with a title."""
    frame = run.effects
    several = frame["output"].nunique() > 1
    changes = [f"{name}: {told}" for name, told in changes_told(run.record).items()]
    together = f"{changes[0]}{', ...' if len(changes) > 1 else ''}" if changes else ""
    found = []
    for row in frame.to_dict("records"):
        known = {str(key): None if pd.isna(value) else value for key, value in row.items()}
        layer = known["layer"]
        place = together if layer is None else changed_place(layer, known)
        what = " ".join(filter(None, [title, place, f"on {row['output']}" if several else ""]))
        found.append({**{str(key): value for key, value in row.items()}, "what": what})
    return found


EFFECTS = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    of_sweep=_of_sweep,
    script=(
        "part.forEach((figure, index) => "
        "plot(document.getElementById(`effects-${index}`), () => figure));\n"
    ),
    questions={
        "Effects, of interventions": (
            "What did each unit, head, or layer at each position do to the output?"
        ),
    },
    order=17,
)
