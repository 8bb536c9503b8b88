"""The figures and images that a page shows of one captured tensor."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.plots.activation_figures import (
    by_unit,
    crowded_by_zeros,
    drawable,
    heat_map,
    histogram,
)
from runner.plots.drawing import colour_scale, evenly_spaced, how_many
from runner.report.excerpt import Excerpt, MapExcerpt
from runner.runs.published_run import Run
from runner.tensors import TensorSpec

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# The bounds at which an activation saturates. Softmax is left out, since outputs near 0 and 1
# are normal for it.
_BOUNDS: dict[str, tuple[float, float]] = {
    "sigmoid": (0, 1),
    "hard_sigmoid": (0, 1),
    "tanh": (-1, 1),
    "hard_tanh": (-1, 1),
    "softsign": (-1, 1),
}
_MARGIN = 0.01
_MOSTLY = 0.95


@dataclass(frozen=True)
class Units:
    """The dead, constant and saturated units of a tensor, over the measured samples.

    Attributes
    ----------
    dead, constant
        Units that are 0 everywhere, and units that have one other value everywhere.
    saturated
        Units with 95 % of their values within 1 % of a bound of their activation;
        ``None`` if the activation has no bounds or is not known.
    """

    dead: list[int]
    constant: list[int]
    saturated: list[int] | None

    @classmethod
    def of(cls, values: np.ndarray, activation: str | None, unit_axis: int = -1) -> Units:
        r"""Return the dead, constant and saturated units of values of shape (sample, \*axes)."""
        if values.ndim > 2:
            values = np.moveaxis(values, range(values.ndim)[1:][unit_axis], -1)
        units = values.shape[-1] if values.ndim > 1 else 1
        if not values.size:
            return cls([], [], None)
        flat = values.reshape(-1, units)
        same = (flat == flat[0]).all(axis=0)
        dead = same & (flat[0] == 0)
        saturated = None
        if activation in _BOUNDS:
            low, high = _BOUNDS[activation]
            room = _MARGIN * (high - low)
            outside = (flat < low + room) | (flat > high - room)
            saturated = _listed(outside.mean(axis=0) >= _MOSTLY)
        return cls(_listed(dead), _listed(same & ~dead), saturated)


def packed(values: np.ndarray) -> dict[str, Any]:
    """Return an array in the form that the page reads: type, shape, and bytes as base64.

    The same form as in a figure of the plotting library, but for arrays of any size.
    """
    values = np.ascontiguousarray(drawable(values))
    return {
        "dtype": values.dtype.str[1:],
        "shape": list(values.shape),
        "bdata": base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode(),
    }


def bare(figure: Figure) -> dict[str, Any]:
    """Return a figure as plain data, without the library's template: the page has its own style."""
    data: dict[str, Any] = json.loads(figure.to_json())
    data["layout"].pop("template", None)
    return data


def tensor_view(run: Run, tensor: TensorSpec, excerpt: Excerpt) -> dict[str, Any]:
    """Return the figures and values that the page shows of a tensor.

    Returns
    -------
    dict
        ``figure`` and ``histogram``, figures of the library; ``cells``, the values of the
        heat map, shape (sample, unit); ``maps`` or ``None``; ``units``, the shown units;
        ``told``, a text on what is left out; ``state``, the dead, constant and saturated units.
    """
    measured = excerpt.measured(tensor)
    values = run.representation(tensor.name, tensor.kind).values(measured)
    values = values.reshape(len(measured), *tensor.shape)
    shown = values[np.searchsorted(measured, excerpt.places)]
    cells = by_unit(shown, tensor.unit_axis)
    units = evenly_spaced(cells.shape[1], excerpt.units)
    cells = np.ascontiguousarray(cells[:, units])
    names = [f"u{unit}" for unit in units]
    figure = bare(heat_map(cells, excerpt.samples, names))
    del figure["data"][0]["z"]  # `cells`, which the page unpacks once
    state = Units.of(values, _activation(run, tensor), tensor.unit_axis)
    return {
        "name": tensor.name,
        "kind": tensor.kind,
        "stored": len(tensor.shape) <= 1 and tensor.reduction is None,
        "unit_names": names,
        "cells": packed(cells),
        "figure": figure,
        "histogram": bare(histogram(values)),
        "maps": _maps(shown, tensor, excerpt),
        "state": {key: getattr(state, key) for key in ("dead", "constant", "saturated")},
        "told": _told(tensor, excerpt, len(units), cells),
        "measured": _measured(values, len(measured), excerpt.rows),
    }


