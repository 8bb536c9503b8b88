"""A file of golden activations: figures of every layer's output, at most 100 kB."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.capture.model_libraries import library_of
from runner.errors import InputError
from runner.record.environment import read_environment
from runner.regular_files import read_at_most, write_in_place
from runner.sameness.distance import TOLERANCES
from runner.showing.activations import Activation, capture_activations

_BYTES = 100_000
_SCHEMA = 1
_PROJECTIONS = 4
_VALUES = (16, 8, 4, 2, 0)
"""Numbers of values kept of each tensor: the most that fit into the file."""


@dataclass(frozen=True)
class GoldenTensor:
    """What is kept of a tensor.

    Attributes
    ----------
    name, layer_class
        As in `runner.tensors.TensorSpec`.
    shape, dtype
        Those of all samples together.
    sha256
        Hash of the values in C order, little-endian.
    nan
        Number of values that are not finite; they are left out of the figures.
    figures
        ``mean``, ``std``, ``min`` and ``max``.
    projections
        Sums of the values with random signs, divided by the square root of their number. The
        signs are drawn from the tensor's name.
    values
        A few of them, evenly spaced.
    """

    name: str
    layer_class: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str
    nan: int
    figures: dict[str, float]
    projections: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, activation: Activation) -> GoldenTensor:
        """Return what is kept of a captured tensor."""
        array = np.ascontiguousarray(activation.value)
        flat = array.reshape(-1)
        flat = flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat
        wide = flat.astype(np.float64)
        finite = np.isfinite(wide)
        wide = np.where(finite, wide, 0.0)
        known = wide[finite] if not finite.all() else wide
        figures = {
            "mean": known.mean() if known.size else 0.0,
            "std": known.std() if known.size else 0.0,
            "min": known.min(initial=math.inf) if known.size else 0.0,
            "max": known.max(initial=-math.inf) if known.size else 0.0,
        }
        places = np.linspace(0, max(0, wide.size - 1), min(_VALUES[0], wide.size)).astype(int)
        return cls(
            name=activation.name,
            layer_class=activation.layer_class,
            shape=array.shape,
            dtype=array.dtype.name,
            sha256=hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).data).hexdigest(),
            nan=int((~finite).sum()),
            figures={name: float(value) for name, value in figures.items()},
            projections=tuple(map(float, _projected(wide, activation.name))),
            values=tuple(map(float, wide[places])),
        )

    def apart(self, other: GoldenTensor) -> tuple[float, float]:
        """Return the largest difference of the kept numbers, and the scale of the tensor."""
        mine, theirs = (
            [*tensor.figures.values(), *tensor.projections, *_some(tensor.values, len(self.values))]
            for tensor in (self, other)
        )
        largest = max(abs(x - y) for x, y in zip(mine, theirs, strict=True))
        return largest, max(abs(self.figures["min"]), abs(self.figures["max"]))

    def within(self, other: GoldenTensor, rtol: float | None, atol: float | None) -> bool:
        """Return whether the kept numbers of a tensor agree within a tolerance.

        The default tolerance is that of `runner.diff`. Projections of values that differ by the
        tolerance, independently of each other, differ by at most four times as much, but for one in
        16,000.
        """
        if (self.shape, self.dtype, self.nan) != (other.shape, other.dtype, other.nan):
            return False
        default = TOLERANCES.get(self.dtype, 0.0)
        rtol, atol = default if rtol is None else rtol, default if atol is None else atol
        scale = max(abs(self.figures["min"]), abs(self.figures["max"]))

        def agree(mine: Sequence[float], theirs: Sequence[float], times: float) -> bool:
            return all(
                abs(x - y) <= times * (rtol * max(abs(x), scale) + atol * scale)
                for x, y in zip(mine, theirs, strict=True)
            )

        return (
            agree([*self.figures.values()], [*other.figures.values()], 1)
            and agree(self.values, _some(other.values, len(self.values)), 1)
            and agree(self.projections, other.projections, 4)
        )


@dataclass(frozen=True)
class GoldenFile:
    """The golden activations of a test.

    Attributes
    ----------
    fingerprint
        What the exact values depend on: machine, versions, settings of the computations.
    tensors
        The outputs of all layers, in call order.
    """

    fingerprint: dict[str, Any]
    tensors: tuple[GoldenTensor, ...]

    def written(self) -> bytes:
        """Return the content of the file, with as many values as fit into 100 kB.

        Raises
        ------
        InputError
            If there are too many layers.
        """
        for count in _VALUES:
            tensors = [
                {**dataclasses.asdict(tensor), "values": _some(tensor.values, count)}
                for tensor in self.tensors
            ]
            lines = ",\n".join(json.dumps(tensor, ensure_ascii=False) for tensor in tensors)
            head = json.dumps({"schema": _SCHEMA, "fingerprint": self.fingerprint}, indent=1)
            text = f'{head[:-2]},\n "tensors": [\n{lines}\n]}}\n'
            if len(data := text.encode()) <= _BYTES:
                return data
        raise InputError.of(
            "runner_golden",
            f"{len(self.tensors):,} layers take {len(data):,} bytes, the limit is {_BYTES:,}",
            'name those that matter: include=["block_*"]',
        )

    @classmethod
    def read(cls, path: Path) -> GoldenFile:
        """Read a file.

        Raises
        ------
        InputError
            If there is none, or it is not such a file.
        """
        try:
            found = json.loads(read_at_most(path, _BYTES, "runner_golden"))
            _check_schema(found["schema"])
            return cls(found["fingerprint"], tuple(_tensor(each) for each in found["tensors"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError.of(
                "runner_golden", f"{path} is damaged ({error})", "renew it with --golden-update"
            ) from error

    def write(self, path: Path) -> None:
        """Write the file, and its folder if there is none."""
        data = self.written()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_in_place(data, path)


def captured(model: Any, x: Any, **options: Any) -> GoldenFile:
    """Show a model some inputs and return what is kept of its layers' outputs.

    Parameters
    ----------
    model, x, **options
        As in `runner.capture_activations`.

    Raises
    ------
    InputError, RunError
        As in `runner.capture_activations`.
    """
    activations = capture_activations(model, x, **options)
    backend = library_of(model).read_backend(model)
    return GoldenFile(_fingerprint(backend), tuple(map(GoldenTensor.of, activations.values())))


@dataclass(frozen=True)
class GoldenChange:
    """A tensor that is not as it was.

    Attributes
    ----------
    name, layer_class
        As in `GoldenTensor`.
    what
        What changed, in words; empty if values did.
    apart, scale
        The largest difference of the kept numbers, and the tensor's largest value.
    """

    name: str
    layer_class: str
    what: str = ""
    apart: float = math.nan
    scale: float = math.nan


def changes(
    golden: GoldenFile, now: GoldenFile, rtol: float | None, atol: float | None
) -> Iterator[GoldenChange]:
    """Yield the tensors that are not as they were, in call order.

    With the same fingerprint and no tolerance, the bits have to be the same.
    """
    exact = golden.fingerprint == now.fingerprint and rtol is None and atol is None
    kept = {tensor.name: tensor for tensor in golden.tensors}
    for tensor in now.tensors:
        before = kept.pop(tensor.name, None)
        about = tensor.name, tensor.layer_class
        if before is None:
            yield GoldenChange(*about, "new")
        elif (before.shape, before.dtype) != (tensor.shape, tensor.dtype):
            was, is_now = (f"{list(each.shape)} {each.dtype}" for each in (before, tensor))
            yield GoldenChange(*about, f"was {was}, is {is_now}")
        elif before.nan != tensor.nan:
            was = f"{tensor.nan:,} values are not finite, {before.nan:,} were not"
            yield GoldenChange(*about, was)
        elif before.sha256 != tensor.sha256 and (exact or not before.within(tensor, rtol, atol)):
            yield GoldenChange(*about, "", *before.apart(tensor))
    for tensor in kept.values():
        yield GoldenChange(tensor.name, tensor.layer_class, "gone")


def _projected(values: np.ndarray, name: str) -> np.ndarray:
    """Return projections of the values of a tensor on random signs (Achlioptas 2003)."""
    seed = np.random.SeedSequence(list(name.encode()))
    generator = np.random.Generator(np.random.Philox(seed))
    found = np.zeros(_PROJECTIONS)
    for start in range(0, values.size, 1 << 20):
        piece = values[start : start + (1 << 20)]
        signs = generator.integers(0, 2, (_PROJECTIONS, piece.size), np.int8)
        found += (2.0 * signs - 1.0) @ piece
    return np.asarray(found / math.sqrt(max(1, values.size)))


def _some(values: Sequence[float], count: int) -> list[float]:
    if len(values) <= count:
        return list(values)
    places = np.linspace(0, len(values) - 1, count).astype(int)
    return [values[place] for place in places]


def _tensor(found: Mapping[str, Any]) -> GoldenTensor:
    names = {field.name for field in dataclasses.fields(GoldenTensor)}
    if {*found} != names:
        raise ValueError("a tensor has other keys")
    texts = [found[key] for key in ("name", "layer_class", "dtype", "sha256")]
    counts = [found["nan"], *found["shape"]]
    if not all(isinstance(text, str) for text in texts) or not all(map(_is_count, counts)):
        raise ValueError("a tensor is described by values of other types")
    if {*found["figures"]} != {"mean", "std", "min", "max"}:
        raise ValueError("figures are missing")
    numbers = [*found["figures"].values(), *found["projections"], *found["values"]]
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise ValueError("a figure is not a number")
    if not all(map(math.isfinite, (found["figures"]["min"], found["figures"]["max"]))):
        raise ValueError("a scale is not finite")  # everything would agree with it
    shape = tuple(found["shape"])
    held = min(_VALUES[0], math.prod(shape))
    if len(found["projections"]) != _PROJECTIONS or len(found["values"]) > held:
        raise ValueError("a tensor has other numbers of values")
    return GoldenTensor(
        **{
            **found,
            "shape": shape,
            "figures": {name: float(value) for name, value in found["figures"].items()},
            "projections": tuple(map(float, found["projections"])),
            "values": tuple(map(float, found["values"])),
        }
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _check_schema(found: Any) -> None:
    if found != _SCHEMA:
        raise ValueError(f"schema {found} is unknown")


def _fingerprint(backend: Any) -> dict[str, Any]:
    environment = read_environment(Path.cwd())
    known = {
        "machine": environment.processor,
        "platform": environment.platform,
        "packages": dict(environment.packages),
        "backend": dataclasses.asdict(backend),
    }
    found = json.loads(json.dumps(known))
    found["packages"].pop("activation-runner", None)
    assert isinstance(found, dict)
    return found
