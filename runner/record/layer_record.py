"""The record of a layer: its tensors, their files and its calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.bounds import Count, FileName, Items, Name, Sha256
from runner.stores.digests import FileDigest
from runner.tensors import Invariance, LeftOut, TensorSpec
from runner.wiring import CallWiring


@dataclass(frozen=True, kw_only=True)
class TensorRecord(TensorSpec):
    """One captured tensor and the file that holds it.

    Attributes
    ----------
    file
        Path of the file inside the run's folder, with ``/``.
    bytes, sha256
        Size and SHA-256 of the file.
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
    """

    file: FileName
    bytes: Count
    sha256: Sha256
    alias_of: Name | None = None
    invariance: Invariance | None = None

    @property
    def digest(self) -> FileDigest:
        """The size and hash of the file."""
        return FileDigest(self.bytes, self.sha256)

    @classmethod
    def of(
        cls,
        spec: TensorSpec,
        file: str,
        digest: FileDigest,
        alias_of: str | None = None,
        invariance: Invariance | None = None,
    ) -> TensorRecord:
        """Return the record of a tensor whose table is `file`."""
        own = {**vars(spec), **vars(digest), "alias_of": alias_of, "invariance": invariance}
        return cls(file=file, **own)


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
