"""The record of a probe: what a model was shown, and in which batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.bounds import Count, FileName, Items, Sha256
from runner.probe.probe_hash import Block, SampleIdsHash
from runner.record.probe_layout import ProbeColumns
from runner.tensors import InputSpec


@dataclass(frozen=True)
class ProbeRecord:
    """The probe shown to the model.

    Attributes
    ----------
    source
        Source of the samples, in one line.
    rows
        Number of samples.
    inputs
        Name, shape and dtype of each input.
    sample_type
        Type of the sample ids.
    has_labels, has_targets
        Whether the samples have labels, and targets.
    sha256
        SHA-256 over all input values.
    sample_ids_sha256
        SHA-256 over the sample ids in their order.
    file
        Name of the file with the sample ids, labels, targets and inputs.
    has_inputs
        Whether the file contains the inputs; they are left out if they are too large, or too
        wide for the format.
    columns
        Layout of the file; ``None`` in records older than this key.
    picture
        Height and width of the picture, if each sample is one vector of its pixels, row by
        row; ``None`` otherwise.
    notes
        Parts of the source that were not shown, or not completely.
    training
        Whether the layers ran in training mode.
    mixed_by
        Name of the first tensor whose values for a sample depended on the other samples of
        its batch. ``None`` if there is none, or if it was not measured.
    batch_size
        Number of samples per batch; the last batch was padded to this size, except in
        training and if samples depend on each other.
    compared_sizes
        Sizes of the batches in which the samples of the first batch were shown again, to
        measure the `invariance` of the tensors; empty if it was not measured.
    hash_block
        Number of samples in each of the blocks that are hashed on their own: `sha256` and
        `sample_ids_sha256` are hashes of the hashes of the blocks, or that of the only block.
        ``None`` in records older than this key, where all samples are one block.
    """

    source: str
    rows: Count
    inputs: Items[InputSpec]
    sample_type: Literal["int64", "string"]
    has_labels: bool
    has_targets: bool
    sha256: Sha256
    sample_ids_sha256: Sha256
    file: FileName
    has_inputs: bool
    columns: Items[ProbeColumns] | None = None
    picture: tuple[Count, Count] | None = None
    notes: Items[str] = ()
    training: bool = False
    mixed_by: str | None = None
    batch_size: Count | None = None
    compared_sizes: Items[Count] = ()
    hash_block: Block = None

    @property
    def sample_ids_hash(self) -> SampleIdsHash:
        """The checksum of the sample ids."""
        return SampleIdsHash(self.sample_ids_sha256, self.hash_block)
