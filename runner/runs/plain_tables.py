"""The tables of a run other than those of tensors, checked against the record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from math import prod

import numpy as np
import pandas as pd
import pyarrow as pa

from runner.config.effects_config import By
from runner.errors import DamagedError, InputError
from runner.file_names import EFFECTS, HISTORY, PROBE, STEPS, SUMMARY
from runner.record.effect_record import COUNTED, PART_TYPES, SHARES
from runner.record.probe_record import ProbeRecord
from runner.record.record import RunRecord
from runner.runs.run_files import RunFiles, lacks, probe_of
from runner.runs.shown_probe import ShownProbe
from runner.tables.expected_rows import check_ids
from runner.tables.plain_tables import frame_of, named_entries, read_samples, read_table
from runner.tables.summary import DESCRIPTION, all_statistics, is_possible, summary_columns


class PlainTables:
    """Reads the tables of a run other than those of tensors.

    Every method raises `InputError` if the run has no such table, and its subclass
    `DamagedError` if the table does not match the record.

    Parameters
    ----------
    files
        Files of the run.
    record
        Content of the run's ``run.json``.
    """

    def __init__(self, files: RunFiles, record: RunRecord) -> None:
        self._files = files
        self._record = record
        self._is_compared = False

    @property
    def shown(self) -> ProbeRecord:
        """The record of the probe."""
        return probe_of(self._record)

    def samples(self) -> np.ndarray:
        """Return the sample ids, of shape (samples,)."""
        rows = self.shown.rows
        file = self._files.plain(PROBE, rows)
        samples = read_samples(file, self._record.format, self.shown.sample_type)
        _check_rows(file.place, rows, len(samples))
        check_ids(file.place, samples, self.shown.sample_ids_hash)
        return samples

    def probe(self) -> ShownProbe:
        """Return the probe that the model was shown."""
        types = {"sample": self.shown.sample_type}
        place, table = self._table(PROBE, self.shown.rows, types)
        ids = table.column("sample").to_numpy()
        check_ids(place, ids, self.shown.sample_ids_hash)
        entries = named_entries(place, table)
        probe = ShownProbe(place, frame_of(table), self.shown, self._record.format, entries)
        if not self._is_compared:
            probe.check_inputs()
            self._is_compared = True
        return probe

    def layers(self) -> pd.DataFrame:
        """Return the layers in call order, a row per captured tensor; read from the record."""
        rows = [
            {
                "layer": layer.path,
                "class": layer.layer_class,
                "order": layer.order,
                "kind": tensor and tensor.kind,
                "tensor": tensor and tensor.name,
                "shape": tensor and tensor.shape,
                "dtype": tensor and tensor.dtype,
                "file": tensor and tensor.file,
                "alias_of": tensor and tensor.alias_of,
                "reason": layer.reason,
            }
            for layer in self._record.layers
            for tensor in layer.tensors or (None,)
        ]
        return pd.DataFrame(rows, dtype=object).astype({"order": "Int64"})

    def summary(self) -> pd.DataFrame:
        """Return the statistics of the tensors, a row per tensor."""
        frame = self._read(SUMMARY, len(self._own), summary_columns(), _later_columns())
        self._check_tensors(SUMMARY, frame)
        if headline := self._record.headline:
            told = (headline.dead_units, headline.nan, headline.inf)
            dead = frame["dead_units"][frame["kind"] == "activation"].sum()
            if told != (dead, frame["nan"].sum(), frame["inf"].sum()):
                place = self._files.plain(SUMMARY, len(frame)).place
                raise DamagedError.of(place, "its counts are not those of the record")
        return frame

    def steps(self) -> pd.DataFrame:
        """Return the statistics of the tensors, a row per tensor and step of the training."""
        steps = [step.step for step in self._record.steps]
        types = {"step": "int64", **summary_columns()}
        frame = self._read(STEPS, len(self._own) * len(steps), types, _later_columns())
        for step in steps:
            self._check_tensors(STEPS, frame[frame["step"] == step])
        return frame

    def history(self) -> pd.DataFrame:
        """Return the figures of the training, a row per epoch."""
        training = self._record.training
        if training is None:
            raise lacks(self._record, HISTORY)
        rows = max(map(len, training.history.values()), default=0)
        types = dict.fromkeys(training.history, "double") | {"epoch": "int64"}
        place, table = self._table(HISTORY, rows, types)
        frame = frame_of(table).set_index("epoch")
        recorded = pd.DataFrame(training.history, range(1, rows + 1), dtype="float64")
        found = frame[list(recorded)].replace([np.inf, -np.inf], np.nan)
        if not (frame.index.equals(recorded.index) and found.equals(recorded)):
            raise DamagedError.of(place, "its figures are not those of the record")
        return frame

    def effects(self, by: By) -> pd.DataFrame:
        """Return the effects of interventions for each class or sample, a row for each."""
        rows = self._record.effect_rows
        types = {"by": "string", "key": "string", **PART_TYPES}
        frame = pd.DataFrame({"by": []})
        if rows:
            place, table = self._table(EFFECTS, rows, types)
            frame = frame_of(table)
            if wrong := next(filter(partial(_no_figures, frame), PART_TYPES), None):
                raise DamagedError.of(place, f"no effects have such figures in '{wrong}'")
        frame = frame[frame["by"] == by].drop(columns="by")
        if frame.empty:
            raise InputError.of(
                f"run {self._record.run_id}",
                f"holds no effects by {by}",
                f"make it again with effects.by=[{by}]",
            )
        return frame.rename(columns={"key": by})

    @property
    def _own(self) -> set[tuple[str | int, ...]]:
        """The description of each tensor in a summary, in the order of `DESCRIPTION`."""
        return {
            (t.name, t.kind, t.layer_path, t.layer_class, str(list(t.shape)), t.dtype, t.units)
            for t in self._record.tensors
            if t.alias_of is None
        }

    def _read(
        self,
        stem: str,
        rows: int,
        types: Mapping[str, str],
        optional: Collection[str] = (),
    ) -> pd.DataFrame:
        """Return a table that has at least the columns named in `types`, except `optional` ones."""
        return frame_of(self._table(stem, rows, types, optional)[1])

    def _table(
        self,
        stem: str,
        rows: int,
        types: Mapping[str, str],
        optional: Collection[str] = (),
    ) -> tuple[str, pa.Table]:
        file = self._files.plain(stem, rows)
        table = read_table(file, self._record.format, types, optional)
        _check_rows(file.place, rows, len(table))
        return file.place, table

    def _check_tensors(self, stem: str, frame: pd.DataFrame) -> None:
        """Check that statistics have a row for every tensor, raise DamagedError otherwise."""
        place = self._files.plain(stem, len(frame)).place
        if self._own != set(zip(*(frame[key] for key in DESCRIPTION), strict=True)):
            raise DamagedError.of(place, "expected a row for each tensor of the run")
        tensors = {(tensor.kind, tensor.name): tensor for tensor in self._record.tensors}
        shown = 0 if self._record.probe is None else self._record.probe.rows
        for row in frame.to_dict("records"):
            tensor = tensors[row["kind"], row["name"]]
            values = prod(tensor.shape) * (shown if tensor.per_sample else 1)
            if not is_possible(row, values):
                raise DamagedError.of(
                    place, f"the statistics of '{tensor.name}' are impossible for {values:,} values"
                )


def _later_columns() -> set[str]:
    """Return the statistics that the summary of a run may lack."""
    return {name for name, each in all_statistics().items() if not each.is_in_every_run}


def _no_figures(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column of effects holds numbers that no effect has."""
    if PART_TYPES[name] == "string":
        return False
    found = frame[name].to_numpy()
    known = found[~np.isnan(found)]
    if name in COUNTED:
        is_whole = (known >= 0) & (known < 2**53) & (known == np.floor(known))
        return not is_whole.all() or (name == "samples" and known.size < found.size)
    if name in SHARES:
        return not ((known >= 0) & (known <= 1)).all()
    return bool(np.isinf(known).any())


def _check_rows(place: str, expected: int, found: int) -> None:
    if found != expected:
        raise DamagedError.of(place, f"expected {expected:,} rows, found {found:,}")
