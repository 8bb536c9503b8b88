"""What a tensor is called and looks like, without its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.bounds import Count, InputType, Name, OpenShape, Shape, StoredType

Kind = Literal["activation", "weight", "pre_activation", "input", "gradient"]

OnNan = Literal["keep", "warn", "fail"]

Invariance = Literal["bitwise", "rounding", "none"]
"""How a sample's values compare with those that it has in other batches."""

FOLDERS: dict[Kind, str] = {
    "activation": "activations",
    "weight": "weights",
    "pre_activation": "pre_activations",
    "input": "inputs",
    "gradient": "gradients",
}


@dataclass(frozen=True)
class InputSpec:
    """One input of a model, or one column group of a probe.

    Attributes
    ----------
    name
        The input's name; ``input`` where a model has a single unnamed one.
    shape
        Axes of one sample (no sample axis); ``None`` for an axis of any length.
    dtype
        NumPy's name of the element type.
    """

    name: Name
    shape: OpenShape
    dtype: InputType = "float32"


@dataclass(frozen=True)
class TensorSpec:
    """One captured tensor: everything a table needs to know before the values come.

    Attributes
    ----------
    name
        Call path, with ``@k`` where the layer is called more than once and
        ``:key`` for one part of a structured output; for a weight, its layer's
        path and the weight's name (``hidden/kernel``). Unique within a kind.
    kind
        What it is; decides the folder of its table.
    layer_path
        Path of the layer through its parents (``encoder/dense``).
    layer_class
        Name of the layer's class.
    call
        Which call of the layer, counted from 0; ``None`` for a weight.
    output
        Which part of a structured output (``0``, ``state``); ``None`` for a plain one.
    shape
        Axes of one sample; for a weight, all of its axes.
    dtype
        NumPy's name of the element type as stored in memory (``bfloat16`` included).
    order
        Position of the layer among the calls of the model, from 0; numbers the file.
    reduction
        How the tensor was reduced before it was stored (``mean``...), or ``None``.
    axes
        What each axis of `shape` is: ``height``, ``width``, ``depth``, ``time``, ``position``,
        ``channel``, ``unit``, ``head``, ``query``, ``key``, or ``i0``, ``i1``... where that is
        not known; ``None`` where nothing is.
    """

    name: Name
    kind: Kind
    layer_path: str
    layer_class: str
    call: Count | None
    output: str | None
    shape: Shape
    dtype: StoredType
    order: Count
    reduction: str | None = None
    axes: tuple[str, ...] | None = None

    @property
    def unit_axis(self) -> int:
        """Which axis of `shape` numbers the units: channels or units, the last if none is so."""
        return unit_axis_of(self.axes, len(self.shape))

    @property
    def axis_names(self) -> tuple[str, ...]:
        """A name for each axis of `shape`: those of `axes`, or ``i0``, ``i1``..."""
        return self.axes or tuple(f"i{axis}" for axis in range(len(self.shape)))

    @property
    def per_sample(self) -> bool:
        """Whether the tensor has a row per sample (all but weights)."""
        return self.kind != "weight"


def unit_axis_of(axes: tuple[str, ...] | None, rank: int) -> int:
    """Return which of a sample's axes numbers its units, from 0; 0 for a single number."""
    for name in ("channel", "unit"):
        if axes and name in axes:
            return axes.index(name)
    return max(0, rank - 1)


@dataclass(frozen=True)
class LeftOut:
    """A tensor that was asked for and cannot be captured.

    Attributes
    ----------
    name, kind
        As in `TensorSpec`.
    reason
        Why it has no table.
    """

    name: str
    kind: Kind
    reason: str
