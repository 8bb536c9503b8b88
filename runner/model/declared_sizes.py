"""Limits of what the layers of a model declare: weights, outputs, and the drawing of weights.

They are checked when layers are made and infer the shapes of their outputs, before memory is
allocated.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras

from runner.errors import InputError
from runner.model.keras_internals import watching_new_variables, watching_symbolic_calls
from runner.model.model_archive import allowance
from runner.sizes import machine_memory, readable

# Bytes per value; 4 for other dtypes, as for float32.
_WIDTHS = {
    "float64": 8, "int64": 8, "uint64": 8, "complex64": 8, "float16": 2, "bfloat16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip

_LONGEST_AXIS = 2**31 - 1
"""TensorFlow computes lengths of axes with 32 bits in places, and longer ones wrap around."""

_STEPS = 2e12
"""Steps of arithmetic of all orthogonal initial weights: about a minute of two cores."""


_UNCOUNTED_BYTES, _UNCOUNTED_STEPS = 2**30, 5e10
"""Weights, and steps of arithmetic, from which on a model is first counted as a whole."""


class UncountedError(Exception):
    """The weights of a model are so large that they are counted before the first is drawn."""


@contextlib.contextmanager
def within_memory(*, quick: bool, counted: bool) -> Iterator[None]:
    """Refuse models whose layers declare more than this machine has memory.

    Parameters
    ----------
    quick
        Whether to refuse initial weights that take minutes to draw, too.
    counted
        Whether large weights are accepted as they are made: `counting` was used before.

    Raises
    ------
    InputError
        If weights, or one output for one sample, are larger, or TensorFlow cannot count them.
    UncountedError
        If the weights are large, and not counted.
    """
    refusals = _Refusals("")
    with refusals.kept(), _watched(refusals, quick, counted):
        yield


@contextlib.contextmanager
def counting(*, quick: bool) -> Iterator[None]:
    """Refuse as `within_memory` does, but make no weights, so that all are counted before.

    Any other error ends the scope early and silently: layers may read weights while they are
    built, which have no values here.
    """
    refusals = _Refusals("")
    with keras.StatelessScope(initialize_variables=False), refusals.kept():
        try:
            with _watched(refusals, quick, counted=True):
                yield
        except Exception:
            if refusals.first is not None:
                raise


@contextlib.contextmanager
def _watched(refusals: _Refusals, quick: bool, counted: bool) -> Iterator[None]:
    """Count the weights and outputs that layers declare inside the scope."""
    memory = machine_memory() or math.inf
    whole = f"this machine has {readable(memory)} of memory"
    weights = _Weights(memory, whole, refusals, _STEPS if quick else math.inf, counted)

    def check(operation: Any, outputs: Any) -> None:
        for tensor in keras.tree.flatten(outputs):
            axes = [axis for axis in getattr(tensor, "shape", ()) if axis is not None]
            if any(axis > _LONGEST_AXIS for axis in axes):
                refusals.refuse(
                    f"'{operation.name}' makes a tensor with an axis of {max(axes):,}, the limit "
                    f"is {_LONGEST_AXIS:,}"
                )
            if (size := math.prod(axes) * _width(tensor.dtype)) > memory:
                refusals.refuse(
                    f"{whole}, and '{operation.name}' makes a tensor of {readable(size)} for one "
                    "sample"
                )

    with watching_new_variables(weights.count), watching_symbolic_calls(check):
        yield


@contextlib.contextmanager
def within_file(path: Path, place: str) -> Iterator[None]:
    """Refuse models whose layers declare far more weights than the file that they come from.

    Initial weights that take minutes to draw are left out: those of the file replace them.

    Raises
    ------
    InputError
        At the key `place`, if they do.
    """
    refusals = _Refusals(place)
    whole = f"{path} has {readable(path.stat().st_size)}"
    weights = _Weights(allowance(path), whole, refusals)

    def count(variable: Any, initializer: Any, shape: Any, dtype: Any) -> Any:
        weights.count(variable, initializer, shape, dtype)
        return keras.initializers.Zeros() if _is_orthogonal(initializer) else None

    with refusals.kept(), watching_new_variables(count):
        yield


class _Refusals:
    """The first refusal of a model: Keras may wrap or suppress it, so it is raised at the end."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.first: InputError | UncountedError | None = None

    def refuse(self, message: str, advice: str = "") -> NoReturn:
        self.first = self.first or InputError.of(self._place, message, advice)
        raise ValueError(f"{message}; {advice}" if advice else message)

    def interrupt(self) -> NoReturn:
        self.first = self.first or UncountedError()
        raise self.first

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = isinstance(error, InputError) and isinstance(self.first, InputError)
            if self.first is not None and not told:
                raise self.first from None
            raise
        if self.first is not None:
            raise self.first


class _Weights:
    """The weights that layers have declared so far, counted before they are allocated.

    Parameters
    ----------
    limit, whole
        Maximum size in bytes, and what it comes from: ``m.keras has 3.0 kB``.
    refusals
        Refuses more.
    steps
        Maximum number of steps of arithmetic to draw them.
    counted
        Whether they may be large.
    """

    def __init__(
        self,
        limit: float,
        whole: str,
        refusals: _Refusals,
        steps: float = math.inf,
        counted: bool = True,
    ) -> None:
        self._is_counted = counted
        self._limit, self._whole, self._refusals, self._most_steps = limit, whole, refusals, steps
        self._bytes, self._steps = 0, 0

    def count(self, _: Any, initializer: Any, shape: Any, dtype: Any) -> None:
        """Count a weight that is about to be made."""
        if shape is None:
            return
        axes = [int(axis) for axis in shape]
        self._bytes += _width(dtype) * math.prod(axes)
        if self._bytes > self._limit:
            self._refusals.refuse(
                f"{self._whole}, its layers declare weights of {readable(self._bytes)}"
            )
        if _is_orthogonal(initializer) and axes:
            short, long = sorted((math.prod(axes[:-1]), axes[-1]))
            self._steps += 4 * long * short**2  # a QR decomposition
        if self._steps > self._most_steps:
            self._refusals.refuse(
                f"orthogonal initial weights of {short:,} x {long:,} take minutes to draw",
                "choose another initializer, such as glorot_uniform (in recurrent layers: "
                "recurrent_initializer)",
            )
        if not self._is_counted and (
            self._bytes > _UNCOUNTED_BYTES or self._steps > _UNCOUNTED_STEPS
        ):
            self._refusals.interrupt()


def _width(dtype: Any) -> int:
    return _WIDTHS.get(str(dtype), 4)


def _is_orthogonal(initializer: Any) -> bool:
    return isinstance(initializer, keras.initializers.Orthogonal)
