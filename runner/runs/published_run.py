"""A published run: its record, and its tables by name."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from runner.errors import InputError
from runner.readable_files import ReadableFile
from runner.record.layer_record import TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.runs.plain_tables import PlainTables
from runner.runs.run_files import RunFiles
from runner.runs.shown_probe import ShownProbe
from runner.runs.unknown import UnknownTensorError
from runner.similarity.dimensions import layer_statistics
from runner.similarity.representation import Representation
from runner.stores.local_run import run_at
from runner.stores.store import StoredRun
from runner.tables.layout import stored_dtype
from runner.tables.reading import read_array, read_blocks, read_rows
from runner.tables.rows import Rows
from runner.tensors import Kind

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Step = int | Literal["all"] | None


class Run:
    """A published run: its record, and its tables by the names of their tensors.

    ``run["hidden"]`` reads a table; ``"hidden" in run`` and iteration cover the names of the
    tensors captured per sample. Tables are read only when they are accessed.

    Parameters
    ----------
    stored
        The files of the run.
    record
        Content of the run's ``run.json``.
    """

    def __init__(self, stored: StoredRun, record: RunRecord) -> None:
        self.stored = stored
        self.record = record
        self._files = RunFiles(stored, record)
        self._plain = PlainTables(self._files, record)

    @classmethod
    def read(cls, place: str | Path | StoredRun) -> Run:
        """Read the record of the run in a folder, or in another store.

        Raises
        ------
        DamagedError
            As from `runner.record.reading.read_record`.
        """
        stored = run_at(place)
        return cls(stored, read_record(stored))

    @property
    def path(self) -> Path:
        """The folder of the run.

        Raises
        ------
        InputError
            If it has none on this machine.
        """
        if self.stored.folder is None:
            raise InputError.of(self.stored.place(), "is not in a folder of this machine")
        return self.stored.folder

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run."""
        return self.record.config

    @property
    def seed(self) -> int | None:
        """The seed from which the weights were drawn; ``None`` if there was none."""
        return self.record.seed

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.record.status} {self.stored.place()!r}>"

    def _repr_html_(self) -> str:
        """Return the HTML that notebooks display: one line about the run, and its layers."""
        record = self.record
        name = f" ({record.name})" if record.name else ""
        failed = f": {record.error}" if record.error else ""
        said = f"run {self.id}{name}, {record.status}{failed}"
        columns = ["tensor", "class", "shape", "dtype"]
        layers = self.layers.reindex(columns=[*columns, "reason"]).fillna("").to_html(index=False)
        return f"<p>{html.escape(said)}</p>{layers if record.layers else ''}"

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return the table of a tensor, as in `table`."""
        return self.table(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for kind, name in self._tensors if kind != "weight"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def tensor(self, name: str, kind: Kind | None = None) -> TensorRecord:
        """Return the record of a tensor.

        Parameters
        ----------
        name
            Name of the tensor, such as ``encoder/dense``, ``dense@1`` or ``dense/kernel``.
        kind
            Kind of the tensor. By default, an activation takes precedence over tensors of
            other kinds with the same name.

        Raises
        ------
        UnknownTensorError
            If there is no such tensor; it is an `InputError` and a `KeyError`.
        """
        for known in (kind,) if kind is not None else get_args(Kind):
            if (known, name) in self._tensors:
                return self._tensors[known, name]
        raise UnknownTensorError.asked(self.record, name, kind)

    def table(self, name: str, kind: Kind | None = None, step: Step = None) -> pd.DataFrame:
        """Return a tensor's table.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`, or ``all`` of them; default: the last step.

        Returns
        -------
        pandas.DataFrame
            Values in the tensor's own dtype. Tensors per sample: indexed by ``sample``, a
            column per unit (``u0``, ``u1``...); the columns of a map are its coordinates.
            Weights: a column per entry of the last axis, indexed by the other axes. With all
            steps, the first level of the index is ``step``.

        Raises
        ------
        UnknownTensorError
            As in `tensor`.
        InputError
            If a map has too many coordinates for columns (use `array`), there is no such
            step, or the file is damaged.
        """
        return self.rows(name, kind, step).frame()

    def rows(self, name: str, kind: Kind | None = None, step: Step = None) -> Rows:
        """Return the rows of a tensor's table; arguments and errors as in `table`."""
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        format = self.record.format
        parts = [
            read_rows(file, stored, format, rows=probe.rows, ids=probe.sample_ids_hash)
            for file in self._files.of(stored, step)
        ]
        if step != "all":
            return parts[0]
        frame = pd.concat([part.frame() for part in parts], keys=self.steps, names=["step"])
        return Rows(frame.index, frame.columns, frame.to_numpy())

    def array(self, name: str, kind: Kind | None = None, step: Step = None) -> np.ndarray:
        """Return the values of a tensor in their full shape.

        Parameters
        ----------
        name, kind, step
            As in `table`.

        Returns
        -------
        numpy.ndarray
            Shape (sample, *axes of a sample), or the shape of the weight; memory-mapped if
            the format allows it. With all steps: shape (step, ...), in memory.
        """
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        arrays = [
            read_array(file, stored, self.record.format, probe.rows, probe.sample_ids_hash)
            for file in self._files.of(stored, step)
        ]
        return np.stack(arrays) if step == "all" else arrays[0]

    def blocks(
        self, name: str, kind: Kind | None = None, step: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the values of a tensor in blocks of samples.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`; by default the last.

        Yields
        ------
        numpy.ndarray
            Shape (samples, *axes of a sample); for a weight (rows, last axis), where rows
            are the entries of its other axes.
        """
        stored, probe = self._files.stored(self.tensor(name, kind)), self.probe_record
        file, format = self._files.at(stored, step), self.record.format
        return read_blocks(file, stored, format, probe.rows, probe.sample_ids_hash)

    def representation(
        self, name: str, kind: Kind | None = None, step: int | None = None
    ) -> Representation:
        """Return a tensor for comparison; its values are read later.

        Parameters
        ----------
        name, kind
            As in `tensor`.
        step
            One of `steps`; by default the last.

        Raises
        ------
        UnknownTensorError
            As in `tensor`.
        InputError
            If the tensor is a weight.
        """
        spec = self.tensor(name, kind)
        if not spec.per_sample:
            raise InputError.of(name, "is a weight, which has no samples", "name a layer")
        return Representation(
            run=self.id,
            layer=name,
            samples=self.probe_record.rows,
            width=prod(spec.shape),
            dtype=stored_dtype(spec),
            read=partial(self.array, name, spec.kind, step),
            read_blocks=partial(self.blocks, name, spec.kind, step),
            unit_run=prod(spec.shape[spec.unit_axis + 1 :]),
        )

    def plot(self, name: str, kind: Kind | None = None, step: int | None = None) -> Figure:
        """Return a heat map of a tensor: samples by units, or a weight by its last axis.

        Arguments as in `blocks`. For large tensors, an excerpt is drawn; the title states
        which, and what was averaged. Requires plotly (``pip install "activation-runner[report]"``).
        """
        from runner.plots.activation_figures import tensor_heat_map

        tensor, values = self.tensor(name, kind), self.array(name, kind, step)
        if tensor.per_sample:
            return tensor_heat_map(values, list(self.samples), name, unit_axis=tensor.unit_axis)
        values = values.reshape(-1, values.shape[-1] if values.ndim else 1)
        return tensor_heat_map(values, range(len(values)), name, "row")

    def weights(self, name: str, step: Step = None) -> pd.DataFrame:
        """Return the table of a weight, such as ``hidden/kernel``."""
        return self.table(name, "weight", step)

    @property
    def steps(self) -> list[int]:
        """The captured steps of the training; tables show the last one by default.

        Empty without training, and if only the trained model was captured.
        """
        return [step.step for step in self.record.steps]

    @property
    def history(self) -> pd.DataFrame:
        """The figures of the training: a row per epoch (index ``epoch``, from 1)."""
        return self._plain.history()

    @property
    def step_summary(self) -> pd.DataFrame:
        """Like `summary`, with a row per captured tensor and step, ``step`` first."""
        return self._plain.steps()

    @property
    def names(self) -> list[str]:
        """The names of all tensors, weights included."""
        return list(dict.fromkeys(name for _, name in self._tensors))

    @property
    def layer_outputs(self) -> list[str]:
        """The names of the activations in call order, without aliases of other tensors."""
        return [
            t.name for t in self.record.tensors if t.kind == "activation" and t.alias_of is None
        ]

    @property
    def samples(self) -> np.ndarray:
        """The sample ids, of shape (samples,): int64, or objects that are text."""
        return self._plain.samples()

    def file_of(self, name: str, kind: Kind | None = None, step: int | None = None) -> ReadableFile:
        """Return the file of a tensor's table; arguments as in `blocks`."""
        return self._files.at(self._files.stored(self.tensor(name, kind)), step)

    def file(self, name: str) -> ReadableFile:
        """Return a file by its path inside the run; raise DamagedError if the record has none."""
        return self._files.named(name)

    @property
    def layers(self) -> pd.DataFrame:
        """The layers in call order: a row per captured tensor, or one with the reason for none."""
        return self._plain.layers()

    @property
    def summary(self) -> pd.DataFrame:
        """Shape, dtype and statistics of the tensors, a row per captured tensor."""
        return self._plain.summary()

    def statistics(self) -> pd.DataFrame:
        """Return statistics of each layer's values, which are read for this.

        Returns
        -------
        pandas.DataFrame
            A row per tensor captured per sample. From `summary`: ``name``, ``kind``,
            ``layer``, ``class``, ``units`` and every statistic, of which ``zeros`` is called
            ``sparsity``. Computed here: ``norm``, ``norm_std``, ``saturation``,
            ``effective_rank``, ``participation_ratio``, each explained in
            `runner.similarity.dimensions.layer_statistics`.
        """
        summary = self.summary.rename(columns={"zeros": "sparsity"})
        rows = summary[summary["kind"] != "weight"].reset_index(drop=True)
        computed = [
            layer_statistics(self.representation(name, kind), units, least, most)
            for name, kind, units, least, most in zip(
                *(rows[key] for key in ("name", "kind", "units", "min", "max")), strict=True
            )
        ]
        about = rows[["name", "kind", "layer", "class", "units"]]
        others = rows.drop(columns=[*about, "shape", "dtype"])
        return pd.concat([about, others, pd.DataFrame(computed)], axis=1)

    @property
    def probe(self) -> pd.DataFrame:
        """The inputs as shown, with labels and targets, indexed by ``sample``.

        Inputs that were too large to store are not included.
        """
        return self.shown.table

    @property
    def shown(self) -> ShownProbe:
        """The probe that the model was shown."""
        return self._plain.probe()

    @property
    def probe_record(self) -> ProbeRecord:
        """The record of the probe.

        Raises
        ------
        InputError
            If the run failed before the probe was shown.
        """
        return self._plain.shown

    @property
    def labels(self) -> pd.Series | None:
        """The labels, indexed by ``sample``; ``None`` if the probe had none."""
        return self.shown.select("label").iloc[:, 0] if self.probe_record.has_labels else None

    @property
    def targets(self) -> pd.DataFrame | None:
        """The targets, indexed by ``sample``; ``None`` if the probe had none."""
        return self.shown.select("target") if self.probe_record.has_targets else None

    @cached_property
    def _tensors(self) -> dict[tuple[Kind, str], TensorRecord]:
        return {(tensor.kind, tensor.name): tensor for tensor in self.record.tensors}
