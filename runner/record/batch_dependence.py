"""How a run's values depend on the batches of its samples, in words."""

from __future__ import annotations

from runner.errors import some
from runner.record.record import RunRecord
from runner.tensors import Invariance

_NOTES: dict[Invariance | None, str] = {
    "none": "a sample's values depend on the other samples in its batch",
    None: "the values differ each time the same batch is shown",
    "rounding": "a sample's values change by rounding when it is shown in another batch",
}


def batch_notes(record: RunRecord) -> list[str]:
    """Return sentences that name the tensors whose values depend on the batch.

    Empty if the values of all tensors were bit-for-bit identical in other batches, or if this
    was not measured (see `runner.record.probe_record.ProbeRecord`).
    """
    if record.probe is None or not record.probe.compared_sizes:
        return []
    measured = [tensor for tensor in record.tensors if tensor.per_sample and not tensor.alias_of]
    found = {
        note: [tensor.name for tensor in measured if tensor.invariance == invariance]
        for invariance, note in _NOTES.items()
    }
    return [f"{note}: {some(names, most=3)}" for note, names in found.items() if names]


def batch_warning(layer: str, batch_size: int) -> str:
    """Return the warning that a layer mixes the samples of a batch, if there are several."""
    return (
        f"the output of '{layer}' for a sample depends on the samples beside it: batches have "
        f"{batch_size} samples, in the order of the probe"
    )


def batch_facts(record: RunRecord) -> dict[str, str]:
    """Return the batch sizes of a run and how its values compare in other batches, as texts."""
    probe = record.probe
    if probe is None or probe.batch_size is None:
        return {}
    batches = f"{probe.batch_size:,} samples each"
    if probe.compared_sizes:
        sizes = " and ".join(f"{size:,}" for size in dict.fromkeys(probe.compared_sizes))
        notes = "; ".join(batch_notes(record)) or "all values are bit-for-bit identical"
        batches += f"; compared with batches of {sizes}: {notes}"
    return {"batches": batches}
