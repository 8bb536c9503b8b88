"""Figures of several runs: similarities, distributions and statistics of their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from runner.errors import InputError
from runner.plots.drawing import (
    COLOURS,
    MISSING,
    SEQUENTIAL,
    components,
    dress,
    labels,
    library,
    plain,
    stops,
)
from runner.similarity.matrices import Matrix
from runner.similarity.measures import MEASURES

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


_MOST_MATRICES = 12
# Sizes of a matrix and its surroundings, in pixels.
_LEAST_SIDE, _MOST_SIDE, _LEFT, _BELOW = 260, 520, 150, 130


def metric_name(metric: str) -> str:
    """Return the display name of a similarity metric."""
    measure = MEASURES.get(metric)  # none if it is a function of the user
    return measure.title or metric if measure is not None else metric


def stability_figure(pairs: pd.DataFrame, kinds: Mapping[str, str], metric: str = "cka") -> Figure:
    """Return a figure of the similarity of runs that differ only in their seed, by layer.

    A line is the mean over all such pairs, its band extends from the least to the most
    similar pair. If runs differ in more than the seed, each kind of run has its own line.

    Parameters
    ----------
    pairs
        Columns ``run_a``, ``layer_a``, ``run_b``, ``layer_b`` and ``value``; a row per pair
        of runs and layer. Layers are drawn in the order of the rows.
    kinds
        Kind of each run by its id: its settings apart from the seed.
    metric
        Similarity metric of the values.

    Raises
    ------
    InputError
        If no two runs differ only in their seed.
    """
    graph = library()
    pairs = pairs.assign(kind=pairs["run_a"].map(kinds))
    alike = pairs[
        pairs["value"].notna()
        & (pairs["layer_a"] == pairs["layer_b"])
        & (pairs["run_a"] != pairs["run_b"])
        & (pairs["kind"] == pairs["run_b"].map(kinds))
    ]
    if alike.empty:
        raise InputError.of("stability", "no two runs differ in their seed alone", "sweep seeds")
    layers = list(dict.fromkeys(alike["layer_a"]))
    figure = graph.Figure()
    for number, (kind, own) in enumerate(alike.groupby("kind", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        spread = own.groupby("layer_a")["value"].agg(["min", "mean", "max", "size"])
        spread = spread.reindex([layer for layer in layers if layer in spread.index])
        names = labels(spread.index)
        common = {"x": names, "legendgroup": str(number), "name": plain(kind) or "all runs"}
        edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
        figure.add_scatter(y=spread["min"].to_numpy(), **common, **edge)
        figure.add_scatter(
            y=spread["max"].to_numpy(),
            fill="tonexty",
            fillcolor=f"rgba{(*components(colour), 0.18)}",
            **common,
            **edge,
        )
        figure.add_scatter(
            y=spread["mean"].to_numpy(),
            customdata=spread[["min", "max", "size"]].to_numpy(np.float64),
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{x}<br>mean %{y:.4f}, from %{customdata[0]:.4f} to "
            "%{customdata[1]:.4f}<br>%{customdata[2]:,} pairs of runs",
            **common,
        )
    low, high = float(alike["value"].min()), float(alike["value"].max())
    return dress(
        figure,
        height=400,
        showlegend=alike["kind"].nunique() > 1,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"type": "category", "title": {"text": "layer, in call order"}},
        yaxis={"title": {"text": metric_name(metric)}, "range": [min(0.0, low), max(1.03, high)]},
    )


def similarity_matrix(
    values: np.ndarray, runs: Sequence[object], about: str = "run", metric: str = "cka"
) -> Figure:
    """Return a heat map of the similarity of each pair of runs in one layer.

    Parameters
    ----------
    values
        Shape (run, run); NaN, drawn in grey, if a pair was not compared.
    runs
        Labels of the runs.
    about
        Key that the labels are values of, such as ``seed``.
    metric
        Similarity metric of the values.
    """
    graph = library()
    names = labels(runs)
    finite = values[np.isfinite(values)]
    cells = graph.Heatmap(
        z=values,
        x=names,
        y=names,
        zmin=min(0.0, float(finite.min())) if finite.size else 0.0,
        zmax=1.0,
        colorscale=stops(SEQUENTIAL),
        colorbar={"title": {"text": metric_name(metric), "side": "right"}, "thickness": 12},
        hovertemplate="%{x}<br>%{y}<br>%{z:.4f}<extra></extra>",
    )
    return dress(
        graph.Figure(cells),
        height=min(220 + 18 * len(names), 620),
        plot_bgcolor=MISSING,
        xaxis={"type": "category", "title": {"text": plain(about)}, "showgrid": False},
        yaxis={
            "type": "category",
            "title": {"text": plain(about)},
            "autorange": "reversed",
            "showgrid": False,
        },
    )


def matrices_figure(
    matrices: Sequence[Matrix], called: Mapping[str, str], about: str = "run", metric: str = "cka"
) -> Figure:
    """Return similarity matrices side by side, with one colour scale.

    Parameters
    ----------
    matrices
        Matrices as returned by `runner.similarity.matrices.matrices_of`.
    called
        Label of each run, by its id.
    about
        Key that the labels are values of, such as ``seed``.
    metric
        Similarity metric of the values.

    Raises
    ------
    InputError
        If there are no matrices, or more than fit into a figure.
    """
    graph = library()
    if not 0 < len(matrices) <= _MOST_MATRICES:
        raise InputError.of(
            "figure",
            f"{len(matrices)} matrices: a figure shows 1 to {_MOST_MATRICES}",
            "choose fewer layers; more than four runs of different layers have no matrix",
        )
    finite = np.concatenate([m.values[np.isfinite(m.values)] for m in matrices])
    low = min(0.0, float(finite.min())) if finite.size else 0.0
    high = max(1.0, float(finite.max())) if finite.size else 1.0
    across = min(3, len(matrices))
    down = -(-len(matrices) // across)
    most = max(max(len(matrix.rows), len(matrix.columns)) for matrix in matrices)
    side = min(max(_LEAST_SIDE, 18 * most), _MOST_SIDE)
    width, height = across * (side + _LEFT) - _LEFT, down * (side + _BELOW) - _BELOW
    figure = graph.Figure()
    axes: dict[str, Any] = {}
    titles = []
    for number, matrix in enumerate(matrices):
        mark = str(number + 1) if number else ""
        of = [_axis_title(matrix, place, called, about) for place in (0, 1)]
        rows, columns = (
            labels(names if matrix.layer is None else [called.get(run, run) for run in names])
            for names in (matrix.rows, matrix.columns)
        )
        figure.add_heatmap(
            z=matrix.values,
            x=columns,
            y=rows,
            xaxis=f"x{mark}",
            yaxis=f"y{mark}",
            zmin=low,
            zmax=high,
            colorscale=stops(SEQUENTIAL),
            showscale=number == 0,
            colorbar={"title": {"text": metric_name(metric), "side": "right"}, "thickness": 12},
            hovertemplate="%{y}<br>%{x}<br>%{z:.4f}<extra></extra>",
        )
        left = (number % across) * (side + _LEFT) / width
        top = 1 - (number // across) * (side + _BELOW) / height
        wide, tall = side / width, side / height
        common = {"type": "category", "showgrid": False}
        axes[f"xaxis{mark}"] = {
            **common, "domain": [left, left + wide], "anchor": f"y{mark}", "title": {"text": of[1]}
        }  # fmt: skip
        axes[f"yaxis{mark}"] = {
            **common, "domain": [top - tall, top], "anchor": f"x{mark}",
            "title": {"text": of[0]}, "autorange": "reversed",
        }  # fmt: skip
        text = plain(matrix.layer or "")
        if matrix.averaged > 1:
            text = f"mean over {matrix.averaged:,} pairs of runs"
        titles.append(
            {"text": text, "x": left + wide / 2, "y": top, "xref": "paper", "yref": "paper",
             "xanchor": "center", "yanchor": "bottom", "showarrow": False}
        )  # fmt: skip
    figure = dress(figure, **axes)
    return figure.update_layout(
        height=height,
        width=width,
        plot_bgcolor=MISSING,
        annotations=titles,
        margin={"t": 40},
    )


def _axis_title(matrix: Matrix, place: int, called: Mapping[str, str], about: str) -> str:
    if matrix.layer is not None:
        return plain(about)
    if matrix.runs is None:
        return "layer"
    run = matrix.runs[place]
    return f"layers of {labels([called.get(run, run)])[0]}"


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
