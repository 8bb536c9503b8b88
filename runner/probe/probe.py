"""The probe: the inputs shown to a model, in batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from runner.errors import InputError, Problem, suggest
from runner.probe.exactness import KEEP_INTEGER, not_held, rounded, rounding
from runner.probe.sample_shapes import axis_advice, shape_text, shapes_fit, with_axis
from runner.tensors import InputSpec

SampleType = Literal["int64", "string"]

_KEEP_NAN = "set probe.allow_nan=true to keep it"


@dataclass(frozen=True)
class Batch:
    """A batch of samples.

    Attributes
    ----------
    samples
        Sample ids, shape (sample,): int64, or objects that are text.
    inputs
        Inputs of the model: an array of shape (sample, ...), or a mapping or sequence of
        arrays.
    labels
        Labels, shape (sample,): int64, or objects that are text; ``None`` without labels.
    targets
        Targets, shape (sample, ...); ``None`` without targets.
    """

    samples: np.ndarray
    inputs: Any
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> Batch:
        return self._each(lambda array: array[rows])

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Batch:
        return Batch(
            change(self.samples),
            each_input(self.inputs, change),
            None if self.labels is None else change(self.labels),
            None if self.targets is None else change(self.targets),
        )


@dataclass(frozen=True)
class Probe:
    """Inputs to show to a model, read in blocks; they need not fit into memory together.

    Attributes
    ----------
    source
        Description of the source in one line, for people.
    inputs
        Name, shape and dtype of each input.
    blocks
        Function that returns an iterator over all samples, in blocks of any size.
    rows
        Number of samples; ``None`` if unknown before reading to the end.
    sample_type
        Type of the sample ids.
    has_labels, has_targets
        Whether the samples have labels, and targets.
    columns
        Names of the entries of a single input that comes from a table.
    locate
        Function that returns the position of a row in a text file (``data.csv:7``).
    notes
        Parts of the source that are not shown, or not completely, for the record.
    integers
        Function that returns for each entry of a single input whether all samples had integers
        there before conversion to floats: floats may be rounded to the model's dtype, integers
        may not. ``None`` if the dtype of the array tells it.
    picture
        Height and width of the picture, if each sample is one vector of its pixels, row by
        row; ``None`` otherwise.
    """

    source: str
    inputs: tuple[InputSpec, ...]
    blocks: Callable[[], Iterator[Batch]]
    rows: int | None = None
    sample_type: SampleType = "int64"
    has_labels: bool = False
    has_targets: bool = False
    columns: tuple[str, ...] = ()
    locate: Callable[[int], str] | None = None
    notes: tuple[str, ...] = ()
    integers: Callable[[], Sequence[bool]] | None = None
    picture: tuple[int, int] | None = None

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all samples in batches of `size`; the last one may be smaller."""
        return grouped(self.blocks(), size)

    def fitted(
        self,
        expected: Sequence[InputSpec],
        *,
        allow_nan: bool,
        limits: Mapping[str, tuple[str, int]] | None = None,
    ) -> Probe:
        """Return the probe in the shapes and dtypes that a model expects.

        The first block is checked immediately, which is all of a probe in memory; further
        blocks are checked when they are read. Inputs in a sequence are matched by order, all
        others by name.

        Parameters
        ----------
        expected
            Inputs of the model; if empty (unknown), the data are used unchanged.
        allow_nan
            Whether NaN and infinity are allowed.
        limits
            Inputs that are indices of an embedding: by name, the layer and its number of
            indices.

        Raises
        ------
        InputError
            If names, shapes or values do not fit; names the row and column.
        """
        first = next((block for block in self.blocks() if len(block)), None)
        if first is None:
            raise InputError.of("probe", f"{self.source} has 0 rows", "give at least one sample")
        specs = tuple(expected) or self.inputs
        ordered = isinstance(first.inputs, (list, tuple))
        fit = _Fit(self, specs, allow_nan, limits or {}, ordered=ordered)
        fit.check_specs()

        def blocks() -> Iterator[Batch]:
            row = 0
            for block in self.blocks():
                yield fit.batch(block, row)
                row += len(block)

        shown = named_inputs(fit.batch(first, 0).inputs, specs)
        shapes = {name: array.shape[1:] for name, array in shown.items()}
        known = tuple(replace(spec, shape=shapes[spec.name]) for spec in specs)
        return replace(self, inputs=known, blocks=blocks)

    def mistake(
        self, row: int, message: str, advice: str = "", which: str = "", column: str = ""
    ) -> InputError:
        """Return the error about a value in a row; rows are counted from 0."""
        place, at = "probe", [which, f"row {row}", column]
        if self.locate is not None:
            place, at = self.locate(row), [which, column]
        where = ", ".join(filter(None, at))
        if self.locate is None:
            where = f"{self.source}: counted from 0, {where}"
        return InputError.of(place, f"{where}: {message}" if where else message, advice)


