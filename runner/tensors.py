"""Names, shapes and other descriptions of tensors, without their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner.bounds import AxisName, Count, InputType, Items, Name, OpenShape, Shape, StoredType

Kind = Literal["activation", "weight", "pre_activation", "input", "gradient"]

OnNan = Literal["keep", "warn", "fail"]

Invariance = Literal["bitwise", "rounding", "none"]
"""The comparison of a sample's values with those in other batches."""


@dataclass(frozen=True)
class KindFacts:
    """What is known of a kind of tensors.

    Attributes
    ----------
    folder
        Folder of their tables in a run.
    about
        What they are, for the documentation.
    lacking
        Why a layer that was called has none, for the kinds that are not returned by every layer.
    per_sample
        Whether they have one row per sample.
    """

    folder: str
    about: str
    lacking: str = ""
    per_sample: bool = True


KINDS: dict[Kind, KindFacts] = {
    "activation": KindFacts("activations", "outputs of layers"),
    "weight": KindFacts("weights", "weights of layers", per_sample=False),
    "pre_activation": KindFacts(
        "pre_activations",
        "inputs of activation functions",
        "its output is not the result of an activation function",
    ),
    "input": KindFacts("inputs", "inputs of layers", "it was called without a tensor"),
    "gradient": KindFacts(
        "gradients",
        "gradients of each sample's loss",
        "no gradient: it runs inside a loop",
    ),
}
PER_SAMPLE: frozenset[Kind] = frozenset(kind for kind, facts in KINDS.items() if facts.per_sample)


@dataclass(frozen=True)
class InputSpec:
    """One input of a model, or one column group of a probe.

    Attributes
    ----------
    name
        Name of the input; ``input`` if a model has a single unnamed one.
    shape
        Shape of one sample (no sample axis); ``None`` for an axis of any length.
    dtype
        NumPy's name of the dtype.
    """

    name: Name
    shape: OpenShape
    dtype: InputType = "float32"


@dataclass(frozen=True)
class TensorSpec:
    """One captured tensor: everything about its table except the values.

    Attributes
    ----------
    name
        Call path, with ``@k`` if the layer is called more than once and ``:key`` for one part
        of a structured output; for a weight, its layer's path and the weight's name
        (``hidden/kernel``). Unique within a kind.
    kind
        Kind of the tensor, which determines the folder of its table.
    layer_path
        Path of the layer through its parents (``encoder/dense``).
    layer_class
        Name of the layer's class.
    call
        Index of the call of the layer, from 0; ``None`` for a weight.
    output
        Key of the part of a structured output (``0``, ``state``); ``None`` for a plain one.
    shape
        Shape of one sample; for a weight, its whole shape.
    dtype
        NumPy's name of the dtype in memory (``bfloat16`` included).
    order
        Position of the layer among the calls of the model, from 0; numbers the file.
    reduction
        Reduction applied before the tensor was stored (``mean``...), or ``None``.
    axes
        Name of each axis of `shape`: ``height``, ``width``, ``depth``, ``time``, ``position``,
        ``channel``, ``unit``, ``head``, ``query``, ``key``, or ``i0``, ``i1``... for an unknown
        axis; ``None`` if no axis is known.
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
    axes: Items[AxisName] | None = None

    @property
    def unit_axis(self) -> int:
        """Index of the unit or channel axis of `shape`; the last axis if there is none."""
        return unit_axis_of(self.axes, len(self.shape))

    @property
    def position_axis(self) -> int | None:
        """Index of the axis of `shape` along which the positions of a sequence lie, if it has one.

        Without names of the axes, it is the other one of two.
        """
        if self.axes is None:
            return 1 - self.unit_axis if len(self.shape) == 2 else None
        return next((at for at, name in enumerate(self.axes) if name in _SEQUENCE), None)

    @property
    def units(self) -> int:
        """Number of entries of the unit axis; 1 for a single number."""
        return self.shape[self.unit_axis] if self.shape else 1

    @property
    def axis_names(self) -> tuple[str, ...]:
        """A name for each axis of `shape`: those of `axes`, or ``i0``, ``i1``..."""
        return self.axes or tuple(f"i{axis}" for axis in range(len(self.shape)))

    @property
    def per_sample(self) -> bool:
        """Whether the tensor has one row per sample."""
        return KINDS[self.kind].per_sample


_SEQUENCE = ("position", "time", "query")


def unit_axis_of(axes: tuple[str, ...] | None, rank: int) -> int:
    """Return the index of a sample's unit axis, from 0; 0 for a single number."""
    for name in ("channel", "unit"):
        if axes and name in axes:
            return axes.index(name)
    return max(0, rank - 1)


@dataclass(frozen=True)
class LeftOut:
    """A requested tensor that cannot be captured.

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


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape as text: ``28 x 28 x 1``."""
    return " x ".join("any" if axis is None else str(axis) for axis in shape) or "1"