def image_view(images: np.ndarray, spec: TensorSpec, cut: MapExcerpt) -> dict[str, Any]:
    """Return images of shape (sample, image, height, width) in the form that the page reads."""
    scale, low, high = colour_scale(images)
    names = [
        f"axis {axis}" if name == f"i{axis}" else name for axis, name in enumerate(spec.axis_names)
    ]
    *fixed, down, across = (name for axis, name in enumerate(names) if axis != cut.axis)
    told, titles = [], [""]
    if cut.axis is not None:
        noun = "unit" if cut.axis == spec.unit_axis else names[cut.axis]
        titles = [f"u{image}" if noun == "unit" else f"{noun} {image}" for image in cut.images]
        if spec.shape[cut.axis] > 1:
            told.append(how_many(len(titles), spec.shape[cut.axis], noun))
    told += [f"{axis} = {place}" for axis, place in zip(fixed, cut.fixed, strict=True)]
    if cut.step > 1:
        told.append(f"every {_ordinal(cut.step)} row and column")
    told.append(f"{down} downwards, {across} to the right")
    return {
        "values": packed(images),
        "titles": titles,
        "scale": "diverging" if low < 0 < high else "sequential",
        "stops": list(scale),
        "low": low,
        "high": high,
        "step": cut.step,
        "fixed": list(cut.fixed),
        "axis": cut.axis,
        "entries": [int(image) for image in cut.images],
        "told": "; ".join(told),
    }


def _maps(shown: np.ndarray, tensor: TensorSpec, excerpt: Excerpt) -> dict[str, Any] | None:
    cut = MapExcerpt.of(tensor, excerpt.map_values)
    return None if cut is None else image_view(cut.cut(shown), tensor, cut)


def _told(tensor: TensorSpec, excerpt: Excerpt, shown: int, cells: np.ndarray) -> str:
    told = [
        how_many(len(excerpt.places), excerpt.rows, "sample"),
        how_many(shown, tensor.units, "unit"),
    ]
    if len(tensor.shape) > 1:
        between = list(tensor.shape)
        del between[tensor.unit_axis]
        told.append(f"mean over {' x '.join(map(str, between))} positions")
    if tensor.reduction is not None:
        told.append(f"stored as their {tensor.reduction}")
    if not np.isfinite(cells).all():
        told.append("grey where not finite")
    return "; ".join(told)


def _measured(values: np.ndarray, rows: int, there: int) -> str:
    told = f"{values.size:,} values of {how_many(rows, there, 'sample')}"
    broken = values.size - int(np.count_nonzero(np.isfinite(values)))
    if broken:
        told += f"; {broken:,} that are not finite are left out"
    if crowded_by_zeros(values):
        zeros = int(np.count_nonzero(values == 0))
        told += f"; {zeros:,} ({zeros / values.size:.1%}) are exactly 0 and have no bar"
    return told


def _activation(run: Run, tensor: TensorSpec) -> str | None:
    """Return the name of the activation function that a tensor is the output of, if known."""
    if tensor.kind != "activation" or tensor.layer_class in ("LSTM", "GRU"):
        return None
    owners = (layer for layer in run.record.layers if layer.path == tensor.layer_path)
    found = next(((layer.arguments or {}).get("activation") for layer in owners), None)
    return found if isinstance(found, str) else None  # a layer has a configuration


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _listed(which: np.ndarray) -> list[int]:
    return [int(unit) for unit in np.flatnonzero(which)]
