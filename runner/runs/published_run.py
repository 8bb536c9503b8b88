"""A published run: its record, and its tables."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from runner.config.effects_config import By
from runner.errors import InputError
from runner.readable_files import ReadableFile
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.runs.plain_tables import PlainTables
from runner.runs.run_tensors import RunTensors
from runner.runs.shown_probe import ShownProbe
from runner.similarity.dimensions import layer_statistics
from runner.store_urls import runs_place
from runner.stores.places import Place, run_at
from runner.stores.store import StoredRun
from runner.tensors import PER_SAMPLE, Kind

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Run(RunTensors):
    """A published run: its record, its tensors by name, and its other tables.

    Parameters
    ----------
    stored
        The files of the run.
    record
        Content of the run's ``run.json``.
    """

    def __init__(self, stored: StoredRun, record: RunRecord) -> None:
        super().__init__(stored, record)
        self._plain = PlainTables(self._files, record)

    @classmethod
    def read(cls, place: Place | StoredRun) -> Run:
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

    def rerun(
        self,
        *overrides: str,
        model: Any = None,
        path: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        trust_code: bool = False,
        convert: str | None = None,
    ) -> Run:
        """Repeat the run on the same probe, as it was or with changes.

        Parameters
        ----------
        *overrides
            Keys of the configuration with other values: ``"backend=jax"``. The model is then given
            the weights of the run, and is not trained.
        model
            A model to show the probe to, of any library; its weights are its own. A run that was
            saved from Python can only be repeated with one.
        path
            Folder or URL of the new run, nonexistent or empty; by default below ``outputs``.
        env
            Variables of the environment for the process that makes the new run.
        trust_code
            Whether to run the Python code that the record names.
        convert
            ``litert`` or ``onnx``: the model is converted, and the new run is that of the file,
            which is kept in its folder.

        Returns
        -------
        Run
            The new run: ``runner.diff(run, new, weights=False)`` compares it.

        Raises
        ------
        InputError
            If an override is invalid, or the run cannot be repeated, or not with these.
        RunError
            If the new run fails.
        """
        from runner.sameness import floors, other_model, repetition

        folder = repetition.new_folder() if path is None else runs_place(path, "path")
        if model is None:
            made = repetition.prepared(self, overrides, env, trust_code=trust_code, convert=convert)
            weights = repetition.weights_for(self) if made.is_given_weights else None
            if not made.told:
                return Run.read(made.make(folder, weights))
            with floors.reference_for(self, weights, trust_code=trust_code) as reference:
                return Run.read(made.make(folder, weights, reference))
        if overrides or env or convert:
            raise InputError.of("model", "is what differs: give it without overrides and env")
        return Run.read(other_model.show_to(model, self, self.shown, folder, trust_code=trust_code))

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

    @property
    def history(self) -> pd.DataFrame:
        """The figures of the training: a row per epoch (index ``epoch``, from 1)."""
        return self._plain.history()

    @property
    def step_summary(self) -> pd.DataFrame:
        """Like `summary`, with a row per captured tensor and step, ``step`` first."""
        return self._plain.steps()

    @property
    def samples(self) -> np.ndarray:
        """The sample ids, of shape (samples,): int64, or objects that are text."""
        return self._plain.samples()

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
        rows = summary[summary["kind"].isin(PER_SAMPLE)].reset_index(drop=True)
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
    def effects(self) -> pd.DataFrame:
        """What interventions did to the outputs of the model, the largest mean change first.

        The columns are the attributes of `runner.record.effect_record.EffectRecord`.

        Raises
        ------
        InputError
            If the run has no interventions.
        """
        if not self.record.effects:
            raise InputError.of(
                f"run {self.id}", "has no interventions", "make one with: intervene.LAYER.set=0"
            )
        return _sorted(pd.DataFrame([vars(effect) for effect in self.record.effects]))

    def effects_by(self, by: By) -> pd.DataFrame:
        """Return what interventions did to the outputs for each class, or each sample.

        Parameters
        ----------
        by
            ``class``, the label of the samples, or ``sample``: the first column of the result. The
            others are those of `effects`, without losses.

        Raises
        ------
        InputError
            If the run does not hold these effects.
        """
        return _sorted(self._plain.effects(by))

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
    def labels(self) -> pd.Series | None:
        """The labels, indexed by ``sample``; ``None`` if the probe had none."""
        return self.shown.select("label").iloc[:, 0] if self.probe_record.has_labels else None

    @property
    def targets(self) -> pd.DataFrame | None:
        """The targets, indexed by ``sample``; ``None`` if the probe had none."""
        return self.shown.select("target") if self.probe_record.has_targets else None


def _sorted(effects: pd.DataFrame) -> pd.DataFrame:
    """Return effects with the largest mean change first."""
    places = dict.fromkeys(("head", "unit", "position"), "Int64")
    frame = effects.astype({"layer": object, **places, "samples": "int64"})
    frame["layer"] = frame["layer"].where(frame["layer"] != "", None)
    return frame.sort_values("mean_abs", ascending=False, kind="stable", ignore_index=True)
