"""Probes from NumPy files of several arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from runner.config.references import ProbeFile
from runner.config.strict import Length
from runner.errors import InputError
from runner.given_files import given_file
from runner.probe.array_files import UNPACK, unpacked
from runner.probe.compressed import check_samples
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.probe.source import ProbeSource
from runner.tensors import InputSpec

# Names of the arrays that are not inputs.
_IDS, _LABELS, _TARGETS = "id", "label", "target"


class NpzConfig(ProbeSource):
    """Several NumPy arrays in one file, named after the model's inputs."""

    order = 40
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=npz probe.path=inputs.npz",
        "max_bytes": "probe.max_bytes=1000000000",
    }

    source: Literal["npz"]
    path: ProbeFile
    """The file. Its arrays `id`, `label` and `target` are used as such; the others are inputs."""
    max_bytes: Length = 10 * 2**30
    """Limit in bytes on the declared size of all arrays; larger files are refused."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the arrays: inputs by name, and ``id``, ``label``, ``target``."""
        file = given_file(self.path, "probe.path")
        arrays = unpacked(file, self.max_bytes)
        check_samples(file, max((len(a) for a in arrays.values() if a.ndim), default=0), UNPACK)
        ids, labels, targets = (arrays.pop(name, None) for name in (_IDS, _LABELS, _TARGETS))
        if not arrays:
            raise InputError.of("probe.path", f"{file} holds no input")
        inputs: Any = arrays if len(arrays) > 1 else next(iter(arrays.values()))
        return array_probe(f"npz {self.path}", inputs, ids, labels, targets)
