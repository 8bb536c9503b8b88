"""Figures of what interventions did to the output of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.plots.drawing import (
    COLOURS,
    MISSING,
    colour_scale,
    dress,
    labels,
    library,
    plain,
    stops,
)
from runner.record.effect_record import MEASURED

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


def measures_of(effects: pd.DataFrame) -> list[str]:
    """Return the columns that can be drawn, the most informative first."""
    return [name for name in MEASURED if effects[name].notna().any()]


def bars_figure(names: Sequence[object], values: pd.Series, about: str) -> Figure:
    """Return a figure of the effect of each unit of a layer, or of each run.

    Parameters
    ----------
    names
        Their names.
    values
        The column to draw.
    about
        What the names are.
    """
    bars = library().Bar(
        x=labels(names),
        y=values.to_numpy(np.float64),
        marker={"color": COLOURS[0]},
        hovertemplate="%{x}<br>%{y:.4~g}<extra></extra>",
    )
    return dress(
        library().Figure(bars),
        height=300,
        bargap=0.15,
        xaxis={"type": "category", "title": {"text": plain(about)}, "showgrid": False},
        yaxis={"title": {"text": MEASURED[str(values.name)].title}},
    )


def grid_figure(effects: pd.DataFrame, measure: str, across: str) -> Figure:
    """Return a heat map of the effects of layers by position, or by head.

    Parameters
    ----------
    effects
        The effects on one output in which a position, or a head, of a layer was changed by itself.
    measure
        The column to draw.
    across
        ``position`` or ``head``; with positions of heads, each head has a row.
    """
    of_head = effects["head"].notna() & (across == "position")
    names = [
        f"{layer} head {int(head)}" if named else layer
        for layer, head, named in zip(effects["layer"], effects["head"], of_head, strict=True)
    ]
    effects, layers = effects.assign(layer=names), list(dict.fromkeys(names))
    table = effects.pivot_table(measure, "layer", across, dropna=False).reindex(layers)
    values = table.to_numpy(np.float64)
    colours, low, high = colour_scale(values)
    cells = library().Heatmap(
        z=values,
        x=[str(int(place)) for place in table.columns],
        y=labels(layers),
        zmin=low,
        zmax=high,
        colorscale=stops(colours),
        colorbar={"title": {"text": MEASURED[measure].title, "side": "right"}, "thickness": 12},
        hovertemplate=f"%{{y}}<br>{across} %{{x}}<br>%{{z:.4~g}}<extra></extra>",
    )
    category: dict[str, Any] = {"type": "category", "showgrid": False}
    return dress(
        library().Figure(cells),
        height=min(160 + 28 * len(layers), 720),
        plot_bgcolor=MISSING,
        xaxis={**category, "title": {"text": across}},
        yaxis={**category, "autorange": "reversed"},
    )
