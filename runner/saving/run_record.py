"""Makes the record of a run from the probe as shown and the tables as written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.probe.probe_hash import BLOCK
from runner.record.header import Header
from runner.record.layer_record import LayerRecord
from runner.record.probe_record import ProbeRecord
from runner.record.record import Headline, ModelRecord, RunRecord
from runner.saving.layer_records import with_tables
from runner.saving.probe_table import ProbeTable
from runner.saving.steps import Steps
from runner.saving.tensor_tables import TensorTables
from runner.showing.showing import Showing
from runner.stores.digests import FileDigest


def record_of_run(
    header: Header,
    showing: Showing,
    steps: Steps,
    probe_table: ProbeTable,
    layers: tuple[LayerRecord, ...],
    files: Mapping[str, FileDigest],
    **known: Any,
) -> RunRecord:
    """Return the record of a run whose tables are complete.

    Parameters
    ----------
    header
        The facts that were known before the probe was shown.
    showing
        The probe as shown at the last step.
    steps
        The tables of tensors.
    probe_table
        The table of the probe.
    layers
        The records of the layers.
    files
        Digests of all files of the run, by path.
    **known
        Further fields of `runner.record.record.RunRecord`.
    """
    of_tensors = steps.files
    return header.record(
        showing.settings.format,
        **{"status": "COMPLETED", **known},
        backend=showing.capture.library.read_backend(showing.model),
        model=_model_record(showing, steps.last),
        probe=_probe_record(showing, steps.last, probe_table),
        layers=layers,
        steps=steps.records(),
        files={name: digest for name, digest in files.items() if name not in of_tensors},
        headline=headline_of(len(with_tables(showing.capture)), steps.last.summary),
    )


def _model_record(showing: Showing, tables: TensorTables) -> ModelRecord:
    model = showing.model
    return ModelRecord(
        type(model).__name__,
        showing.capture.library.count_parameters(model),
        showing.capture.outputs,
        tables.weights_sha256,
    )


def _probe_record(showing: Showing, tables: TensorTables, probe_table: ProbeTable) -> ProbeRecord:
    probe, settings = showing.probe, showing.settings
    return ProbeRecord(
        source=probe.source,
        rows=tables.rows,
        inputs=probe.inputs,
        sample_type=probe.sample_type,
        has_labels=probe.has_labels,
        has_targets=probe.has_targets,
        sha256=tables.hasher.content(),
        sample_ids_sha256=tables.hasher.sample_ids(),
        file=probe_table.file,
        has_inputs=probe_table.has_inputs,
        columns=probe_table.layout,
        picture=probe.picture,
        notes=probe.notes,
        training=settings.capture.training,
        mixed_by=showing.mixed_by,
        batch_size=showing.batch_size,
        compared_sizes=showing.compared_sizes,
        hash_block=BLOCK,
    )


def headline_of(tensors: int, summary: Sequence[Mapping[str, Any]]) -> Headline:
    """Return the key statistics of a run.

    Parameters
    ----------
    tensors
        Number of tensors captured per sample, without aliases.
    summary
        The rows of the summary.
    """
    return Headline(
        tensors=tensors,
        dead_units=sum(int(row["dead_units"]) for row in summary if row["kind"] == "activation"),
        nan=sum(int(row["nan"]) for row in summary),
        inf=sum(int(row["inf"]) for row in summary),
    )
