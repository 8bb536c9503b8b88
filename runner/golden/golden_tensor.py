"""What a test keeps of one tensor: its hash, a few figures and a few values."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.sameness.distance import TOLERANCES
from runner.showing.activations import Activation

_PROJECTIONS = 4
MOST_VALUES = 16
"""Largest number of values that are kept of a tensor."""


@dataclass(frozen=True)
class GoldenTensor:
    """What is kept of a tensor.

    Attributes
    ----------
    name, layer_class
        As in `runner.tensors.TensorSpec`.
    shape, dtype
        Those of all samples together.
    sha256
        Hash of the values in C order, little-endian.
    nan
        Number of values that are not finite; they are left out of the figures.
    figures
        ``mean``, ``std``, ``min`` and ``max``.
    projections
        Sums of the values with random signs, divided by the square root of their number. The
        signs are drawn from the tensor's name.
    values
        A few of them, evenly spaced.
    """

    name: str
    layer_class: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str
    nan: int
    figures: dict[str, float]
    projections: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, activation: Activation) -> GoldenTensor:
        """Return what is kept of a captured tensor."""
        array = np.ascontiguousarray(activation.value)
        flat = array.reshape(-1)
        flat = flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
        wide = flat.astype(np.float64)
        finite = np.isfinite(wide)
        wide = np.where(finite, wide, 0.0)
        known = wide[finite] if not finite.all() else wide
        figures = {
            "mean": known.mean() if known.size else 0.0,
            "std": known.std() if known.size else 0.0,
            "min": known.min(initial=math.inf) if known.size else 0.0,
            "max": known.max(initial=-math.inf) if known.size else 0.0,
        }
        places = np.linspace(0, max(0, wide.size - 1), min(MOST_VALUES, wide.size)).astype(int)
        return cls(
            name=activation.name,
            layer_class=activation.layer_class,
            shape=array.shape,
            dtype=array.dtype.name,
            sha256=hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).data).hexdigest(),
            nan=int((~finite).sum()),
            figures={name: float(value) for name, value in figures.items()},
            projections=tuple(map(float, _projected(wide, activation.name))),
            values=tuple(map(float, wide[places])),
        )

    def apart(self, other: GoldenTensor) -> tuple[float, float]:
        """Return the largest difference of the kept numbers, and the scale of the tensor."""
        mine, theirs = (
            [
                *tensor.figures.values(),
                *tensor.projections,
                *some_of(tensor.values, len(self.values)),
            ]
            for tensor in (self, other)
        )
        largest = max(abs(x - y) for x, y in zip(mine, theirs, strict=True))
        return largest, max(abs(self.figures["min"]), abs(self.figures["max"]))

    def within(self, other: GoldenTensor, rtol: float | None, atol: float | None) -> bool:
        """Return whether the kept numbers of a tensor agree within a tolerance.

        The default tolerance is that of `runner.diff`. Projections of values that differ by the
        tolerance, independently of each other, differ by at most four times as much, but for one in
        16,000.
        """
        if (self.shape, self.dtype, self.nan) != (other.shape, other.dtype, other.nan):
            return False
        default = TOLERANCES.get(self.dtype, 0.0)
        rtol, atol = default if rtol is None else rtol, default if atol is None else atol
        scale = max(abs(self.figures["min"]), abs(self.figures["max"]))

        def agree(mine: Sequence[float], theirs: Sequence[float], times: float) -> bool:
            return all(
                abs(x - y) <= times * (rtol * max(abs(x), scale) + atol * scale)
                for x, y in zip(mine, theirs, strict=True)
            )

        return (
            agree([*self.figures.values()], [*other.figures.values()], 1)
            and agree(self.values, some_of(other.values, len(self.values)), 1)
            and agree(self.projections, other.projections, 4)
        )


def _projected(values: np.ndarray, name: str) -> np.ndarray:
    """Return projections of the values of a tensor on random signs (Achlioptas 2003)."""
    seed = np.random.SeedSequence(list(name.encode()))
    generator = np.random.Generator(np.random.Philox(seed))
    found = np.zeros(_PROJECTIONS)
    for start in range(0, values.size, 1 << 20):
        piece = values[start : start + (1 << 20)]
        signs = generator.integers(0, 2, (_PROJECTIONS, piece.size), np.int8)
        found += (2.0 * signs - 1.0) @ piece
    return np.asarray(found / math.sqrt(max(1, values.size)))


def some_of(values: Sequence[float], count: int) -> list[float]:
    """Return at most some of the values, evenly spaced."""
    if len(values) <= count:
        return list(values)
    places = np.linspace(0, len(values) - 1, count).astype(int)
    return [values[place] for place in places]


def read_tensor(found: Mapping[str, Any]) -> GoldenTensor:
    """Return a tensor as it was written to a file.

    Raises
    ------
    ValueError, TypeError, KeyError, OverflowError
        If the file does not hold such a tensor.
    """
    names = {field.name for field in dataclasses.fields(GoldenTensor)}
    if {*found} != names:
        raise ValueError("a tensor has other keys")
    texts = [found[key] for key in ("name", "layer_class", "dtype", "sha256")]
    counts = [found["nan"], *found["shape"]]
    if not all(isinstance(text, str) for text in texts) or not all(map(_is_count, counts)):
        raise ValueError("a tensor is described by values of other types")
    figures = found["figures"]
    if not isinstance(figures, dict) or {*figures} != {"mean", "std", "min", "max"}:
        raise ValueError("figures are missing")
    numbers = [*found["figures"].values(), *found["projections"], *found["values"]]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise ValueError("a figure is not a number")
    if not all(map(math.isfinite, (found["figures"]["min"], found["figures"]["max"]))):
        raise ValueError("a scale is not finite")  # everything would agree with it
    shape = tuple(found["shape"])
    held = min(MOST_VALUES, math.prod(shape))
    if len(found["projections"]) != _PROJECTIONS or len(found["values"]) > held:
        raise ValueError("a tensor has other numbers of values")
    return GoldenTensor(
        **{
            **found,
            "shape": shape,
            "figures": {name: float(value) for name, value in found["figures"].items()},
            "projections": tuple(map(float, found["projections"])),
            "values": tuple(map(float, found["values"])),
        }
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
