"""The fit of a probe to a model: names, shapes and dtypes of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from runner.caller_warnings import warn_caller
from runner.errors import InputError, Problem, suggest
from runner.probe.batch import Batch, is_text, named_inputs
from runner.probe.exactness import KEEP_INTEGER, not_held, rounded, rounding
from runner.probe.probe import Probe
from runner.probe.sample_shapes import axis_advice, shapes_fit, with_axis
from runner.tensors import InputSpec, shape_text

_KEEP_NAN = "set probe.allow_nan=true to keep it"


def fit_to_model(
    probe: Probe,
    expected: Sequence[InputSpec],
    *,
    allow_nan: bool,
    limits: Mapping[str, tuple[str, int]] | None = None,
) -> Probe:
    """Return a probe in the shapes and dtypes that a model expects.

    The first block is checked immediately, which is all of a probe in memory; further
    blocks are checked when they are read. Inputs in a sequence are matched by order, all
    others by name.

    Parameters
    ----------
    probe
        The probe, as read from its source.
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
    first = next((block for block in probe.blocks() if len(block)), None)
    if first is None:
        raise InputError.of("probe", f"{probe.source} has 0 rows", "give at least one sample")
    specs = tuple(expected) or probe.inputs
    ordered = isinstance(first.inputs, (list, tuple))
    fit = _Fit(probe, specs, allow_nan, limits or {}, ordered=ordered)
    fit.check_specs()

    def blocks(row: int = 0) -> Iterator[Batch]:
        for block in probe.blocks_from(row):
            yield fit.batch(block, row)
            row += len(block)

    shown = named_inputs(fit.batch(first, 0).inputs, specs)
    shapes = {name: array.shape[1:] for name, array in shown.items()}
    inputs = tuple(replace(spec, shape=shapes[spec.name]) for spec in specs)
    return replace(probe, inputs=inputs, blocks=blocks, seek=blocks)


def check_numbers(probe: Probe, expected: Sequence[InputSpec]) -> Probe:
    """Return a probe in its own shapes and dtypes, whose numbers the model's inputs can hold.

    Parameters
    ----------
    probe, expected
        As in `fit_to_model`.

    Raises
    ------
    InputError
        During reading, for a complex number, or one that overflows in the dtype of the model.
    """
    named = {spec.name for spec in probe.inputs} == {spec.name for spec in expected}
    fit = _Fit(probe, expected, allow_nan=True, limits={}, ordered=not named)

    def blocks(row: int = 0) -> Iterator[Batch]:
        for block in probe.blocks_from(row):
            fit.check_numbers(block, row)
            yield block
            row += len(block)

    return replace(probe, blocks=blocks, seek=blocks)


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
        available = {wanted: specs[name] for wanted, name in self._given.items()}
        for spec in self._specs:
            source = available.get(spec.name)
            if source is None:
                names = ", ".join(f"'{name}'" for name in available)
                problems.append(
                    Problem(
                        "probe",
                        f"has no input '{spec.name}', it has {names}",
                        suggest(spec.name, available),
                    )
                )
            elif not shapes_fit(source.shape or (1,), spec.shape or (1,)):
                problems.append(
                    Problem(
                        "probe",
                        f"{self._probe.source} has {shape_text(source.shape)} values a sample"
                        + (f" for '{spec.name}'" if len(self._specs) > 1 else "")
                        + f", the model expects {shape_text(spec.shape)}",
                        axis_advice(source, spec, self._probe.rows),
                    )
                )
        if problems:
            raise InputError(problems)
        unused = specs.keys() - {self._given[spec.name] for spec in self._specs}
        if unused:
            names = ", ".join(f"'{name}'" for name in specs if name in unused)
            said = f"{self._probe.source}: the model has no input {names}; left out"
            warn_caller(said)

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

    def check_numbers(self, block: Batch, row: int) -> None:
        arrays = named_inputs(block.inputs, self._probe.inputs)
        for spec in self._specs:
            array = arrays.get(self._given.get(spec.name, ""))
            if array is not None and array.dtype.kind == "c":
                self._check_kind(array, spec)
            elif array is not None and array.dtype.kind == "f" and "float" in spec.dtype:
                self._check_overflow(array, self._narrowed(array, spec), spec, row)

    def _check_kind(self, array: np.ndarray, spec: InputSpec) -> None:
        if array.dtype.kind not in "biuf" and array.dtype.name != spec.dtype:
            raise InputError.of(
                "probe", f"{self._probe.source} has {array.dtype}, the model expects {spec.dtype}"
            )

    def _narrowed(self, array: np.ndarray, spec: InputSpec) -> np.ndarray:
        """Return numbers in the dtype that the model expects; bfloat16 as float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(spec.dtype.replace("bfloat16", "float32"), copy=False)

    def _check_overflow(
        self, array: np.ndarray, cast: np.ndarray, spec: InputSpec, row: int
    ) -> None:
        if array.dtype == cast.dtype:
            return
        # Rounding is expected in a narrower dtype; only overflow to infinity is an error.
        wrong = np.isinf(cast) & np.isfinite(array)
        self._refuse(wrong, array, row, f"it is too large for {spec.dtype}", self._which(spec))

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
        self._check_kind(array, spec)
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
        cast = self._narrowed(array, spec)
        with np.errstate(over="ignore", invalid="ignore"):
            if array.dtype.kind == dtype.kind == "f":
                self._check_overflow(array, cast, spec, row)
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
        message = f"found {array[place]}"
        if held is not None:
            message = rounding(int(array[place]), held.dtype, held[place])
        raise self._probe.mistake(row + place[0], message, advice, which, column)
