"""Probes of seeded random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from runner.config.strict import RECORDED, Length, Seed
from runner.errors import InputError
from runner.probe.batch import Batch, without_first
from runner.probe.probe import Probe
from runner.probe.source import ProbeSource
from runner.sizes import check_memory
from runner.tensors import InputSpec

# Every block of rows has its own seed, so that values do not depend on the batch size.
_RANDOM_ROWS = 1024
_RANDOM_VALUES = 2**21


class RandomConfig(ProbeSource):
    """Random numbers; for integer inputs, integers from 0 to `high` - 1."""

    order = 90
    examples: ClassVar[dict[str, str]] = {
        "rows": "probe=random probe.rows=1000",
        "seed": "probe.seed=1",
        "distribution": "probe.distribution=uniform",
        "high": "probe.high=100",
        "shapes": "probe=random 'probe.shapes={input: [3]}'",
    }

    source: Literal["random"]
    rows: Annotated[Length, RECORDED] = 16
    """Number of samples."""
    seed: Seed = 0
    """Seed of the random numbers."""
    distribution: Literal["normal", "uniform"] = "normal"
    """Standard normal, or uniform from 0 to 1."""
    high: Length = 10
    """Exclusive upper limit of integer inputs."""
    shapes: Annotated[dict[str, list[Length]], RECORDED] = Field(default={})
    """Shapes by input, without the sample axis, for inputs whose axes the model leaves open."""

    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return seeded random numbers in the shapes of the model's inputs."""
        if not expected:
            raise InputError.of(
                "probe", "random needs a model that declares its inputs", "use another probe"
            )
        expected = [_with_shape(spec, self.shapes) for spec in expected]
        if spare := [name for name in self.shapes if name not in {spec.name for spec in expected}]:
            names = ", ".join(spec.name for spec in expected)
            raise InputError.of(
                f"probe.shapes.{spare[0]}", "the model has no such input", f"it has {names}"
            )
        texts = [spec.name for spec in expected if spec.dtype == "string"]
        if texts:
            raise InputError.of(
                "probe",
                f"random cannot make text, which input '{texts[0]}' takes",
                "use another probe",
            )
        integers = {spec.name for spec in expected if spec.dtype.startswith(("int", "uint"))}
        dtypes = {spec.name: spec.dtype.replace("bfloat16", "float32") for spec in expected}
        for name in sorted(integers):
            if self.high - 1 > np.iinfo(dtypes[name]).max:
                raise InputError.of("probe.high", f"{self.high} is too large for {dtypes[name]}")
        widest = max(math.prod(axis or 1 for axis in spec.shape) for spec in expected)
        step = min(_RANDOM_ROWS, max(1, _RANDOM_VALUES // widest))
        for spec in expected:  # drawn in eight bytes, and then cast
            size = 8 * min(step, self.rows) * math.prod(axis or 0 for axis in spec.shape)
            check_memory(spec.name, size, copies=2)

        def blocks(first: int = 0) -> Iterator[Batch]:
            for start in range(first - first % step, self.rows, step):
                count = min(step, self.rows - start)
                inputs = {}
                for place, spec in enumerate(expected):
                    generator = np.random.default_rng([self.seed, start // step, place])
                    size = (count, *(axis or 0 for axis in spec.shape))
                    drawn: np.ndarray
                    if spec.name in integers:
                        drawn = generator.integers(self.high, size=size)
                    elif spec.dtype == "bool":
                        drawn = generator.integers(2, size=size)
                    elif self.distribution == "normal":
                        drawn = generator.normal(size=size)
                    else:
                        drawn = generator.uniform(size=size)
                    inputs[spec.name] = drawn.astype(dtypes[spec.name])
                only = inputs if len(inputs) > 1 else next(iter(inputs.values()))
                yield Batch(np.arange(start, start + count, dtype="int64"), only)

        kinds = ([] if len(integers) == len(expected) else [self.distribution]) + (
            [f"integers below {self.high}"] if integers else []
        )
        source = f"random, {', '.join(kinds)}, seed {self.seed}"

        def seek(row: int) -> Iterator[Batch]:
            return without_first(blocks(row), row % step)

        return Probe(source, tuple(expected), blocks, self.rows, seek=seek)


def _with_shape(spec: InputSpec, shapes: Mapping[str, list[int]]) -> InputSpec:
    """Return an input with its shape from the configuration, if there is one."""
    shape = tuple(shapes.get(spec.name, spec.shape))
    fits = len(shape) == len(spec.shape) and all(
        known in (None, length) for length, known in zip(shape, spec.shape, strict=True)
    )
    if None in shape or not fits:
        found = ", ".join("null" if length is None else str(length) for length in spec.shape)
        raise InputError.of(
            f"probe.shapes.{spec.name}",
            f"expected a length for every axis of [{found}]",
            f"type probe.shapes={{{spec.name}: [...]}}",
        )
    return replace(spec, shape=shape)
