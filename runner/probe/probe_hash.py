"""Checksums of the content of a probe, which are the same however its samples are divided.

Samples are hashed in blocks, and a checksum is that of the hashes of its blocks, or the hash of the
only block. Parts of a probe that were hashed apart can thus be merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from runner.probe.batch import Batch, is_text, named_inputs

Block = Literal[4096] | None
"""Number of samples in a block; ``None``: all samples are one block, which cannot be merged."""

BLOCK: Final = 4096
"""The blocks of every new checksum."""


class _Blocks:
    """The hashes of the blocks of an array whose rows pass by.

    Parameters
    ----------
    start
        What each block is hashed with, before its rows.
    block
        Number of rows in a block.
    """

    def __init__(self, start: str, block: Block) -> None:
        self.start = start
        self._block = block
        self._hashes = bytearray()
        self._rows = 0
        self._last = hashlib.sha256(start.encode())

    def update(self, rows: np.ndarray) -> None:
        """Add rows."""
        while len(rows):
            room = len(rows) if self._block is None else self._block - self._rows
            part, rows = rows[:room], rows[room:]
            self._last.update(_bytes(part))
            self._rows += len(part)
            if self._rows == self._block:
                self._hashes += self._last.digest()
                self._rows, self._last = 0, hashlib.sha256(self.start.encode())

    def merge(self, other: _Blocks) -> None:
        """Add the rows that follow."""
        if not other._hashes and not other._rows:
            return
        if self._rows:
            raise ValueError(f"a part of a probe does not end with a block of {BLOCK:,} samples")
        self._hashes += other._hashes
        self._rows, self._last = other._rows, other._last.copy()

    def digest(self) -> bytes:
        """Return the SHA-256 over the hashes of all blocks, or the hash of the only one."""
        if not self._hashes:
            return self._last.digest()
        hashes = bytes(self._hashes) + (self._last.digest() if self._rows else b"")
        one = len(hashes) == self._last.digest_size
        return hashes if one else hashlib.sha256(hashes).digest()


class SampleIdHasher:
    """Hashes sample ids in their order.

    Parameters
    ----------
    block
        Number of ids in a block.
    """

    def __init__(self, block: Block = BLOCK) -> None:
        self._blocks = _Blocks("", block)

    def update(self, samples: np.ndarray) -> None:
        """Add the next sample ids."""
        self._blocks.update(samples)

    def merge(self, other: SampleIdHasher) -> None:
        """Add the sample ids that follow; raise ValueError unless the last block is complete."""
        self._blocks.merge(other._blocks)

    def hexdigest(self) -> str:
        """Return the SHA-256 over the sample ids, in hexadecimal."""
        return self._blocks.digest().hex()


@dataclass(frozen=True)
class SampleIdsHash:
    """The checksum of the sample ids of a run.

    Attributes
    ----------
    sha256
        The checksum.
    block
        Number of ids in the blocks that it is made of.
    """

    sha256: str
    block: Block

    def is_of(self, samples: np.ndarray) -> bool:
        """Return whether it is the checksum of all these sample ids."""
        hasher = SampleIdHasher(self.block)
        hasher.update(samples)
        return hasher.hexdigest() == self.sha256


class ProbeHasher:
    """Hashes the content of a probe, independent of the size of its batches.

    Values and sample ids are hashed separately, so that the same inputs with other ids can
    be recognised.

    Parameters
    ----------
    block
        Number of samples in a block.
    """

    def __init__(self, block: Block = BLOCK) -> None:
        self._block = block
        self._values: dict[str, _Blocks] = {}
        self._ids = SampleIdHasher(block)

    def update(self, batch: Batch) -> None:
        """Add the next batch."""
        for name, array in named_inputs(batch.inputs).items():
            if name not in self._values:
                dtype = "string" if is_text(array) else array.dtype.str
                self._values[name] = _Blocks(f"{name} {dtype} {array.shape[1:]}\n", self._block)
            self._values[name].update(array)
        self._ids.update(batch.samples)

    def merge(self, other: ProbeHasher) -> None:
        """Add the samples that follow, which were hashed apart.

        Raises
        ------
        ValueError
            If the last block is not complete, or the inputs have other names, shapes or types.
        """
        starts = {name: blocks.start for name, blocks in other._values.items()}
        if not self._values:
            self._values = {name: _Blocks(start, self._block) for name, start in starts.items()}
        if starts != {name: blocks.start for name, blocks in self._values.items()}:
            raise ValueError("the inputs of two parts of a probe differ")
        for name, blocks in self._values.items():
            blocks.merge(other._values[name])
        self._ids.merge(other._ids)

    def content(self) -> str:
        """Return the SHA-256 over names, shapes, types and values of all inputs."""
        whole = hashlib.sha256()
        for name in sorted(self._values):
            whole.update(self._values[name].digest())
        return whole.hexdigest()

    def sample_ids(self) -> str:
        """Return the SHA-256 over the sample ids in their order."""
        return self._ids.hexdigest()


def is_content_hash(sha256: str, block: Block, inputs: Mapping[str, np.ndarray]) -> bool:
    """Return whether a hash is that of the inputs of a model, as `ProbeHasher.content` gives it.

    Parameters
    ----------
    sha256, block
        The hash, and the number of samples in the blocks that it is made of.
    inputs
        All samples of each input, in the order of the model's inputs. The model may have been
        shown them without their names, and texts as bytes.
    """
    unnamed = dict(zip(_names_without(len(inputs)), inputs.values(), strict=True))
    for named in (inputs, unnamed):
        for encoded in (False, True) if any(map(is_text, named.values())) else (False,):
            hasher = ProbeHasher(block)
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
