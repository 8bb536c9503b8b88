"""Parts shared by all figures: the plotting library, colours and labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import InputError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

EXTRA = "[report]"
"""What installs plotly, and what else a report needs."""

_LONGEST_NAME = 28

# Distinct for colour-blind readers, after Okabe and Ito, "Color Universal Design" (2008); the
# blue is lighter than theirs, to be visible on black.
COLOURS = ("#2a7fc1", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")

# From low to high. The first is matplotlib's viridis, the second goes from blue through
# white to orange; both keep their order for colour-blind readers, the first also in greyscale.
SEQUENTIAL = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e",
    "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
DIVERGING = ("#0b4a8f", "#4393c3", "#a6cfe6", "#f6f6f4", "#fdc58a", "#e8822c", "#993f05")
_AXIS = {
    "automargin": True,
    "gridcolor": "#e6e9ed",
    "linecolor": "white",
    "ticks": "",
    "title": {"standoff": 15},
    "zerolinecolor": "#d5dae0",
    "zerolinewidth": 2,
}
# A whole look, since plotly takes most of a figure's time to merge one with its default.
_LOOK = {
    "layout": {
        "autotypenumbers": "strict",
        "colorway": COLOURS,
        "font": {"color": "#1b1f24"},
        "hovermode": "closest",
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "shapedefaults": {"line": {"color": "#2a3f5f"}},
        "title": {"x": 0.05},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    },
    "data": {"heatmap": [{"colorbar": {"outlinewidth": 0, "ticks": ""}}]},
}
# Exponents instead of the library's default, SI prefixes.
_TICKS = {"automargin": True, "exponentformat": "e"}

MISSING = "#9aa0a6"
"""Colour of values that are not finite; in neither scale."""


def library() -> Any:
    """Return ``plotly.graph_objects``.

    Raises
    ------
    InputError
        If plotly is not installed; the message has the command that installs it.
    """
    try:
        import plotly.graph_objects
    except ModuleNotFoundError as error:
        raise InputError.missing("plot", "needs plotly", EXTRA) from error
    return plotly.graph_objects


def colour_scale(values: np.ndarray) -> tuple[tuple[str, ...], float, float]:
    """Return the colours for values, and the values at both ends of them.

    Values on both sides of 0 get a diverging scale centered at 0, all others a sequential
    scale from the smallest to the largest value. Values that are not finite are ignored.
    The two ends always differ.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low < 0 < high:
        end = max(-low, high)
        return DIVERGING, -end, end
    if low == high:
        return SEQUENTIAL, min(low, 0.0), max(high, 0.0) if high else 1.0
    return SEQUENTIAL, low, high


def stops(scale: tuple[str, ...]) -> list[list[Any]]:
    """Return a scale in plotly's format: pairs of a position in [0, 1] and a colour."""
    return [[place / (len(scale) - 1), colour] for place, colour in enumerate(scale)]


def components(colour: str) -> list[int]:
    """Return the red, green and blue of a colour, from 0 to 255."""
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


def plain(text: object) -> str:
    """Return text escaped so that plotly, which interprets some markup, shows it unchanged."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def labels(names: Iterable[object]) -> list[str]:
    """Return a unique, plain label for each name, shortened if it is long."""
    taken: dict[str, int] = {}
    made = []
    for name in map(str, names):
        short = name
        if len(name) > _LONGEST_NAME:
            half = (_LONGEST_NAME - 3) // 2
            short = f"{name[:half]}...{name[-half:]}"
        taken[short] = taken.get(short, 0) + 1
        made.append(plain(short if taken[short] == 1 else f"{short} ({taken[short]})"))
    return made


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Return at most `most` evenly spaced positions out of `count`, both ends included."""
    places = np.linspace(0, max(count - 1, 0), min(count, most))
    return np.unique(places.round().astype(np.int64))


def how_many(shown: int, there: int, what: str) -> str:
    """Return ``3 samples``, or ``50 of 1,797 samples, evenly spaced``."""
    noun = what if there == 1 else f"{what}s"
    if shown == there:
        return f"{there:,} {noun}"
    return f"{shown:,} of {there:,} {noun}, evenly spaced"


def dress(figure: Figure, **layout: Any) -> Figure:
    """Apply the common style to a figure and return it.

    The layout is set as a whole: plotly takes ten times as long to update its parts.
    """
    present = figure.layout.to_plotly_json()
    axes = {
        name: {**present.get(name, {}), **layout.get(name, {}), **_TICKS}
        for name in ("xaxis", "yaxis", *present, *layout)
        if name.startswith(("xaxis", "yaxis"))
    }
    figure.layout = {
        **present,
        "template": _LOOK,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {"align": "left"},
        **layout,
        **axes,
    }
    for trace in figure.data:
        if trace.type == "heatmap":
            trace.colorbar.exponentformat = _TICKS["exponentformat"]
    return figure
