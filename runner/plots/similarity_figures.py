"""Figures of similarities: of a layer over seeds, of runs in pairs, and matrices of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from runner.similarity.measures import title_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


_MOST_MATRICES = 12

# Sizes of a matrix and its surroundings, in pixels.
_LEAST_SIDE, _MOST_SIDE, _LEFT, _BELOW = 260, 520, 150, 130


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
        yaxis={"title": {"text": title_of(metric)}, "range": [min(0.0, low), max(1.03, high)]},
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
        colorbar={"title": {"text": title_of(metric), "side": "right"}, "thickness": 12},
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
    grid = _Grid.of(matrices)
    figure = graph.Figure()
    axes: dict[str, Any] = {}
    titles = []
    for number, matrix in enumerate(matrices):
        mark = str(number + 1) if number else ""
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
            colorbar={"title": {"text": title_of(metric), "side": "right"}, "thickness": 12},
            hovertemplate="%{y}<br>%{x}<br>%{z:.4f}<extra></extra>",
        )
        down, across = (_axis_title(matrix, place, called, about) for place in (0, 1))
        axes |= grid.axes(number, across, down)
        titles.append(grid.title(number, _title(matrix)))
    return dress(figure, **axes).update_layout(
        height=grid.height,
        width=grid.width,
        plot_bgcolor=MISSING,
        annotations=titles,
        margin={"t": 40},
    )


@dataclass(frozen=True)
class _Grid:
    """The places of matrices in a figure, three side by side; lengths in pixels.

    Attributes
    ----------
    side
        Width and height of a matrix.
    columns, rows
        Numbers of matrices side by side, and one below the other.
    """

    side: int
    columns: int
    rows: int

    @classmethod
    def of(cls, matrices: Sequence[Matrix]) -> _Grid:
        most = max(max(len(matrix.rows), len(matrix.columns)) for matrix in matrices)
        columns = min(3, len(matrices))
        side = min(max(_LEAST_SIDE, 18 * most), _MOST_SIDE)
        return cls(side, columns, -(-len(matrices) // columns))

    @property
    def width(self) -> int:
        return self.columns * (self.side + _LEFT) - _LEFT

    @property
    def height(self) -> int:
        return self.rows * (self.side + _BELOW) - _BELOW

    def _left_and_top(self, number: int) -> tuple[float, float]:
        row, column = divmod(number, self.columns)
        left = column * (self.side + _LEFT) / self.width
        return left, 1 - row * (self.side + _BELOW) / self.height

    def axes(self, number: int, across: str, down: str) -> dict[str, Any]:
        """Return the axes of a matrix, given their titles."""
        mark = str(number + 1) if number else ""
        left, top = self._left_and_top(number)
        right, bottom = left + self.side / self.width, top - self.side / self.height
        common = {"type": "category", "showgrid": False}
        return {
            f"xaxis{mark}": {
                **common, "domain": [left, right], "anchor": f"y{mark}", "title": {"text": across}
            },
            f"yaxis{mark}": {
                **common, "domain": [bottom, top], "anchor": f"x{mark}",
                "title": {"text": down}, "autorange": "reversed",
            },
        }  # fmt: skip

    def title(self, number: int, text: str) -> dict[str, Any]:
        """Return the title above a matrix."""
        left, top = self._left_and_top(number)
        return {
            "text": text, "x": left + self.side / self.width / 2, "y": top,
            "xref": "paper", "yref": "paper",
            "xanchor": "center", "yanchor": "bottom", "showarrow": False,
        }  # fmt: skip


def _title(matrix: Matrix) -> str:
    if matrix.averaged > 1:
        return f"mean over {matrix.averaged:,} pairs of runs"
    return plain(matrix.layer or "")


def _axis_title(matrix: Matrix, place: int, called: Mapping[str, str], about: str) -> str:
    if matrix.layer is not None:
        return plain(about)
    if matrix.runs is None:
        return "layer"
    run = matrix.runs[place]
    return f"layers of {labels([called.get(run, run)])[0]}"
