"""Figures of a training: metrics by epoch, and the drift of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from runner.plots.drawing import COLOURS, dress, library, plain

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def history_figure(curves: Mapping[str, Sequence[float | None]], what: str) -> Figure:
    """Return a figure of one metric by epoch, with a line per run.

    Parameters
    ----------
    curves
        Values per epoch, by the label of the run.
    what
        The metric: ``loss``, ``accuracy``...
    """
    return _lines({name: (range(1, len(own) + 1), own) for name, own in curves.items()}, what)


def drift_figure(steps: Sequence[int], alike: np.ndarray, layers: Sequence[str]) -> Figure:
    """Return a figure of each layer's similarity to its final state, by step.

    Parameters
    ----------
    steps
        Numbers of the captured steps.
    alike
        Shape (layer, step): the similarity to the last step.
    layers
        Names of the layers, in call order.
    """
    lines = {name: (steps, row.tolist()) for name, row in zip(layers, alike, strict=True)}
    figure = _lines(lines, "similarity to the last step", "step")
    low = float(np.nanmin(alike)) if np.isfinite(alike).any() else 0.0
    return figure.update_yaxes(range=[min(0.0, low), 1.03])


def _lines(
    lines: Mapping[str, tuple[Sequence[int], Sequence[float | None]]],
    what: str,
    along: str = "epoch",
) -> Figure:
    figure = library().Figure()
    for number, (name, (x, y)) in enumerate(lines.items()):
        figure.add_scatter(
            x=list(x),
            y=list(y),
            name=plain(name),
            mode="lines+markers",
            line={"color": COLOURS[number % len(COLOURS)]},
            hovertemplate=f"{along} %{{x}}<br>%{{y:.4~g}}",
        )
    return dress(
        figure,
        height=320,
        showlegend=1 < len(lines) <= len(COLOURS),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        xaxis={"title": {"text": along}},
        yaxis={"title": {"text": what}},
    )
