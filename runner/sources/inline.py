"""Samples written out in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from runner.config.arguments import join
from runner.config.strict import expecting, refuse
from runner.errors import InputError, Problem
from runner.probe.exactness import FIRST_INEXACT, KEEP_INTEGER, rounding
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec


class InlineConfig(ProbeSource):
    """Samples written out in the configuration."""

    order = 10
    examples: ClassVar[dict[str, str]] = {
        "inputs": "probe=inline probe.inputs=[[1,0,0],[0,1,0]]",
        "ids": "probe.ids=[a,b]",
        "labels": "probe.labels=[yes,no]",
        "targets": "probe.targets=[[1,0],[0,1]]",
    }
    holds_samples = True

    source: Literal["inline"]
    inputs: Annotated[
        list[Any] | dict[str, list[Any]],
        expecting("a list of samples, or a mapping from input to such a list"),
    ]
    """A list of samples; for several inputs, a mapping from input to such a list."""
    ids: Annotated[list[int] | list[str], expecting("integers, or texts")] | None = None
    """Sample ids; `null`: counted from 0."""
    labels: list[Any] | None = None
    """A label for each sample."""
    targets: list[Any] | None = None
    """Targets of the loss, one for each sample."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> Iterator[Problem]:
        named = self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}
        rows = len(next(iter(named.values()), []))
        others = {"ids": self.ids, "labels": self.labels, "targets": self.targets}
        sized = {join("inputs", name): samples for name, samples in named.items()} | others
        for key, values in sized.items():
            if values is not None and len(values) != rows:
                yield Problem(key, f"expected one for each of {rows} samples, found {len(values)}")

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the samples."""
        if isinstance(self.inputs, dict):
            inputs: Any = {
                name: _rectangular(rows, f"probe.inputs.{name}")
                for name, rows in self.inputs.items()
            }
        else:
            inputs = _rectangular(self.inputs, "probe.inputs")
        targets = None if self.targets is None else _rectangular(self.targets, "probe.targets")
        probe = array_probe("inline", inputs, self.ids, self.labels, targets)
        if isinstance(inputs, np.ndarray) and inputs.ndim == 2 and inputs.dtype.kind == "f":
            columns = zip(*self.inputs, strict=True)
            integers = [all(type(value) is int for value in column) for column in columns]
            return replace(probe, integers=lambda: integers)
        return probe


def _rectangular(rows: list[Any], place: str) -> np.ndarray:
    lengths = [len(row) if isinstance(row, list) else None for row in rows]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            expected = "a single number" if lengths[0] is None else lengths[0]
            raise InputError.of(place, f"row {row}: {_values(length)}, expected {expected}")
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise InputError.of(place, "rows differ in their shape") from error
    if array.dtype.kind not in "biuf":
        for at, value in np.ndenumerate(np.asarray(rows, dtype=object)):
            if not isinstance(value, (int, float)) or abs(value) >= 2**63:
                inside = ", ".join(map(str, at[1:]))
                where = f"row {at[0]}" + (f", column {inside}" if inside else "")
                raise InputError.of(place, f"{where}: expected a number, found {value!r}")
    if array.dtype.kind == "f" and (np.abs(array) >= FIRST_INEXACT).any():
        for at, value in np.ndenumerate(np.asarray(rows, dtype=object)):
            if type(value) is int and int(array[at]) != value:
                where = f"row {at[0]}, column {', '.join(map(str, at[1:]))}"
                found = rounding(value, array.dtype, float(array[at]))
                raise InputError.of(place, f"{where}: {found}", KEEP_INTEGER)
    return array


def _values(count: int | None) -> str:
    if count is None:
        return "a single number"
    return "1 value" if count == 1 else f"{count} values"