def each_input(inputs: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Return inputs of the same structure, with a function applied to every array."""
    if isinstance(inputs, Mapping):
        return {name: change(array) for name, array in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return [change(array) for array in inputs]
    return change(inputs)


def named_inputs(inputs: Any, specs: Sequence[InputSpec] = ()) -> dict[str, np.ndarray]:
    """Return the arrays of inputs by name; ``input0``... for a sequence without names."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if isinstance(inputs, (list, tuple)):
        names = [spec.name for spec in specs] or [f"input{place}" for place in range(len(inputs))]
        return dict(zip(names, inputs, strict=True))
    return {specs[0].name if specs else "input": inputs}


def is_text(array: np.ndarray) -> bool:
    """Return whether an array holds text rather than numbers."""
    return array.dtype.kind in "OSTU"


class _Fit:
    """Converts the batches of a probe to the inputs that a model expects."""

    def __init__(
        self,
        probe: Probe,
        specs: Sequence[InputSpec],
        allow_nan: bool,
        limits: Mapping[str, tuple[str, int]],
        *,
        ordered: bool,
    ) -> None:
        self._probe = probe
        self._limits = limits
        self._specs = specs
        self._allow_nan = allow_nan
        names = [spec.name for spec in probe.inputs]
        if len(specs) == len(names) and (ordered or len(names) == 1):
            wanted = [spec.name for spec in specs]
        elif len(specs) == 1 and specs[0].name not in names:
            # With several arrays, one named `x` is taken as the model's only input.
            wanted = [specs[0].name if name == "x" else name for name in names]
        else:
            wanted = names
        self._given = dict(zip(wanted, names, strict=True))

    def check_specs(self) -> None:
        problems = []
        specs = {spec.name: spec for spec in self._probe.inputs}
        found = {wanted: specs[given] for wanted, given in self._given.items()}
        for spec in self._specs:
            given = found.get(spec.name)
            if given is None:
                names = ", ".join(f"'{name}'" for name in found)
                problems.append(
                    Problem(
                        "probe",
                        f"has no input '{spec.name}', it has {names}",
                        suggest(spec.name, found),
                    )
                )
            elif not shapes_fit(given.shape or (1,), spec.shape or (1,)):
                problems.append(
                    Problem(
                        "probe",
                        f"{self._probe.source} has {shape_text(given.shape)} values a sample"
                        + (f" for '{spec.name}'" if len(self._specs) > 1 else "")
                        + f", the model expects {shape_text(spec.shape)}",
                        axis_advice(given, spec, self._probe.rows),
                    )
                )
        if problems:
            raise InputError(problems)
        unused = specs.keys() - {self._given[spec.name] for spec in self._specs}
        if unused:
            names = ", ".join(f"'{name}'" for name in specs if name in unused)
            said = f"{self._probe.source}: the model has no input {names}; left out"
            warnings.warn(said, UserWarning, stacklevel=3)

    def batch(self, block: Batch, row: int) -> Batch:
        arrays = named_inputs(block.inputs, self._probe.inputs)
        fitted = {
            spec.name: self._array(arrays[self._given[spec.name]], spec, row)
            for spec in self._specs
        }
        targets = block.targets
        if targets is not None and targets.dtype.kind == "f" and not self._allow_nan:
            self._refuse(~np.isfinite(targets), targets, row, _KEEP_NAN, "target")
        if len(fitted) == 1:
            return replace(block, inputs=next(iter(fitted.values())))
        if isinstance(block.inputs, (list, tuple)):
            return replace(block, inputs=list(fitted.values()))
        return replace(block, inputs=fitted)

    def _array(self, array: np.ndarray, spec: InputSpec, row: int) -> np.ndarray:
        array = with_axis(array, spec)
        self._check_shape(array, spec, row)
        if (spec.dtype == "string") != is_text(array):
            has, expected = ("text", "numbers") if is_text(array) else ("numbers", "text")
            raise InputError.of(
                "probe", f"{self._probe.source} has {has}, the model expects {expected}"
            )
        if is_text(array):
            return array.astype(object, copy=False)
        if array.dtype.name == "bfloat16":
            array = array.astype("float32")
        if array.dtype.kind not in "biuf":
            raise InputError.of(
                "probe", f"{self._probe.source} has {array.dtype}, the model expects {spec.dtype}"
            )
        cast = self._cast(array, spec, row)
        if spec.name in self._limits:  # Keras counts a negative index from the end
            layer, count = self._limits[spec.name]
            why = f"embedding '{layer}' takes 0 to {count - 1}"
            self._refuse((cast < 0) | (cast >= count), cast, row, why, self._which(spec))
        return cast

    def _cast(self, array: np.ndarray, spec: InputSpec, row: int) -> np.ndarray:
        """Return numbers in the dtype that the model expects, after checking that they fit."""
        which = self._which(spec)
        dtype = np.dtype(spec.dtype if spec.dtype != "bfloat16" else "float32")
        if array.dtype.kind == "f":
            if dtype.kind != "f":
                why = f"{spec.dtype} cannot hold it: give it a number"
                self._refuse(~np.isfinite(array), array, row, why, which)
            elif not self._allow_nan:
                self._refuse(~np.isfinite(array), array, row, _KEEP_NAN, which)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype, copy=False)
            if array.dtype.kind == dtype.kind == "f":
                # Rounding is expected in a narrower dtype; only overflow to infinity is an error.
                wrong = np.isinf(cast) & np.isfinite(array)
                why = f"it is too large for {spec.dtype}"
                self._refuse(wrong, array, row, why, which)
                wrong = rounded(array, cast, self._probe.integers)
                self._refuse(wrong, array, row, KEEP_INTEGER, which, cast)
            elif not np.can_cast(array.dtype, dtype):
                wrong = not_held(array, cast)
                if dtype.kind == "f":
                    self._refuse(wrong, array, row, KEEP_INTEGER, which, cast)
                why = f"the model expects {spec.dtype}"
                self._refuse(wrong, array, row, why, which)
        return cast

    def _check_shape(self, array: np.ndarray, spec: InputSpec, row: int) -> None:
        if not shapes_fit(array.shape[1:], spec.shape):
            message = (
                f"{shape_text(array.shape[1:])} values, the model expects {shape_text(spec.shape)}"
            )
            raise self._probe.mistake(row, message)

    def _which(self, spec: InputSpec) -> str:
        return f"input '{spec.name}'" if len(self._specs) > 1 else ""

    def _refuse(
        self,
        wrong: np.ndarray,
        array: np.ndarray,
        row: int,
        advice: str,
        which: str,
        held: np.ndarray | None = None,
    ) -> None:
        if not wrong.any():
            return
        place = tuple(map(int, np.unravel_index(wrong.argmax(), wrong.shape)))
        column = f"column {', '.join(map(str, place[1:]))}" if place[1:] else ""
        if self._probe.columns and len(place) == 2 and not which:
            column = f"column '{self._probe.columns[place[1]]}'"
        found = f"found {array[place]}"
        if held is not None:
            found = rounding(int(array[place]), held.dtype, held[place])
        raise self._probe.mistake(row + place[0], found, advice, which, column)


