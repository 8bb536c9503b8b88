"""Figures of one tensor: heat map by sample and unit, and histogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from runner.plots.drawing import (
    COLOURS,
    MISSING,
    colour_scale,
    dress,
    evenly_spaced,
    how_many,
    labels,
    library,
    plain,
    stops,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_SAMPLES = 200
_MOST_UNITS = 256
_MOST_BINS = 48
_LEAST_BINS = 8
_WRITTEN_CELLS = 96


def by_unit(values: np.ndarray, unit_axis: int = -1) -> np.ndarray:
    """Return one value for each sample and unit.

    Values are averaged in float64 over all axes but those of the samples and the units.
    Without other axes the values are returned unchanged.

    Parameters
    ----------
    values
        Shape (sample, *axes).
    unit_axis
        Axis of a sample that the units are on; by default the last.

    Returns
    -------
    numpy.ndarray
        Shape (sample, unit).
    """
    if values.ndim <= 2:
        return values.reshape(len(values), values.shape[1] if values.ndim == 2 else 1)
    if not values.size:
        return np.full((len(values), values.shape[1:][unit_axis]), np.nan)
    axes = range(1, values.ndim)
    between = tuple(axis for axis in axes if axis != axes[unit_axis])
    with np.errstate(invalid="ignore"):  # infinities of both signs have a NaN mean
        return np.asarray(values.mean(axis=between, dtype=np.float64))


def drawable(values: np.ndarray) -> np.ndarray:
    """Return values in a type that plotly can draw: float64 for half floats and int64."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values.astype(np.float64) if values.dtype in (np.int64, np.uint64) else values


def heat_map(
    values: np.ndarray, rows: Sequence[object], columns: Sequence[object], row: str = "sample"
) -> Figure:
    """Return a heat map.

    Parameters
    ----------
    values
        Shape (row, column); values that are not finite are grey.
    rows, columns
        Labels of the rows and columns.
    row
        Meaning of a row, such as ``sample``.
    """
    graph = library()
    scale, low, high = colour_scale(values)
    written = values.size <= _WRITTEN_CELLS and values.shape[1] <= 12
    cells = graph.Heatmap(
        z=drawable(values),
        x=labels(columns),
        y=labels(rows),
        zmin=low,
        zmax=high,
        colorscale=stops(scale),
        colorbar={"title": {"text": "value"}, "thickness": 12},
        texttemplate="%{z:.4~g}" if written else None,
        hovertemplate=f"{row} %{{y}}<br>%{{x}}<br>value %{{z:.7~g}}<extra></extra>",
    )
    return dress(
        graph.Figure(cells),
        height=min(max(240, 120 + 18 * len(values)), 520),
        plot_bgcolor=MISSING,
        xaxis={"type": "category", "title": {"text": "unit"}, "showgrid": False},
        yaxis={
            "type": "category",
            "title": {"text": row},
            "autorange": "reversed",
            "showgrid": False,
        },
    )


def tensor_heat_map(
    values: np.ndarray,
    rows: Sequence[object],
    name: str,
    row: str = "sample",
    unit_axis: int = -1,
) -> Figure:
    """Return the heat map of a whole tensor, or of an excerpt if the tensor is large.

    The title lists what is left out, and the axes that values are averaged over.

    Parameters
    ----------
    values
        Shape (row, *axes).
    rows
        Labels of the rows.
    name
        Name of the tensor.
    row
        Meaning of a row, such as ``sample``.
    unit_axis
        Axis of a row that the units are on; by default the last.
    """
    places = evenly_spaced(len(values), _MOST_SAMPLES)
    cells = by_unit(values[places], unit_axis)
    units = evenly_spaced(cells.shape[1], _MOST_UNITS)
    told = [
        how_many(len(places), len(values), row),
        how_many(len(units), cells.shape[1], "unit"),
    ]
    if values.ndim > 2:
        between = list(values.shape[1:])
        del between[unit_axis]
        told.append(f"mean over {' x '.join(map(str, between))} positions")
    names = [f"u{place}" for place in units]
    figure = heat_map(cells[:, units], [rows[place] for place in places], names, row)
    title = f"{plain(name)}<br><sup>{'; '.join(told)}</sup>"
    return figure.update_layout(title={"text": title}, margin={"t": 64})


def histogram(values: np.ndarray) -> Figure:
    """Return a histogram of values.

    If more than a tenth of the values are zero, their bar is not drawn because it would
    dwarf the others; the caller should report their share. Below the bars is an empty strip,
    the trace ``chosen``, in which values can be marked.

    Parameters
    ----------
    values
        Of any shape; values that are not finite are left out.
    """
    graph = library()
    finite = values[np.isfinite(values)].astype(np.float64)
    counted = finite[finite != 0] if crowded_by_zeros(values) else finite
    # The Rice rule, within bounds.
    bins = min(_MOST_BINS, max(_LEAST_BINS, round(2 * counted.size ** (1 / 3))))
    counts, edges = np.histogram(counted, bins, _span(finite))
    bars = graph.Bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=counts,
        width=np.diff(edges),
        customdata=np.stack([edges[:-1], edges[1:]], axis=1),
        marker={"color": COLOURS[0], "line": {"width": 0}},
        hovertemplate="%{customdata[0]:.4~g} to %{customdata[1]:.4~g}<br>"
        "%{y:,} values<extra></extra>",
        name="values",
    )
    strip = graph.Scatter(
        x=[],
        y=[],
        mode="markers",
        yaxis="y2",
        marker={"symbol": "line-ns-open", "size": 11, "color": COLOURS[1], "line": {"width": 1.5}},
        hovertemplate="%{x:.7~g}<extra>chosen sample</extra>",
        name="chosen",
    )
    return dress(
        graph.Figure([bars, strip]),
        height=280,
        showlegend=False,
        bargap=0,
        xaxis={"title": {"text": "value"}, "anchor": "y2"},
        yaxis={
            "title": {"text": "values in a bar"},
            "domain": [0.14, 1],
            "rangemode": "tozero",
            "tickformat": ",",
            "dtick": 1 if counts.max() <= 5 else None,
        },
        yaxis2={"domain": [0, 0.1], "range": [-1, 1], "visible": False, "fixedrange": True},
    )


def crowded_by_zeros(values: np.ndarray) -> bool:
    """Return whether more than a tenth of the values, and not all, are exactly 0."""
    zeros = np.count_nonzero(values == 0)
    return bool(values.size / 10 < zeros < values.size)


def _span(finite: np.ndarray) -> tuple[float, float]:
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    # If all values are almost equal, bars must not be narrower than rounding.
    room = max(abs(low), abs(high), 1e-300) * 1e-6
    return (low, high) if high - low > room else (low - (room or 0.5), high + (room or 0.5))
