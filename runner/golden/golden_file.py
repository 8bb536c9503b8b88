"""A file of golden activations: figures of every layer's output, at most 100 kB."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.capture.model_libraries import library_of
from runner.errors import InputError
from runner.golden.golden_tensor import MOST_VALUES, GoldenTensor, read_tensor, some_of
from runner.record.environment import read_environment
from runner.regular_files import read_at_most, write_in_place
from runner.showing.activations import capture_activations

_BYTES = 100_000
_SCHEMA = 1
_COUNTS = (MOST_VALUES, 8, 4, 2, 0)
"""Numbers of values kept of each tensor: the most that fit into the file."""


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
        for count in _COUNTS:
            tensors = [
                {**dataclasses.asdict(tensor), "values": some_of(tensor.values, count)}
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
            return cls(found["fingerprint"], tuple(read_tensor(each) for each in found["tensors"]))
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