def grouped(blocks: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Yield the samples of blocks in batches of `size`; the last one may be smaller."""
    waiting: list[Batch] = []
    count = 0
    for block in blocks:
        if not len(block):
            continue
        waiting.append(block)
        count += len(block)
        if count < size:
            continue
        whole = _joined(waiting)
        for start in range(0, count - size + 1, size):
            yield whole[start : start + size]
        rest = count % size
        waiting = [whole[count - rest :]] if rest else []
        count = rest
    if count:
        yield _joined(waiting)


def _joined(blocks: list[Batch]) -> Batch:
    if len(blocks) == 1:
        return blocks[0]

    def joined(arrays: Iterable[Any]) -> np.ndarray:
        return np.concatenate(list(arrays))

    first = blocks[0]
    inputs: Any
    if isinstance(first.inputs, Mapping):
        inputs = {name: joined(block.inputs[name] for block in blocks) for name in first.inputs}
    elif isinstance(first.inputs, (list, tuple)):
        inputs = [
            joined(block.inputs[place] for block in blocks) for place in range(len(first.inputs))
        ]
    else:
        inputs = joined(block.inputs for block in blocks)
    return Batch(
        joined(block.samples for block in blocks),
        inputs,
        None if first.labels is None else joined(block.labels for block in blocks),
        None if first.targets is None else joined(block.targets for block in blocks),
    )
