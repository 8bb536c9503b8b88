"""Checksums of the content of a probe."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from runner.probe.probe import Batch, is_text, named_inputs


class SampleIdHasher:
    """Hashes sample ids in their order, independent of how they are divided."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, samples: np.ndarray) -> None:
        """Add the next sample ids."""
        self._hash.update(_bytes(samples))

    def hexdigest(self) -> str:
        """Return the SHA-256 over the sample ids, in hexadecimal."""
        return self._hash.hexdigest()


class ProbeHasher:
    """Hashes the content of a probe, independent of the size of its batches.

    Values and sample ids are hashed separately, so that the same inputs with other ids can
    be recognised.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._ids = SampleIdHasher()

    def update(self, batch: Batch) -> None:
        """Add the next batch."""
        for name, array in named_inputs(batch.inputs).items():
            if name not in self._values:
                dtype = "string" if is_text(array) else array.dtype.str
                self._values[name] = hashlib.sha256(f"{name} {dtype} {array.shape[1:]}\n".encode())
            self._values[name].update(_bytes(array))
        self._ids.update(batch.samples)

    def content(self) -> str:
        """Return the SHA-256 over names, shapes, types and values of all inputs."""
        whole = hashlib.sha256()
        for name in sorted(self._values):
            whole.update(self._values[name].digest())
        return whole.hexdigest()

    def sample_ids(self) -> str:
        """Return the SHA-256 over the sample ids in their order."""
        return self._ids.hexdigest()


def sample_ids_hash(samples: np.ndarray) -> str:
    """Return the SHA-256 over all sample ids, in hexadecimal."""
    hasher = SampleIdHasher()
    hasher.update(samples)
    return hasher.hexdigest()


def _bytes(array: np.ndarray) -> Any:
    """Return the bytes of an array's values, independent of its layout in memory."""
    if is_text(array):
        # An array of objects holds addresses, so the texts are hashed instead.
        texts = "".join(f"{text!r}\n" for text in array.ravel().tolist())
        return texts.encode("utf-8", "surrogatepass")
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
