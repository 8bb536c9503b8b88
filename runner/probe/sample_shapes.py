"""Comparison of the shape of a sample with the shape that a model expects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runner.tensors import InputSpec


def with_axis(array: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return one number per sample in the shape of the model's input: scalar, or length 1."""
    if array.ndim == 1 and spec.shape == (1,):
        return array[:, None]
    return array[:, 0] if array.shape[1:] == (1,) and spec.shape == () else array


def shapes_fit(found: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Return whether a shape matches the expected one; ``None`` matches any length."""
    return len(found) == len(expected) and all(
        there is None or wanted is None or there == wanted
        for there, wanted in zip(found, expected, strict=True)
    )


def axis_advice(given: InputSpec, spec: InputSpec, rows: int | None) -> str:
    """Return advice about a missing axis; empty if none is missing."""
    if rows is None and given.shape == spec.shape[1:]:
        return "give it in batches, with a sample axis"
    if spec.shape and (rows, *given.shape) == spec.shape:
        return "one sample needs a sample axis too: array[None]"
    if spec.shape[-1:] == (1,) and given.shape == spec.shape[:-1]:
        return "add the last axis: array[..., None]"
    return ""
