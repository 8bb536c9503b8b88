"""The record of a layer: its tensors, their files and its calls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runner.bounds import Count, FileName, Items, Name, Sha256
from runner.stores.digests import FileDigest
from runner.tensors import Invariance, LeftOut, TensorSpec
from runner.wiring import CallWiring


@dataclass(frozen=True)
class ChangeRecord:
    """What an intervention did to a tensor.

    Attributes
    ----------
    pattern
        The pattern of `intervene` that matched it.
    did
        What was done, in words that follow ``was`` or ``were``: ``set to 0``.
    units, positions
        The units, and the positions of a sequence, that were changed; ``None`` for all.
    heads
        The heads that were changed before the layer's output projection; ``None`` if whole
        outputs were.
    """

    pattern: str
    did: str
    units: Items[Count] | None = None
    positions: Items[Count] | None = None
    heads: Items[Count] | None = None


@dataclass(frozen=True, kw_only=True)
class PartFile(FileDigest):
    """A file that holds some of a tensor's rows, of a run that was made in parts.

    Attributes
    ----------
    file
        Path of the file inside the run's folder, with ``/``.
    rows
        Number of rows.
    """

    file: FileName
    rows: Count

    @property
    def digest(self) -> FileDigest:
        """The size and hash of the file."""
        return FileDigest(self.bytes, self.sha256)

    @staticmethod
    def together(parts: Iterable[FileDigest]) -> FileDigest:
        """Return the size and hash of all files of a tensor."""
        size, whole = 0, hashlib.sha256()
        for part in parts:
            size += part.bytes
            whole.update(bytes.fromhex(part.sha256))
        return FileDigest(size, whole.hexdigest())


@dataclass(frozen=True, kw_only=True)
class TensorRecord(TensorSpec):
    """One captured tensor and the file that holds it.

    Attributes
    ----------
    file
        Path of the file inside the run's folder, with ``/``; if the run was made in parts, path of
        the folder that holds the files.
    bytes, sha256
        Size and SHA-256 of the file; of several files, the sum of their sizes, and the SHA-256 of
        their hashes one after another. 0 and ``None`` if no values are kept (``format=none``).
    alias_of
        Name of the tensor that this one is an alias of, and whose file it shares; ``None`` if
        it has its own file.
    invariance
        Whether the values of a sample were the same in batches of other samples, in another
        order and of another size: ``bitwise`` identical, ``rounding`` (identical up to
        rounding: up to the square root of the type's precision, relative to the tensor's
        largest value), or ``none`` (they depend on the other samples). ``None`` if this was
        not measured: for weights, in training, if layers keep a state, and if values differ
        each time the same batch is shown.
    changed_by
        What interventions did to it, in order: the file holds the values after.
    parts
        The files that hold the rows, in order, if the run was made in parts.
    """

    file: FileName
    bytes: Count
    sha256: Sha256 | None
    alias_of: Name | None = None
    invariance: Invariance | None = None
    changed_by: Items[ChangeRecord] = ()
    parts: Items[PartFile] = ()

    @property
    def digest(self) -> FileDigest | None:
        """The size and hash of the file, or of the files together; ``None`` without values."""
        return None if self.sha256 is None else FileDigest(self.bytes, self.sha256)

    @property
    def digests(self) -> dict[str, FileDigest]:
        """The size and hash of each file that holds the tensor, by its path inside the run."""
        if not self.parts:
            return {} if self.digest is None else {self.file: self.digest}
        return {part.file: part.digest for part in self.parts}

    @classmethod
    def of(
        cls,
        spec: TensorSpec,
        file: str,
        digest: FileDigest | None,
        alias_of: str | None = None,
        invariance: Invariance | None = None,
        changed_by: tuple[ChangeRecord, ...] = (),
    ) -> TensorRecord:
        """Return the record of a tensor whose table is `file`."""
        values = {"bytes": 0, "sha256": None} if digest is None else vars(digest)
        own = {**vars(spec), **values, "alias_of": alias_of, "invariance": invariance}
        return cls(file=file, changed_by=changed_by, **own)


@dataclass(frozen=True)
class LayerRecord:
    """One layer of the model.

    Attributes
    ----------
    path
        Path of the layer.
    layer_class
        Name of the layer's class.
    order
        Position of the first call among the calls of the model; ``None`` if never called.
    tensors
        Captured tensors of the layer, weights last.
    reason
        Reason why none of the outputs was captured; ``None`` if one was.
    no_gradient
        Reason why an output has no gradient, if gradients were requested.
    arguments
        Constructor arguments that affect the layer's arithmetic; ``None`` for layers that are
        not Keras's own.
    calls
        Inputs of each call; empty inside the loop of a recurrent layer.
    left_out
        Requested tensors of the layer that have no table, each with the reason.
    """

    path: str
    layer_class: str
    order: Count | None
    tensors: Items[TensorRecord]
    reason: str | None
    no_gradient: str | None = None
    arguments: dict[str, Any] | None = None
    calls: Items[CallWiring] = ()
    left_out: Items[LeftOut] = ()
