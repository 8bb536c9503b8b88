"""Checksums of the content of a probe, which are the same however its samples are divided.

Samples are hashed in blocks. A checksum is the hash of the hashes of all blocks, or the hash of the
only block, so that it can also be computed from the hashes of parts that were read separately.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np

from runner.bounds import Items, spelled
from runner.probe.batch import Batch, is_text, named_inputs

Block = Literal[4096] | None
"""Number of samples in a block; ``None``: all samples are one block, which cannot be merged."""

BLOCK: Final = 4096
"""The blocks of every new checksum."""

_Hashes = Annotated[str, spelled(r"^([0-9a-f]{64})*$", "any number of 64 hexadecimal digits")]


class _Blocks:
    """The hashes of the blocks of an array whose rows are added one after another.

    Parameters
    ----------
    start
        What each block is hashed with, before its rows.
    block
        Number of rows in a block.
    row
        Number of rows before the first: only the blocks that begin after them are hashed.
    """

    def __init__(self, start: str, block: Block, row: int = 0) -> None:
        self.start = start
        self._skipped = 0 if block is None else -row % block
        self._block = block
        self._hashes = bytearray()
        self._rows = 0
        self._last = hashlib.sha256(start.encode())

    def update(self, rows: np.ndarray) -> None:
        """Add rows."""
        rows, skipped = rows[self._skipped :], min(self._skipped, len(rows))
        self._skipped -= skipped
        while len(rows):
            room = len(rows) if self._block is None else self._block - self._rows
            part, rows = rows[:room], rows[room:]
            self._last.update(_bytes(part))
            self._rows += len(part)
            if self._rows == self._block:
                self._hashes += self._last.digest()
                self._rows, self._last = 0, hashlib.sha256(self.start.encode())

    @property
    def missing(self) -> int:
        """Number of rows that the last block lacks."""
        return self._block - self._rows if self._block is not None and self._rows else 0

    @property
    def hashes(self) -> bytes:
        """The hashes of all blocks."""
        return bytes(self._hashes) + (self._last.digest() if self._rows else b"")

    def add_hashes(self, hashes: bytes) -> None:
        """Add the blocks that follow, by their hashes."""
        self._hashes += hashes

    def digest(self) -> bytes:
        """Return the SHA-256 over the hashes of all blocks, or the hash of the only one."""
        if not self._hashes:
            return self._last.digest()
        hashes = self.hashes
        one = len(hashes) == self._last.digest_size
        return hashes if one else hashlib.sha256(hashes).digest()


class SampleIdHasher:
    """Hashes sample ids in their order.

    Parameters
    ----------
    block
        Number of ids in a block.
    row
        Number of ids before the first.
    """

    def __init__(self, block: Block = BLOCK, row: int = 0) -> None:
        self._blocks = _Blocks("", block, row)

    def update(self, samples: np.ndarray) -> None:
        """Add the next sample ids."""
        self._blocks.update(samples)

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


@dataclass(frozen=True)
class BlockHashes:
    """The hashes of the blocks that begin in a part of a probe.

    Attributes
    ----------
    names
        Names of the inputs.
    values
        Hashes of the blocks of each input, in hexadecimal, by what each block is hashed with before
        its rows.
    ids
        Hashes of the blocks of sample ids.
    """

    names: Items[str]
    values: dict[str, _Hashes]
    ids: _Hashes


class ProbeHasher:
    """Hashes the content of a probe, independent of the size of its batches.

    Values and sample ids are hashed separately, so that the same inputs with other ids can
    be recognised.

    Parameters
    ----------
    block
        Number of samples in a block.
    row
        Number of samples before the first, of a part of a probe: only the blocks that begin in the
        part are hashed, so that those of all parts together are the blocks of the probe.
    """

    def __init__(self, block: Block = BLOCK, row: int = 0) -> None:
        self._block = block
        self._row = row
        self._values: dict[str, _Blocks] = {}
        self._ids = _Blocks("", block, row)

    def update(self, batch: Batch) -> None:
        """Add the next batch."""
        for name, array in named_inputs(batch.inputs).items():
            if name not in self._values:
                dtype = "string" if is_text(array) else array.dtype.str
                start = f"{name} {dtype} {array.shape[1:]}\n"
                self._values[name] = _Blocks(start, self._block, self._row)
            self._values[name].update(array)
        self._ids.update(batch.samples)

    @property
    def missing(self) -> int:
        """Number of samples that the last block lacks: they are in the next part of the probe."""
        return self._ids.missing

    @property
    def block_hashes(self) -> BlockHashes:
        """The hashes of all blocks."""
        values = {blocks.start: blocks.hashes.hex() for blocks in self._values.values()}
        return BlockHashes(tuple(self._values), values, self._ids.hashes.hex())

    @classmethod
    def of(cls, parts: Iterable[BlockHashes]) -> ProbeHasher:
        """Return the hasher of a probe whose parts were hashed apart.

        Raises
        ------
        ValueError
            If their inputs have other names, shapes or types.
        """
        whole = cls()
        for part in parts:
            if not whole._values:
                named = zip(part.names, part.values, strict=True)
                whole._values = {name: _Blocks(start, BLOCK) for name, start in named}
            if [blocks.start for blocks in whole._values.values()] != [*part.values]:
                raise ValueError("the inputs of two parts of a probe differ")
            for blocks in whole._values.values():
                blocks.add_hashes(bytes.fromhex(part.values[blocks.start]))
            whole._ids.add_hashes(bytes.fromhex(part.ids))
        return whole

    def content(self) -> str:
        """Return the SHA-256 over names, shapes, types and values of all inputs."""
        whole = hashlib.sha256()
        for name in sorted(self._values):
            whole.update(self._values[name].digest())
        return whole.hexdigest()

    def sample_ids(self) -> str:
        """Return the SHA-256 over the sample ids in their order."""
        return self._ids.digest().hex()


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
