"""The names of the axes of a graph's tensors, inferred from its operations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from runner.converted_models.graph import ConvertedModel, Key

Names = tuple[str, ...]

_SPATIAL: dict[int, Names] = {
    1: ("time",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}


def named_axes(model: ConvertedModel, values: Mapping[Key, np.ndarray]) -> dict[Key, Names | None]:
    """Return the names of the axes of tensors, without the sample axis.

    Feature maps are known by the operations that take or return them, and an output of the
    shape of an input has its axes.

    Parameters
    ----------
    model
        The graph.
    values
        The value of every tensor.

    Returns
    -------
    dict
        ``None`` for a tensor whose axes are unknown.
    """
    found: dict[Key, Names | None] = {}
    for operation in model.operations:
        kind = type(operation).__name__
        inputs = [key for _, key in operation.inputs if isinstance(values[key], np.ndarray)]
        if kind in model.of_maps:
            for key in inputs:
                found[key] = found.get(key) or _of_maps(values[key].ndim, model.channels_first)
        for key in operation.outputs:
            if not isinstance(values[key], np.ndarray):
                continue  # a sequence
            shape = values[key].shape
            alike = next(
                (one for one in inputs if values[one].shape == shape and one in found), None
            )
            if kind in model.of_maps:
                found[key] = _of_maps(len(shape), model.channels_first)
            elif len(shape) == 2:
                found[key] = ("unit",)
            elif kind in model.of_units and len(shape) > 2:
                found[key] = (*(f"i{axis}" for axis in range(len(shape) - 2)), "unit")
            elif alike is not None and kind.upper() != "TRANSPOSE":
                found[key] = found[alike]
    return found


def _of_maps(rank: int, channels_first: bool) -> Names | None:
    spatial = _SPATIAL.get(rank - 2)
    if spatial is None:
        return None
    return ("channel", *spatial) if channels_first else (*spatial, "channel")
