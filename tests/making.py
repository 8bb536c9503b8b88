"""Small published runs, made by writing, recording and publishing, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from runner.engines.settings import Backend
from runner.file_names import tensor_table
from runner.probe.batch import Batch
from runner.probe.probe_hash import BLOCK, Block, ProbeHasher
from runner.readable_files import ReadableFile, ReadableTable
from runner.record.environment import Environment
from runner.record.layer_record import LayerRecord, TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.publication import Publication
from runner.record.record import Headline, ModelRecord, RunRecord
from runner.stores.local_draft import LocalDraft
from runner.table_formats import FORMATS, own_stored
from runner.tables.plain_tables import write_table
from runner.tables.summary import RunningStatistics, summary_table
from runner.tables.writing import TableWriter, write_weight
from runner.tensors import InputSpec, TensorSpec
from runner.wiring import CallWiring, Wire

STORED = own_stored()
"""The formats that runs are made in."""

_BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)
_minutes = count()


def at(path: Path) -> ReadableFile:
    """Return a file on the disk as a store gives it."""
    return ReadableFile(str(path), partial(path.open, "rb"))


def table_at(*paths: Path) -> ReadableTable:
    """Return a table on the disk, in one file or in several, as a store gives it."""
    return ReadableTable(str(paths[0]), tuple(map(at, paths)))


def spec_of(name: str, array: np.ndarray, order: int = 0) -> TensorSpec:
    """Return the spec of a Dense layer's output, or of a weight if the name says so."""
    layer, slash, _ = name.partition("/")
    return TensorSpec(
        name=name,
        kind="weight" if slash else "activation",
        layer_path=layer,
        layer_class="Dense",
        call=None if slash else 0,
        output=None,
        shape=array.shape if slash else array.shape[1:],
        dtype=array.dtype.name,
        order=order,
    )


def make_run(
    path: Path,
    tensors: Mapping[str, np.ndarray] | None = None,
    *,
    run_id: str | None = None,
    samples: Sequence[Any] = (0, 1, 2),
    labels: Sequence[Any] | None = None,
    targets: np.ndarray | None = None,
    inputs: np.ndarray | None = None,
    aliases: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    error: str | None = None,
    format: str = "parquet",
    hash_block: Block = BLOCK,
    **known: Any,
) -> Path:
    """Publish a run to `path`; each one ends a minute after the one made before it.

    By default its id is ``0a1b2c3d``, and counts up for runs in the same folder.
    A name with a slash is that of a weight. An alias shares the tensor that it names.
    With `error`, the run is a failed one and holds nothing but its record.
    """
    if run_id is None:
        run_id = f"{0x0A1B2C3D + len(list(path.parent.glob('*/run.json'))):08x}"
    if tensors is None:
        tensors = {"hidden": np.arange(12, dtype=np.float32).reshape(3, 4)}
    config = {"seed": 0} if config is None else dict(config)
    sample_ids = np.array(samples, dtype=np.int64 if isinstance(samples[0], int) else object)
    sample_type = "int64" if sample_ids.dtype == np.int64 else "string"
    inputs = np.eye(len(samples), dtype=np.float32) if inputs is None else inputs
    hasher = ProbeHasher(hash_block)
    hasher.update(Batch(sample_ids, inputs))
    ended = _BEGINNING + timedelta(minutes=next(_minutes))
    facts: dict[str, Any] = {
        "run_id": run_id,
        "status": "COMPLETED" if error is None else "FAILED",
        "error": error,
        "started": ended - timedelta(seconds=1),
        "ended": ended,
        "seconds": 1.0,
        "config": config,
        "seed": config.get("seed"),
        "format": format,
        "environment": Environment("3.11.0", "Linux", {"numpy": "2.0.0"}, None),
    }
    with Publication(LocalDraft(path)) as publication:
        if error is not None:
            record = RunRecord(**facts, files={}, **known)
            return Path(publication.publish(record.to_json()).place())
        layers: dict[str, list[TensorRecord]] = {}
        rows = []
        for order, (name, array) in enumerate(tensors.items()):
            spec = spec_of(name, array, order)
            file = tensor_table(spec, format)
            statistics = RunningStatistics(spec)
            with publication.open(file) as sink:
                if spec.kind == "weight":
                    write_weight(sink, spec, array, format)
                    statistics.update(array[None])
                else:
                    writer = TableWriter(sink, spec, format, sample_type)
                    writer.write(sample_ids, array)
                    writer.close()
                    statistics.update(array)
            rows.append(statistics.row())
            record = TensorRecord.of(spec, file, publication.files[file])
            layers.setdefault(spec.layer_path, []).append(record)
        for order, (name, owner) in enumerate((aliases or {}).items(), len(tensors)):
            [shared] = [
                tensor for tensor in layers[owner.partition("/")[0]] if tensor.name == owner
            ]
            spec = spec_of(name, tensors[owner], order)
            digest = publication.files[shared.file]
            alias = TensorRecord.of(spec, shared.file, digest, alias_of=owner)
            layers.setdefault(spec.layer_path, []).append(alias)
        columns: dict[str, Any] = {"sample": pa.array(sample_ids)}
        if labels is not None:
            columns["label"] = pa.array(labels)
        if targets is not None:
            columns |= {f"target{i}": pa.array(targets[:, i]) for i in range(targets.shape[1])}
        columns |= {f"input{i}": pa.array(inputs[:, i]) for i in range(inputs.shape[1])}
        for stem, table in (("probe", pa.table(columns)), ("summary", summary_table(rows))):
            with publication.open(stem + FORMATS[format].suffix) as sink:
                write_table(sink, table, format)
        files = dict(publication.files)
        for name in {tensor.file for own in layers.values() for tensor in own}:
            del files[name]
        facts |= {
            "backend": Backend("tensorflow", 0, 0, True, False),
            "model": ModelRecord("Functional", 26, ("output",), "a" * 64),
            "probe": ProbeRecord(
                source="tutorial",
                rows=len(samples),
                inputs=(InputSpec("input", inputs.shape[1:], inputs.dtype.name),),
                sample_type=sample_type,
                has_labels=labels is not None,
                has_targets=targets is not None,
                sha256=hasher.content(),
                sample_ids_sha256=hasher.sample_ids(),
                file=f"probe{FORMATS[format].suffix}",
                has_inputs=True,
                hash_block=hash_block,
            ),
            "layers": _chained(layers, config),
            "headline": Headline(
                tensors=len(rows),
                dead_units=sum(
                    int(row["dead_units"]) for row in rows if row["kind"] == "activation"
                ),
                nan=sum(int(row["nan"]) for row in rows),
                inf=sum(int(row["inf"]) for row in rows),
            ),
        }
        whole = RunRecord(**(facts | known), files=files)
        return Path(publication.publish(whole.to_json()).place())


def _chained(
    layers: Mapping[str, Sequence[TensorRecord]], config: Mapping[str, Any]
) -> tuple[LayerRecord, ...]:
    """Return Dense layers as the configuration has them, each called on the one before."""
    declared = config.get("model", {}).get("layers", {})
    sources = [Wire("inputs", model_input="input"), *(Wire("inputs", name) for name in layers)]
    return tuple(
        LayerRecord(
            layer,
            "Dense",
            order,
            tuple(own),
            None,
            arguments={
                "activation": "linear",
                "dtype": "float32",
                **{
                    key: value
                    for key, value in declared.get(layer, {}).items()
                    if value is not None
                },
            },
            calls=(CallWiring(layer, (sources[order],)),),
        )
        for order, (layer, own) in enumerate(layers.items())
    )
