"""Checksums of the content of a probe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from runner.probe.batch import Batch, is_text, named_inputs


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


def is_content_hash(sha256: str, inputs: Mapping[str, np.ndarray]) -> bool:
    """Return whether a hash is that of the inputs of a model, as `ProbeHasher.content` gives it.

    Parameters
    ----------
    sha256
        The hash.
    inputs
        All samples of each input, in the order of the model's inputs. The model may have been
        shown them without their names, and texts as bytes.
    """
    unnamed = dict(zip(_names_without(len(inputs)), inputs.values(), strict=True))
    for named in (inputs, unnamed):
        for encoded in (False, True) if any(map(is_text, named.values())) else (False,):
            hasher = ProbeHasher()
            arrays = {name: _encoded(a) if encoded else a for name, a in named.items()}
            hasher.update(Batch(np.empty(0, np.int64), arrays))
            if hasher.content() == sha256:
                return True
    return False


def _names_without(count: int) -> list[str]:
    """Return the names under which inputs without names are hashed."""
    return list(named_inputs(None if count == 1 else [None] * count))


def _encoded(array: np.ndarray) -> np.ndarray:
    """Return texts as bytes; other values as they are."""
    if not is_text(array):
        return array
    encoded = np.empty(array.shape, object)
    encoded.reshape(-1)[:] = [text.encode("utf-8", "surrogatepass") for text in array.flat]
    return encoded


def _bytes(array: np.ndarray) -> Any:
    """Return the bytes of an array's values, independent of its layout in memory."""
    if is_text(array):
        # An array of objects holds addresses, so the texts are hashed instead.
        texts = "".join(f"{text!r}\n" for text in array.ravel().tolist())
        return texts.encode("utf-8", "surrogatepass")
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
