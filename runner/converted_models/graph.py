"""A model in a file of another runtime: a graph of operations on named tensors."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runner.engines.settings import Backend
from runner.errors import InputError, one_line
from runner.tensors import InputSpec

Key = int | str
"""How a runtime identifies a tensor of a graph."""


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: ``scale * (integer - zero_point)``.

    Attributes
    ----------
    scale, zero_point
        Of shape (channel,), or (1,) for all channels together.
    axis
        The axis of the channels.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether integers of a shape have as many channels as there are scales."""
        channels = 1 if self.scale.size == 1 else shape[self.axis :][:1] == (self.scale.size,)
        return bool(channels) and self.zero_point.size in (1, self.scale.size)

    def dequantized(self, integers: np.ndarray) -> np.ndarray:
        """Return the real numbers in float32."""
        along = [1] * integers.ndim
        if self.scale.size > 1:
            along[self.axis] = -1
        scale = self.scale.astype(np.float32).reshape(along)
        zero_point = self.zero_point.astype(np.int64).reshape(along)
        differences = (integers.astype(np.int64) - zero_point).astype(np.float32)
        return np.asarray(differences * scale)

    def quantized(self, values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
        """Return the nearest integers of real numbers, within the range of their dtype."""
        limits = np.iinfo(dtype)
        integers = np.rint(values / self.scale[0]) + self.zero_point[0]
        return np.asarray(integers.clip(limits.min, limits.max).astype(dtype))


@dataclass(frozen=True, eq=False)
class Constant:
    """A weight in a model's file, as real numbers."""

    value: np.ndarray


@dataclass(eq=False)
class Operation:
    """One operation of a graph; its class has the name of its kind.

    Attributes
    ----------
    path
        Its name, unique in the graph.
    inputs
        Name of each argument that is not a constant, with its tensor.
    outputs
        The tensors that it returns.
    weights
        Name of each constant that counts as a weight, with its value.
    arguments
        Its attributes and small constants, as they are recorded.
    """

    path: str
    inputs: Sequence[tuple[str, Key]]
    outputs: Sequence[Key]
    weights: Sequence[tuple[str, Constant]]
    arguments: dict[str, Any] = field(default_factory=dict)


@functools.cache
def kind(name: str) -> type[Operation]:
    """Return the class of operations of a kind, such as ``CONV_2D``."""
    return type(one_line(name), (Operation,), {})


class ConvertedModel(ABC):
    """A model in a file of another runtime.

    Attributes
    ----------
    path : Path
        The file.
    inputs : dict[Key, InputSpec]
        Its inputs, in order.
    batch_size : int or None
        The batch size that they require.
    operations : list[Operation]
        Its operations, in the order in which they are computed.
    outputs : list[Key]
        The tensors that it returns.
    inside : list[tuple[str, str, str]]
        Path and class of each operation inside another, and why it has no tables.
    channels_first : bool
        Whether the channels of feature maps come first.
    of_maps : tuple[str, ...]
        The kinds of operations that take or return feature maps.
    of_units : tuple[str, ...]
        The kinds of operations whose outputs have units along the last axis.
    """

    channels_first = False
    of_maps: tuple[str, ...] = ()
    of_units: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs: dict[Key, InputSpec] = {}
        self.batch_size: int | None = None
        self.operations: list[Operation] = []
        self.outputs: list[Key] = []
        self.inside: list[tuple[str, str, str]] = []

    def check_inputs(self) -> None:
        """Check that the model has inputs, raise InputError otherwise."""
        if not self.inputs:
            raise InputError.of(
                "model.path", f"{self.path} has no inputs, and no samples can be shown to it"
            )

    @abstractmethod
    def compute(
        self,
        inputs: Sequence[np.ndarray],
        wanted: Collection[Key],
        given: Mapping[Key, np.ndarray] | None = None,
    ) -> Mapping[Key, np.ndarray]:
        """Return the values of tensors, as real numbers, without rewriting the graph.

        Parameters
        ----------
        inputs
            One array for each of `inputs`, of shape (sample, ...).
        wanted
            The tensors.
        given
            Real numbers that operations read in place of the outputs of other operations. A tensor
            that the runtime cannot take from an array is read as it was computed.
        """

    @abstractmethod
    def deployed(self, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray | None]:
        """Return the model's outputs as the runtime computes them by default.

        One that it returns only as integers or not at all is ``None``.
        """

    def unrounded(self) -> ConvertedModel | None:
        """Return the model with real numbers in place of its integers.

        It has the same operations, and the weights of the file, but no activation is rounded to
        an integer. It is ``None`` if the model has no integers that stand for real numbers.

        Raises
        ------
        InputError
            If its runtime does not have its operations on real numbers.
        """
        return None

    @abstractmethod
    def read_backend(self) -> Backend:
        """Return the runtime and its settings."""


def unique(name: str, taken: dict[str, int]) -> str:
    """Return a name that no other operation has: ``:0`` at its end is left out.

    Parameters
    ----------
    name
        The name in the file, which others may have, too.
    taken
        The names so far, each with the last number that was put behind it.
    """
    name = name.removesuffix(":0").replace(":", "_").replace("@", "_").strip("/")
    name = name if name and name.isprintable() else "operation"
    found = name
    while found in taken:
        taken[name] += 1
        found = f"{name}_{taken[name]}"
    taken[found] = 1
    return found
