"""Measures whether a sample's values depend on the other samples of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np

from runner.capture.batches import Shown, full_size, rounded_up
from runner.capture.capture import Capture
from runner.errors import RunError
from runner.tensors import Invariance, TensorSpec

# Number of bytes compared at a time.
_BLOCK = 2**18


@dataclass(frozen=True)
class Findings:
    """The comparison of the values of samples shown in other batches.

    Attributes
    ----------
    invariance
        For every tensor with one row per sample: whether its values were bit-for-bit
        identical, equal except for rounding, or different. ``None`` where they differ each
        time that the same batch is shown, because they are random or counted.
    reasons
        Tensors without a row per sample, each with the reason why it has no table.
    sizes
        The sizes of the compared batches.
    any_size
        Whether the model accepts batches of any size.
    mixed_by
        Name of the first tensor whose values depend on the other samples of a batch.
    """

    invariance: dict[TensorSpec, Invariance | None]
    reasons: dict[TensorSpec, str]
    sizes: tuple[int, ...]
    any_size: bool
    mixed_by: str | None

    def of_smaller(
        self, capture: Capture, before: dict[TensorSpec, np.ndarray], size: int
    ) -> Findings:
        """Return the findings for a smaller first batch than the one that was compared.

        Parameters
        ----------
        capture
            The model, after the smaller batch, which holds the first samples of the other one.
        before
            The values of all tensors for the other batch.
        size
            The size of the other batch.
        """
        values = {(spec.kind, spec.name): (spec, array) for spec, array in before.items()}
        verdicts: dict[TensorSpec, Invariance | None] = {}
        for spec, array in zip(capture.tensors, capture.first, strict=True):
            other, filled = values[spec.kind, spec.name]
            verdict = self.invariance[other]
            if verdict is not None and verdict != "none":
                verdict = _worst([verdict, _agreement(filled, np.arange(len(array)), array)])
            verdicts[spec] = verdict
        return replace(self, invariance=verdicts, sizes=(size, *self.sizes))


@dataclass
class Comparison:
    """Shows the samples of the first batch in another order, and compares their values.

    One half of the samples is shown, and then the other half, so that each sample is seen
    without those that it was first shown with. Both halves are in an arbitrary order, with
    samples repeated if that is needed to fill a batch.

    Parameters
    ----------
    capture
        The model, after the first batch.
    batch
        The first batch, as it was shown.
    samples
        The number of its samples without those that were added to fill it.
    more
        Whether more batches follow it.
    fixed
        Whether the model accepts only batches of its size.
    """

    capture: Capture
    batch: Shown
    samples: int
    more: bool
    fixed: bool = False
    _verdicts: dict[TensorSpec, Invariance] = field(default_factory=dict)
    _reasons: dict[TensorSpec, str] = field(default_factory=dict)
    _last: Any = None

    def __post_init__(self) -> None:
        self._count = self.batch.samples
        order = np.random.default_rng(0).permutation(self.samples)
        half = (self.samples + 1) // 2
        self._halves = [part for part in (order[:half], order[half:]) if len(part)]

    def findings(self) -> Findings:
        """Show the batches, and return the findings. The capture's state is then restored."""
        capture = self.capture
        try:
            sizes = self._shown()
        except RunError:  # which layers are called depends on the rest of the batch
            everything: dict[TensorSpec, Invariance | None] = dict.fromkeys(capture.tensors, "none")
            name = capture.library.name_of(capture.model)
            return Findings(everything, {}, (self._count,), any_size=False, mixed_by=name)
        verdicts: dict[TensorSpec, Invariance | None] = {
            spec: self._verdicts.get(spec, "bitwise")
            for spec in capture.tensors
            if spec not in self._reasons
        }
        if capture.carries_state or (capture.varies and "none" in verdicts.values()):
            verdicts |= dict.fromkeys(self._unsteady())
        names = [spec.name for spec, verdict in verdicts.items() if verdict == "none"]
        return Findings(
            verdicts,
            self._reasons,
            sizes,
            any_size=not self.fixed,
            mixed_by=names[0] if names else None,
        )

    def _shown(self) -> tuple[int, ...]:
        """Show the batches, and return their sizes."""
        try:
            return self._show(self._sizes())
        except RunError:
            if self.fixed:
                raise
        self.fixed = True  # its code fixes the batch size
        self._verdicts, self._reasons = {}, {}
        return self._show(self._sizes())

    def _sizes(self) -> list[int]:
        if self.fixed:
            return [self._count] * len(self._halves)
        cost, lanes = self.capture.cost, self.capture.library.lanes()
        sizes: list[int] = []
        for part in self._halves:
            wide = rounded_up(len(part), lanes)
            if full_size(len(part), cost, lanes) != wide:  # too slow: repeat only the first half
                wide = len(part) if sizes else 2 * len(part)
            sizes.append(wide)
        if all(size == self._count for size in sizes):
            sizes[0] = rounded_up(self._count + 1, lanes)
        return sizes

    def _show(self, sizes: list[int]) -> tuple[int, ...]:
        with self.capture.aside():
            for part, size in zip(self._halves, sizes, strict=True):
                samples = np.resize(part, size)
                self.capture.rewind()
                batch = self.batch.taken(samples)
                arrays = self.capture.once_more(batch)
                for place, spec in enumerate(self.capture.tensors):
                    self._compare(spec, self.capture.first[place], samples, arrays[place])
        self._last = batch, arrays
        return tuple(sizes)

    def _compare(
        self, spec: TensorSpec, before: np.ndarray, samples: np.ndarray, array: np.ndarray
    ) -> None:
        if spec in self._reasons:
            return
        if len(array) != len(samples):
            rows = (
                f"its output has shape {before.shape}, however many samples are shown"
                if array.shape == before.shape
                else "the number of its rows depends on the samples"
            )
            self._reasons[spec] = f"no sample axis: {rows}"
        elif array.shape[1:] != before.shape[1:]:
            self._verdicts[spec] = "none"
            if self.more:
                self._reasons[spec] = (
                    f"no table: the shape of a sample, {before.shape[1:]}, depends on the "
                    "batch size"
                )
        else:
            found = _agreement(before, samples, array)
            if found == "none" and _stays(before, array):
                self._reasons[spec] = (
                    "no sample axis: its rows stay in place when the samples are reordered"
                )
            self._verdicts[spec] = _worst([found, self._verdicts.get(spec, "bitwise")])

    def _unsteady(self) -> list[TensorSpec]:
        """Return the tensors that differ each time that the same batch is shown."""
        capture = self.capture
        batch, arrays = self._last  # the smaller one
        with capture.aside():
            again = capture.once_more(batch)
            return [
                spec
                for spec, before, array in zip(capture.tensors, arrays, again, strict=True)
                if spec not in self._reasons and not alike(before, array)
            ]


