"""What is known of a run from its parts: its record, and its tables of the probe and statistics."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import prod
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import RunError
from runner.file_names import PROBE, SUMMARY, plain_table
from runner.parts.part_records import PartRecord, Plan
from runner.probe.probe_hash import BLOCK, BlockHashes, ProbeHasher, SampleIdHasher
from runner.readable_files import ReadableFile
from runner.record.layer_record import LayerRecord, PartFile, TensorRecord
from runner.record.probe_layout import ProbeColumns
from runner.record.probe_record import ProbeRecord
from runner.record.publication import Publication
from runner.record.record import RunRecord
from runner.record.uptime import Uptime
from runner.saving.run_record import headline_of
from runner.saving.saving import PART_FORMAT
from runner.stores.digests import FileDigest
from runner.stores.store import StoredRun
from runner.tables.columns import SAMPLE_TYPES
from runner.tables.expected_rows import ids_of
from runner.tables.plain_tables import PlainTableWriter, write_table
from runner.tables.summary import RunningStatistics, is_possible, summary_table
from runner.tables.table_files import check_expansion, read_pieces
from runner.tensors import Kind

_PIECE_ROWS = 65_536

Key = tuple[Kind, str]


class UnfitPartsError(RunError):
    """Parts that do not fit together: they have to be made again."""


def now_after(plan: Plan) -> datetime:
    """Return the time, which is not before that of the plan even if the clock was set back."""
    return max(plan.started, datetime.now(UTC))


class JoinedParts:
    """What is known of a run from its parts.

    Parameters
    ----------
    plan
        The plan of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._first: RunRecord | None = None
        self._names: Mapping[str, str] = {}
        self._files: dict[Key, list[PartFile]] = {}
        self._statistics: dict[Key, RunningStatistics] = {}
        self._hashes: list[BlockHashes] = []
        self._tables: list[ReadableFile] = []
        self._columns: tuple[ProbeColumns, ...] | None = None

    def add(self, part: PartRecord, run: StoredRun, names: Mapping[str, str]) -> None:
        """Add the next part.

        Parameters
        ----------
        part, run
            Its record and its files.
        names
            The path of each of its tables inside the joined run, by that inside the part.

        Raises
        ------
        UnfitPartsError
            If it does not fit the parts before it.
        """
        record, probe = part.record, _shown(part.record)
        statistics = _statistics_of(part)
        if self._first is None:
            self._first = record
            self._names = names
            self._statistics = statistics
            self._files = {_key(tensor): [] for tensor in record.tensors if tensor.per_sample}
        else:
            _check_alike(part.part, record, self._first)
            for key, own in statistics.items():
                self._statistics[key].merge(own)
        for tensor in record.tensors:
            if tensor.per_sample:
                name = names[tensor.file]
                file = PartFile(file=name, rows=probe.rows, **vars(tensor.digest))
                self._files[_key(tensor)].append(file)
        assert part.hashes is not None, "a complete part has hashes"
        self._hashes.append(part.hashes)
        self._tables.append(_probe_table(run, probe, record.files[probe.file]))
        columns = probe.columns or ()
        if self._columns is None or len(columns) < len(self._columns):
            self._columns = columns  # a part may lack the last columns, which are large

    def finish(self, publication: Publication) -> RunRecord:
        """Write the tables of the probe and of the statistics, and return the record of the run."""
        plan, first = self._plan, self._first
        assert first is not None
        format = first.format
        summary, table = self._summary()
        with publication.open(plain_table(SUMMARY, format)) as sink:
            write_table(sink, table, format)
        probe = self._probe()
        self._write_probe(publication, format, probe)
        layers = tuple(self._layer(layer) for layer in first.layers)
        of_tensors = {name for layer in layers for t in layer.tensors for name in t.digests}
        now = now_after(plan)
        assert first.headline is not None
        return dataclasses.replace(
            first,
            started=plan.started,
            ended=now,
            seconds=(now - plan.started).total_seconds(),
            uptime=Uptime.at(time.monotonic()),
            layers=layers,
            probe=probe,
            training=plan.training,
            files={n: digest for n, digest in publication.files.items() if n not in of_tensors},
            headline=headline_of(first.headline.tensors, summary),
        )

    def _summary(self) -> tuple[list[dict[str, str | int | float]], pa.Table]:
        """Return the statistics as rows and as a table, if so many values can have them."""
        rows = self._plan.division.rows
        try:
            summary = [statistics.row() for statistics in self._statistics.values()]
            specs = [statistics.spec for statistics in self._statistics.values()]
            counts = [prod(spec.shape) * (rows if spec.per_sample else 1) for spec in specs]
            table = summary_table(summary)
            wrong = [
                row["name"]
                for row, n in zip(summary, counts, strict=True)
                if not is_possible(row, n)
            ]
        except (ArithmeticError, TypeError, ValueError) as error:
            raise UnfitPartsError(f"the statistics of the parts are damaged: {error}") from error
        if wrong:
            raise UnfitPartsError(f"the statistics of '{wrong[0]}' in the parts are impossible")
        return summary, table

    def _layer(self, layer: LayerRecord) -> LayerRecord:
        return dataclasses.replace(layer, tensors=tuple(map(self._tensor, layer.tensors)))

    def _tensor(self, tensor: TensorRecord) -> TensorRecord:
        if not tensor.per_sample:
            return dataclasses.replace(tensor, file=self._names[tensor.file])
        parts = tuple(self._files[_key(tensor)])
        whole = PartFile.together(parts)
        folder = tensor.file.rpartition("/")[0]
        return dataclasses.replace(tensor, file=folder, parts=parts, **vars(whole))

    def _probe(self) -> ProbeRecord:
        assert self._first is not None
        assert self._columns is not None
        try:
            hasher = ProbeHasher.of(self._hashes)
        except ValueError as error:
            raise UnfitPartsError(str(error)) from error
        return dataclasses.replace(
            _shown(self._first),
            rows=self._plan.division.rows,
            sha256=hasher.content(),
            sample_ids_sha256=hasher.sample_ids(),
            file=plain_table(PROBE, self._first.format),
            has_inputs=any(column.role == "input" for column in self._columns),
            columns=self._columns,
            hash_block=BLOCK,
        )

    def _write_probe(self, publication: Publication, format: str, probe: ProbeRecord) -> None:
        """Write the table of the probe, and check that its sample ids are those of the parts."""
        ids: list[Any] = []
        hasher = SampleIdHasher()
        with publication.open(plain_table(PROBE, format)) as sink:
            writer = PlainTableWriter(sink, format)
            for piece in self._pieces():
                ids += piece.column("sample").chunks
                hasher.update(ids_of(piece))
                writer.add(piece)
            writer.finish()
        all_ids = pa.chunked_array(ids)
        if len(all_ids) != pc.count_distinct(all_ids).as_py():
            counts = pc.value_counts(all_ids)
            place = int(np.argmax(counts.field("counts").to_numpy()))
            twice = counts.field("values")[place].as_py()
            raise UnfitPartsError(f"sample id {twice!r} is in several parts")
        if hasher.hexdigest() != probe.sample_ids_sha256:
            raise UnfitPartsError("the parts were shown other samples than each other expects")

    def _pieces(self) -> Iterator[pa.Table]:
        assert self._first is not None
        assert self._columns is not None
        count = 1 + sum(column.count for column in self._columns)
        schema = None
        for file in self._tables:
            types = {"sample": SAMPLE_TYPES[_shown(self._first).sample_type]}
            for piece in read_pieces(file, PART_FORMAT, None, _PIECE_ROWS, types):
                own = pa.schema(list(piece.schema)[:count])
                schema = own if schema is None else schema
                if own != schema or len(own) < count or own.names[0] != "sample":
                    raise UnfitPartsError(f"{file.place} has other columns than the record")
                yield piece.select(range(count))


