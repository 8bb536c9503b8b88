"""Probes from NumPy files of several arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from runner.config.references import InputFile
from runner.config.strict import Length
from runner.errors import InputError
from runner.probe.array_files import unpacked
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.probe.source import ProbeSource
from runner.regular_files import regular_file
from runner.tensors import InputSpec

# Names of the arrays that are not inputs.
_IDS, _LABELS, _TARGETS = "id", "label", "target"


class NpzConfig(ProbeSource):
    """Several NumPy arrays in one file, named after the model's inputs."""

    order = 40
    examples: ClassVar = {
        "path": "probe=npz probe.path=inputs.npz",
        "max_bytes": "probe.max_bytes=1000000000",
    }

    source: Literal["npz"]
    path: InputFile
    """The file. Its arrays `id`, `label` and `target` are used as such; the others are inputs."""
    max_bytes: Length = 10 * 2**30
    """Limit in bytes on the declared size of all arrays; larger files are refused."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the arrays: inputs by name, and ``id``, ``label``, ``target``."""
        path = regular_file(self.path, "probe.path")
        arrays = unpacked(path, self.max_bytes)
        ids, labels, targets = (arrays.pop(name, None) for name in (_IDS, _LABELS, _TARGETS))
        if not arrays:
            raise InputError.of("probe.path", f"{path} holds no input")
        inputs: Any = arrays if len(arrays) > 1 else next(iter(arrays.values()))
        return array_probe(f"npz {self.path}", inputs, ids, labels, targets)
