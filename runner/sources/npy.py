"""Probes from NumPy files of one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from runner.config.references import ProbeFile
from runner.config.strict import Length
from runner.probe.array_files import array_in
from runner.probe.memory_sources import array_probe
from runner.probe.probe import Probe
from runner.probe.source import ProbeSource
from runner.probe.stored_array import Array, whole
from runner.tensors import InputSpec

# Size of the blocks in which a memory-mapped array is read.
_BLOCK_BYTES = 16 * 2**20


class NpyConfig(ProbeSource):
    """One NumPy array, samples along the first axis; ids, labels and targets in separate files."""

    order = 30
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=npy probe.path=x.npy",
        "ids_path": "probe.ids_path=ids.npy",
        "labels_path": "probe.labels_path=y.npy",
        "targets_path": "probe.targets_path=t.npy",
        "max_bytes": "probe.max_bytes=1000000000",
    }

    source: Literal["npy"]
    path: ProbeFile
    """The file."""
    ids_path: ProbeFile | None = None
    """A `.npy` file of sample ids."""
    labels_path: ProbeFile | None = None
    """A `.npy` file of labels."""
    targets_path: ProbeFile | None = None
    """A `.npy` file of targets."""
    max_bytes: Length = 10 * 2**30
    """Limit in bytes on the declared size of an array; larger ones are refused."""

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the array, read in blocks."""
        array = self._array("path", self.path)
        ids, labels, targets = (
            None if path is None else self._array(key, path)
            for key, path in (
                ("ids_path", self.ids_path),
                ("labels_path", self.labels_path),
                ("targets_path", self.targets_path),
            )
        )
        block = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes)) if array.ndim else None
        return array_probe(
            f"npy {self.path}", array, whole(ids), whole(labels), targets, block=block
        )

    def _array(self, key: str, path: str) -> Array:
        return array_in(path, f"probe.{key}", self.max_bytes)
