"""What a run records of each layer: its tensors and their files, and what it was called on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.bounds import Count, FileName, Name, Sha256
from runner.record.publication import FileDigest
from runner.tensors import Invariance, LeftOut, TensorSpec
from runner.wiring import CallWiring


@dataclass(frozen=True, kw_only=True)
class TensorRecord(TensorSpec):
    """One captured tensor and the file that holds it.

    Attributes
    ----------
    file
        Path inside the run's folder, with ``/``.
    bytes, sha256
        Size and hash of the file.
    alias_of
        Name of the tensor that this is the very same as, and whose file it shares;
        ``None`` where the file is its own.
    invariance
        How the values of a sample compared with those it had in batches of other samples, in
        another order and of another size: ``bitwise`` identical, ``rounding`` (identical but
        for rounding: up to the square root of the type's precision, relative to the tensor's
        largest value), or ``none`` (they depend on the other samples). ``None`` where this was
        not measured: for weights, in training, where layers keep a state, and where values
        differ each time that the same batch is shown.
    """

    file: FileName
    bytes: Count
    sha256: Sha256
    alias_of: Name | None = None
    invariance: Invariance | None = None

    @classmethod
    def of(
        cls,
        spec: TensorSpec,
        file: str,
        digest: FileDigest,
        alias_of: str | None = None,
        invariance: Invariance | None = None,
    ) -> TensorRecord:
        """Return the record of a tensor that was written to `file`."""
        own = {**vars(spec), **vars(digest), "alias_of": alias_of, "invariance": invariance}
        return cls(file=file, **own)


@dataclass(frozen=True)
class LayerRecord:
    """One layer of the model.

    Attributes
    ----------
    path
        Its layer path.
    layer_class
        Name of its class.
    order
        Position of its first call among the calls of the model; ``None`` if never called.
    tensors
        What was captured of it, weights last.
    reason
        Why none of its outputs was captured; ``None`` where one was.
    no_gradient
        Why one of its outputs has no gradient, where gradients were asked for.
    arguments
        What it was made with, as far as that decides its arithmetic; ``None`` for a layer
        that is not Keras's own.
    calls
        What it was called on, call by call; empty inside the loop of a recurrent layer.
    left_out
        Each of its tensors that was asked for and has no table, with the reason.
    """

    path: str
    layer_class: str
    order: Count | None
    tensors: tuple[TensorRecord, ...]
    reason: str | None
    no_gradient: str | None = None
    arguments: dict[str, Any] | None = None
    calls: tuple[CallWiring, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