def _shown(record: RunRecord) -> ProbeRecord:
    assert record.probe is not None, "a complete part was shown samples"
    return record.probe


def _probe_table(run: StoredRun, probe: ProbeRecord, digest: FileDigest) -> ReadableFile:
    """Return the table of the probe of a part, which is checked when it is opened."""
    place = run.place(probe.file)

    def opened() -> BinaryIO:
        with run.open_verified(probe.file, digest) as file:
            check_expansion(file, place, PART_FORMAT, probe.rows)
        return run.open(probe.file)

    return ReadableFile(place, opened)


def _statistics_of(part: PartRecord) -> dict[Key, RunningStatistics]:
    tensors = {_key(tensor): tensor for tensor in part.record.tensors}
    found: dict[Key, RunningStatistics] = {}
    for each in part.statistics:
        key = each.kind, each.name
        found[key] = RunningStatistics(tensors[key])
        try:
            found[key].restore(each.states)
        except (KeyError, TypeError, ValueError) as error:
            why = f"part {part.part} has damaged statistics of '{each.name}'"
            raise UnfitPartsError(why) from error
    return found


def _key(tensor: TensorRecord) -> Key:
    return tensor.kind, tensor.name


def _check_alike(number: int, record: RunRecord, first: RunRecord) -> None:
    """Check that a part was made like the first one; raise RunError if not."""
    packages, known = record.environment.packages, first.environment.packages
    for name in sorted({*packages, *known}):
        if packages.get(name) != known.get(name):
            raise UnfitPartsError(
                f"part {number} was made with {name} {packages.get(name, 'missing')}, and part 0 "
                f"with {known.get(name, 'missing')}"
            )
    if record.model != first.model:
        raise UnfitPartsError(f"part {number} was made with other weights than part 0")
    one, other = (
        {_key(t): (t.shape, t.dtype, t.unit_axis) for t in each.tensors if t.per_sample}
        for each in (first, record)
    )
    if one != other:
        _, name = min(key for key in {*one, *other} if one.get(key) != other.get(key))
        raise RunError(
            f"the table of '{name}' is not the same in part 0 and part {number}; "
            "leave out parts, and the run is made whole"
        )
