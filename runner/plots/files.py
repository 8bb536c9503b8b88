"""Writes figures as SVG, PDF or PNG: redrawn by matplotlib, which needs no browser."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import InputError, suggest
from runner.plots.drawing import COLOURS, SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

ENDINGS = (".svg", ".pdf", ".png")

_PIXELS = 100  # pixels per inch
_MOST_TICKS = 40
_LETTER = 9  # width of a label's letter with the gap to the next, in pixels
_GRID = "#e6e9ed"
# Keeps text as text, and makes the bytes of a figure reproducible.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "runner",
    "pdf.fonttype": 42,
    "font.size": 9,
    "text.parse_math": False,  # a name may hold dollars
    "axes.edgecolor": "#9aa0a6",
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure of Runner's to a file, as SVG, PDF or PNG.

    Parameters
    ----------
    figure
        Figure as returned by `Run.plot`, `Runs.plot_similarity` and the others.
    path
        Path of the file; its suffix determines the format.

    Returns
    -------
    Path
        Path of the written file.

    Raises
    ------
    InputError
        If the suffix is another one, the file cannot be written, or matplotlib is not installed
        (``pip install "activation-runner[figures]"``).
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError.of(
            str(path),
            f"expected a name that ends in {', '.join(ENDINGS)}",
            suggest(path.suffix, ENDINGS),
        )
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise InputError.missing(str(path), "needs matplotlib", "[figures]") from error
    dated = {".svg": "Date", ".pdf": "CreationDate"}.get(path.suffix.lower())
    with mpl.rc_context(_SETTINGS):
        drawn = _drawn(figure)
        try:
            drawn.savefig(
                path, bbox_inches="tight", dpi=200, metadata={dated: None} if dated else {}
            )
        except OSError as error:
            why = f"cannot be written: {error.strerror or error}"
            raise InputError.of(str(path), why) from error
    return path


def _drawn(figure: Figure) -> Any:
    from matplotlib.figure import Figure as Canvas

    layout = figure.layout
    size = (layout.width or 700) / _PIXELS, (layout.height or 400) / _PIXELS
    canvas = Canvas(figsize=size)
    axes: dict[tuple[str, str], _Plot] = {}
    for number, trace in enumerate(figure.data):
        key = (getattr(trace, "xaxis", None) or "x", getattr(trace, "yaxis", None) or "y")
        if key not in axes:
            axes[key] = _Plot(canvas, layout, *key)
        _DRAW[trace.type](axes[key], trace, COLOURS[number % len(COLOURS)])
    for plot in axes.values():
        plot.finish(legend=bool(layout.showlegend) or layout.showlegend is None)
    if layout.title.text:
        canvas.suptitle(_plain(layout.title.text), y=1.02, fontsize=10)
    for note in layout.annotations or ():
        canvas.text(note.x, note.y, _plain(note.text), ha="center", va="bottom")
    return canvas


class _Plot:
    """One pair of axes; the names on a categorical axis are at 0, 1, 2... in order."""

    def __init__(self, canvas: Any, layout: Any, x: str, y: str) -> None:
        self.layout_x = layout[f"xaxis{x[1:]}"]
        self.layout_y = layout[f"yaxis{y[1:]}"]
        left, right = self.layout_x.domain or (0, 1)
        bottom, top = self.layout_y.domain or (0, 1)
        self.axes: Axes = canvas.add_axes((left, bottom, right - left, top - bottom))
        self.axes.set_axisbelow(True)
        self._width = (right - left) * _PIXELS * canvas.get_figwidth()
        self._categories: dict[str, dict[str, int]] = {"x": {}, "y": {}}
        self.edge: np.ndarray | None = None  # lower edge of the band that the next trace fills
        background = layout.plot_bgcolor
        if background:
            self.axes.set_facecolor(background)

    def places(self, which: str, values: Any) -> np.ndarray:
        """Return the positions of values on an axis."""
        values = [] if values is None else list(values)
        if not values or not isinstance(values[0], str):
            return np.asarray(values, np.float64)
        known = self._categories[which]
        for value in values:
            known.setdefault(value, len(known))
        return np.array([known[value] for value in values], np.float64)

    def finish(self, *, legend: bool) -> None:
        """Add the titles, ticks and legend."""
        for which, node in (("x", self.layout_x), ("y", self.layout_y)):
            if node.visible is False:
                self.axes.axis("off")
                return
            set_label = getattr(self.axes, f"set_{which}label")
            set_label(_plain(node.title.text or ""))
            axis = getattr(self.axes, f"{which}axis")
            if names := list(self._categories[which]):
                step = -(-len(names) // _MOST_TICKS)
                shown = [_plain(name) for name in names[::step]]
                turned = which == "x" and _LETTER * sum(map(len, shown)) > self._width
                axis.set_ticks(
                    range(0, len(names), step),
                    labels=shown,
                    rotation=90 if turned else 0,
                )
            if node.range is not None:
                getattr(self.axes, f"set_{which}lim")(*node.range)
            if node.showgrid is not False:
                axis.grid(visible=True, color=_GRID, linewidth=0.6)
        if self.layout_y.autorange == "reversed":
            low, high = sorted(self.axes.get_ylim())
            self.axes.set_ylim(high, low)
        handles, named = self.axes.get_legend_handles_labels()
        if legend and len(named) > 1:
            self.axes.legend(handles, named, frameon=False, fontsize=8)


def _heat_map(plot: _Plot, trace: Any, _colour: str) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("scale", [colour for _, colour in trace.colorscale])
    x, y = plot.places("x", trace.x), plot.places("y", trace.y)
    values = np.asarray(trace.z, np.float64)
    cells = np.ma.masked_invalid(values)
    image = plot.axes.pcolormesh(
        x, y, cells, cmap=scale, vmin=trace.zmin, vmax=trace.zmax, shading="nearest"
    )
    if trace.texttemplate:
        # White text on the dark half of a scale that starts dark.
        middle = (
            (trace.zmin + trace.zmax) / 2 if trace.colorscale[0][1] == SEQUENTIAL[0] else -np.inf
        )
        for (row, column), value in np.ndenumerate(values):
            plot.axes.text(
                float(x[column]), float(y[row]), f"{value:.4g}", ha="center", va="center",
                fontsize=7, color="white" if value < middle else "black",
            )  # fmt: skip
    if trace.showscale is not False:
        # At the right of all plots, whichever of them has the colour bar.
        bar = plot.axes.figure.add_axes((1.02, 0.1, 0.02, 0.8))
        plot.axes.figure.colorbar(image, cax=bar, label=_plain(trace.colorbar.title.text or ""))


def _scatter(plot: _Plot, trace: Any, colour: str) -> None:
    x, y = plot.places("x", trace.x), np.asarray(trace.y, np.float64)
    if not len(x):
        return
    if trace.fill == "tonexty" and plot.edge is not None:
        plot.axes.fill_between(x, plot.edge, y, color=_components(trace.fillcolor), linewidth=0)
    plot.edge = y
    mode = trace.mode or "lines"
    colour = trace.line.color or trace.marker.color or colour
    width = 1.5 if trace.line.width is None else 0.75 * trace.line.width
    is_line = "lines" in mode and width > 0
    if not is_line and "markers" not in mode:
        return
    plot.axes.plot(
        x, y, linestyle="-" if is_line else "none", linewidth=width, color=colour,
        marker="o" if "markers" in mode else None, markersize=3.5,
        alpha=trace.marker.opacity if "markers" in mode else None,
        label=_plain(trace.name) if trace.name and trace.showlegend is not False else None,
    )  # fmt: skip


def _bar(plot: _Plot, trace: Any, colour: str) -> None:
    x = plot.places("x", trace.x)
    wide = 0.8 if trace.width is None else np.asarray(trace.width, np.float64)
    plot.axes.bar(x, np.asarray(trace.y, np.float64), wide, color=trace.marker.color or colour)


def _box(plot: _Plot, trace: Any, colour: str) -> None:
    keys = {"whislo": "lowerfence", "q1": "q1", "med": "median", "q3": "q3", "whishi": "upperfence"}
    columns = {key: np.asarray(trace[own], np.float64) for key, own in keys.items()}
    places = plot.places("x", trace.x)
    boxes = [{key: own[place] for key, own in columns.items()} for place in range(len(places))]
    line = {"color": trace.marker.color or colour}
    plot.axes.bxp(
        boxes, positions=places, showfliers=False, widths=0.6, boxprops=line,
        whiskerprops=line, capprops=line, medianprops=line,
    )  # fmt: skip


_DRAW: dict[str, Callable[[_Plot, Any, str], None]] = {
    "heatmap": _heat_map,
    "scatter": _scatter,
    "bar": _bar,
    "box": _box,
}


def _plain(text: str) -> str:
    """Return text without plotly's markup."""
    return html.unescape(re.sub(r"</?(?:sup|b|i)>", "", text.replace("<br>", "\n")))


def _components(colour: str) -> Sequence[float]:
    """Return the components of ``rgba(0, 128, 255, 0.2)`` for matplotlib, each from 0 to 1."""
    *parts, opacity = map(float, re.findall(r"[\d.]+", colour))
    return [*(part / 255 for part in parts), opacity]
