"""The bases of all reductions, which make an activation smaller before it leaves the graph.

A subclass of `OverPositions` or `OfFlattened` is a reduction, and its fields are its options.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

from runner.capture.arithmetic import Arithmetic
from runner.config.strict import Strict

# NumPy is imported where it is used, since a configuration is checked without it.


class Reduction(Strict):
    """What is done to an activation before it is stored."""

    order: ClassVar[int] = 100
    """Place among Runner's own reductions in lists."""
    example: ClassVar[str] = ""
    """Options in an example, where it does not stand for itself: ``16`` in ``projection:16``."""
    note: ClassVar[str] = ""
    """What else to know, in a few words."""

    @abstractmethod
    def reduced(self, tensor: Any, unit_axis: int, ops: Arithmetic, name: str) -> Any:
        """Return an activation, reduced.

        Parameters
        ----------
        tensor
            The activation, of shape (sample, *axes).
        unit_axis
            Index of the unit axis of a sample, from 0.
        ops
            The operations of its library.
        name
            Its name.
        """


class OverPositions(Reduction):
    """A reduction over every axis except the sample and unit axes, that is, over space or time."""

    @abstractmethod
    def compute(self, ops: Arithmetic, tensor: Any, positions: tuple[int, ...]) -> Any:
        """Return a tensor of shape (sample, unit).

        Parameters
        ----------
        ops
            The operations of the activation's library.
        tensor
            The activation, of shape (sample, *axes).
        positions
            The indices of the positions among its axes.
        """

    def reduced(self, tensor: Any, unit_axis: int, ops: Arithmetic, name: str) -> Any:  # noqa: ARG002
        """Return the reduced activation; one without positions is returned as it is."""
        axes = range(1, len(tensor.shape))
        positions = tuple(axis for axis in axes if axis != unit_axis + 1)
        return self.compute(ops, tensor, positions) if positions else tensor


class OfFlattened(Reduction):
    """A reduction of flattened samples, whose result has units of its own."""

    @abstractmethod
    def compute(self, ops: Arithmetic, flat: Any, name: str) -> Any:
        """Return a tensor of shape (sample, other unit).

        Parameters
        ----------
        ops
            The operations of the activation's library.
        flat
            The activation, of shape (sample, unit).
        name
            Its name.
        """

    def reduced(self, tensor: Any, unit_axis: int, ops: Arithmetic, name: str) -> Any:  # noqa: ARG002
        """Return the reduced activation."""
        flat = ops.reshape(tensor, (-1, math.prod(tensor.shape[1:])))
        return self.compute(ops, flat, name)
