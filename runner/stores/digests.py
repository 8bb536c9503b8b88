"""Sizes and hashes of files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from runner.bounds import Count, Sha256

HASH = hashlib.sha256
"""The hash of a file's content, as it is made and checked."""
_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class FileDigest:
    """The size and hash of a file's content.

    Attributes
    ----------
    bytes
        Size in bytes.
    sha256
        SHA-256 of the content, in hexadecimal.
    """

    bytes: Count
    sha256: Sha256

    @classmethod
    def of(cls, file: BinaryIO) -> FileDigest:
        """Return the size and hash of what is left to read of a file.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        digest, size = HASH(), 0
        while data := file.read(_PIECE):
            digest.update(data)
            size += len(data)
        return cls(size, digest.hexdigest())

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes of SHA-256 {self.sha256[:12]}"
