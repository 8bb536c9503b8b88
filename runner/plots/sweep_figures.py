"""Figures of the values of several runs: their distributions, and statistics by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.plots.drawing import (
    COLOURS,
    components,
    dress,
    labels,
    library,
    plain,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


MOST_BOXES = 24
"""Largest number of runs drawn as boxes; more are drawn as bands."""


def boxes(quantiles: np.ndarray, runs: Sequence[object], about: str = "run") -> Figure:
    """Return a figure of the distribution of one layer's values in each run.

    Up to 24 runs are drawn as boxes. More runs are drawn as bands: from the quantile 0.05 to
    0.95, within it from 0.25 to 0.75, and the median as a line.

    Parameters
    ----------
    quantiles
        Shape (run, 5): the quantiles 0.05, 0.25, 0.5, 0.75 and 0.95.
    runs
        Labels of the runs.
    about
        Key that the labels are values of, such as ``seed``.
    """
    graph = library()
    figure = graph.Figure(
        _bands(quantiles, runs) if len(runs) > MOST_BOXES else _box(quantiles, runs)
    )
    return dress(
        figure,
        height=380,
        showlegend=False,
        xaxis={"type": "category", "title": {"text": plain(about)}},
        yaxis={"title": {"text": "value"}},
        hovermode="x unified" if len(runs) > MOST_BOXES else "closest",
    )


def _box(quantiles: np.ndarray, runs: Sequence[object]) -> list[Any]:
    low, first, middle, third, high = quantiles.T
    box = library().Box(
        x=labels(runs),
        lowerfence=low,
        q1=first,
        median=middle,
        q3=third,
        upperfence=high,
        marker={"color": COLOURS[0]},
        line={"width": 1.5},
    )
    return [box]


def _bands(quantiles: np.ndarray, runs: Sequence[object]) -> list[Any]:
    """Return five lines over the runs, lowest first, with filled areas between them."""
    names = ("5th percentile", "25th percentile", "median", "75th percentile", "95th percentile")
    opacities = (None, 0.18, 0.4, 0.4, 0.18)
    lines = []
    for name, values, opacity in zip(names, quantiles.T, opacities, strict=True):
        filled = {} if opacity is None else {
            "fill": "tonexty", "fillcolor": f"rgba{(*components(COLOURS[0]), opacity)}",
        }  # fmt: skip
        lines.append(
            library().Scatter(
                x=labels(runs),
                y=values,
                name=name,
                mode="lines",
                line={"color": COLOURS[0], "width": 1.8 if name == "median" else 0.4},
                **filled,
            )
        )
    return lines


def statistic_by_layer(values: np.ndarray, layers: Sequence[str], runs: Sequence[object]) -> Figure:
    """Return a figure of a statistic by layer: a dot per run, and the median over runs.

    Parameters
    ----------
    values
        Shape (layer, run); NaN if a run has no such layer.
    layers, runs
        Labels of the layers and the runs.
    """
    graph = library()
    names, titles = labels(layers), labels(runs)
    dots = graph.Scatter(
        x=[name for name in names for _ in titles],
        y=values.reshape(-1),
        customdata=titles * len(names),
        mode="markers",
        marker={"color": COLOURS[0], "size": 6, "opacity": 0.75},
        hovertemplate="%{x}<br>%{customdata}<br>%{y:.5~g}<extra></extra>",
        name="a run",
    )
    present = [row[np.isfinite(row)] for row in values]
    line = graph.Scatter(
        x=names,
        y=np.array([np.median(row) if row.size else np.nan for row in present]),
        mode="lines",
        line={"color": COLOURS[1], "width": 2},
        hoverinfo="skip",
        name="median",
    )
    return dress(
        graph.Figure([dots, line]),
        height=380,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"type": "category", "title": {"text": "layer, in call order"}},
        yaxis={"title": {"text": "value"}},
    )