def _worst(found: Any) -> Invariance:
    order: tuple[Invariance, ...] = ("bitwise", "rounding", "none")
    return max(found, key=order.index, default="bitwise")


def _agreement(before: np.ndarray, samples: np.ndarray, array: np.ndarray) -> Invariance:
    """Compare the rows of an array with the earlier rows of the same samples."""
    scale: float | None = None
    for earlier, later in _blocks(before, samples, array):
        if not np.array_equal(_bits(earlier), _bits(later)):
            scale = _scale(array) if scale is None else scale
            if not _close(earlier, later, scale):
                return "none"
    return "bitwise" if scale is None else "rounding"


def _blocks(
    before: np.ndarray, samples: np.ndarray, array: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield both arrays in pieces that fit into the processor's cache."""
    flat, other = before.reshape(len(before), -1), array.reshape(len(array), -1)
    rows = _BLOCK // max(1, flat[:1].nbytes)
    if rows > 1:
        for row in range(0, len(samples), rows):
            yield flat[samples[row : row + rows]], other[row : row + rows]
        return
    entries = _BLOCK // flat.itemsize
    for row, sample in enumerate(samples):
        for entry in range(0, flat.shape[1], entries):
            part = slice(entry, entry + entries)
            yield flat[sample, part], other[row, part]


def _bits(array: np.ndarray) -> np.ndarray:
    """Return the bits of values as integers, so that every NaN equals itself."""
    return array.view(f"u{min(array.itemsize, 8)}")


def _stays(before: np.ndarray, array: np.ndarray) -> bool:
    count = min(len(before), len(array))
    return alike(before[:count], array[:count])


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays are equal except for accumulated rounding errors.

    Floating-point values may differ by the square root of the precision of their dtype,
    relative to themselves and to the largest value.
    """
    return one.shape == other.shape and _close(one, other, _scale(one))


def _close(one: np.ndarray, other: np.ndarray, scale: float) -> bool:
    if one.dtype.kind in "biu":
        return np.array_equal(one, other)
    one, other = _parts(one), _parts(other)
    tolerance = float(ml_dtypes.finfo(one.dtype).eps) ** 0.5  # type: ignore[no-untyped-call]
    with np.errstate(invalid="ignore", over="ignore"):
        difference = _largest(one - other)
    if np.isfinite(difference):  # no value is NaN or infinite: one look may be enough
        if difference <= tolerance * scale:
            return True
        if difference > tolerance * (scale + _largest(other)):
            return False
    x, y = one.astype("float64"), other.astype("float64")
    return np.allclose(x, y, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _scale(array: np.ndarray) -> float:
    """Return the largest absolute value that is finite; 0 for integers and booleans."""
    if array.dtype.kind in "biu":
        return 0.0
    values = _parts(array)
    largest = _largest(values)
    return largest if np.isfinite(largest) else _largest(values[np.isfinite(values)])


def _largest(array: np.ndarray) -> float:
    """Return the largest absolute value; NaN if there is one."""
    with np.errstate(invalid="ignore"):  # signalled for NaN in bfloat16
        return float(np.maximum(array.max(initial=0), -array.min(initial=0)))


def _parts(array: np.ndarray) -> np.ndarray:
    """Return complex numbers as pairs of real numbers, and others as they are."""
    return np.atleast_1d(array).view(array.real.dtype) if array.dtype.kind == "c" else array
