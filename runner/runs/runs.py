"""Several runs side by side: one frame of their configs, one table of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pandas as pd

from runner.errors import InputError, some, suggest
from runner.runs.alignment import union_of, widened
from runner.runs.comparable import comparable_layers
from runner.runs.configs import differing_keys, flat_config, hashable
from runner.runs.database import StoredTable, is_in_query, select, view_names
from runner.runs.dataset import dataset_of, refuse_differing
from runner.runs.naming import labels_beside_seed, run_labels
from runner.runs.omissions import completed, each, with_tables
from runner.runs.published_run import Run
from runner.runs.unreadable import Unreadable
from runner.similarity.matrices import matrices_of
from runner.similarity.pairs import MAX_BYTES, MAX_SAMPLES, Metric, compare_layers
from runner.similarity.progress import Progress, silent

if TYPE_CHECKING:
    import xarray
    from plotly.graph_objects import Figure

_ABSENT = object()
_T = TypeVar("_T")


class Runs:
    """Several runs, side by side.

    Parameters
    ----------
    runs
        The runs, in the order in which they will be listed.
    unreadable
        What lies among them and cannot be read; it counts as no run.

    Attributes
    ----------
    unreadable : list[Unreadable]
        As given.
    differing : list[str]
        The config keys in which the runs differ, dotted; a key that only some have
        is one of them. Of keys that have the same values in every run, as one that
        refers to another does, the outermost.
    """

    def __init__(self, runs: Iterable[Run], unreadable: Iterable[Unreadable] = ()) -> None:
        self._runs = list(runs)
        self.unreadable = list(unreadable)
        # A failed run may have no configuration.
        self.differing = differing_keys([run.config for run in self._runs if run.config])

    @cached_property
    def _configs(self) -> list[dict[str, Any]]:
        return [dict(flat_config(run.config)) for run in self._runs]

    def __repr__(self) -> str:
        return f"<Runs {some([run.id for run in self])}>"

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> Run:
        return self._runs[index]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the frame, at most 60 of its rows."""
        return f"<p>{len(self)} runs</p>{self.frame.to_html(index=False, max_rows=60)}"

    @property
    def frame(self) -> pd.DataFrame:
        """A row per run: ``run``, ``status``, the config keys that differ, headline statistics.

        The statistics are ``tensors``, ``dead_units``, ``nan`` and ``inf``, missing for a
        failed run; then, of trained runs, the figures of the last epoch (``loss``,
        ``accuracy``). Where a run failed, a last column ``error`` says why. What cannot be
        read has a row too, with the name of its folder and the status UNREADABLE.
        """
        rows: list[dict[str, Any]] = [
            {
                "run": run.id,
                "status": run.record.status,
                **{key: config.get(key) for key in self.differing},
                **(vars(run.record.headline) if run.record.headline is not None else {}),
                **run.record.last_figures,
            }
            for run, config in zip(self._runs, self._configs, strict=True)
        ]
        rows += [{"run": one.path.name, "status": "UNREADABLE"} for one in self.unreadable]
        errors = [run.record.error for run in self] + [one.why for one in self.unreadable]
        frame = pd.DataFrame(rows)
        if any(error is not None for error in errors):
            frame["error"] = errors
        return frame

    def where(self, **conditions: Any) -> Runs:
        """Return the runs that meet all conditions.

        Parameters
        ----------
        **conditions
            For a config key (``**{"model.hidden_units": 4}`` where it is dotted), or for
            ``run`` or ``status``: the value to have, or a list of such.

        Raises
        ------
        InputError
            If no run has such a key, or none meets a condition.
        """
        kept = list(zip(self._runs, self._configs, strict=True))
        for key, wanted in conditions.items():
            own = [{**config, "run": r.id, "status": r.record.status} for r, config in kept]
            found = [facts.get(key, _ABSENT) for facts in own]
            if all(value is _ABSENT for value in found):
                known = {name for facts in own for name in facts}
                raise InputError.of(key, "no run has this config key", suggest(key, known))
            choices = list(wanted) if pd.api.types.is_list_like(wanted) else [wanted]
            kept = [pair for pair, value in zip(kept, found, strict=True) if value in choices]
            if not kept:
                there = some(sorted({str(value) for value in found if value is not _ABSENT}))
                raise InputError.of(key, f"no run has {wanted!r}", f"there are {there}")
        return Runs(run for run, _ in kept)

    def table(
        self,
        name: str,
        align: Literal["union"] | None = None,
        step: int | Literal["all"] | None = None,
    ) -> pd.DataFrame:
        """Return one tensor's table of all runs, one below the other.

        Failed runs have no tables: a warning names them and
        ``where(status="COMPLETED")`` leaves them out knowingly. So does a warning name runs
        whose table is missing or damaged.

        Parameters
        ----------
        name
            The tensor's name, as in `Run.tensor`.
        align
            What to do where runs differ in their units: ``union`` takes the units of
            all and fills those that a run does not have with NaN.
        step
            A step of the trainings, or ``all`` of them; the last of each if not given.

        Returns
        -------
        pandas.DataFrame
            Indexed by the config keys that differ, then by ``step`` where all are asked
            for, then ``sample`` (a weight: its leading axes); by ``run`` first, where those
            keys do not tell all runs apart.

        Raises
        ------
        InputError
            If a run has no such tensor, or if runs differ in its units and `align` is
            not given.
        """
        runs, frames = self._completed()._each(lambda run: run.table(name, step=step))
        if align == "union":
            columns = union_of([frame.columns for frame in frames])
            frames = [widened(frame, columns) for frame in frames]
        else:
            refuse_differing(name, runs, [tuple(frame.columns) for frame in frames])
        levels = runs._levels()
        lengths = [len(frame) for frame in frames]
        rows = frames[0].index.append([frame.index for frame in frames[1:]])
        index = pd.MultiIndex.from_arrays(
            [
                *(pd.Index(values).repeat(lengths) for values in levels.values()),
                *(rows.get_level_values(level) for level in range(rows.nlevels)),
            ],
            names=[*levels, *rows.names],
        )
        values = np.concatenate([frame.to_numpy() for frame in frames])
        return pd.DataFrame(values, index, frames[0].columns)

    def tables(self, names: Iterable[str], align: Literal["union"] | None = None) -> pd.DataFrame:
        """Return several tensors' tables of all runs, side by side.

        Parameters
        ----------
        names
            The tensors' names.
        align
            As in `table`.

        Returns
        -------
        pandas.DataFrame
            Indexed as by `table`; columns are a MultiIndex of tensor and unit.

        Raises
        ------
        InputError
            As from `table`, or if one of the tensors is a map or a weight.
        """
        frames = {name: self.table(name, align) for name in names}
        for name, frame in frames.items():
            if frame.columns.nlevels > 1:
                raise InputError.of(name, "is a map, whose columns are coordinates", "use table")
            if frame.index.names[-1] != "sample":
                raise InputError.of(name, "is a weight, which has no samples", "use table")
        return pd.concat(frames, axis=1, names=["tensor", "unit"])

    def sql(self, query: str, align: Literal["union"] | None = None) -> pd.DataFrame:
        """Ask in SQL, through DuckDB.

        Parameters
        ----------
        query
            Over the table ``runs``, which is `frame`, and a table for every tensor, of its
            name, with the columns ``run``, ``sample`` and the units. Names that are no plain
            words stand in double quotes: ``from "conv/block_1"``. SQL ignores the case of
            letters: of names that are then the same, and of one that is ``runs``, the later
            one in call order ends in ``_``.
        align
            As in `table`; units that a run does not have are NULL.

        Raises
        ------
        InputError
            If DuckDB is missing or refuses the query, or if runs differ in the units of a
            tensor that the query names and `align` is not given.
        """
        runs = self._completed()
        names = dict.fromkeys(name for run in runs for name in run.names)
        tables = {}
        for name, view in view_names(names).items():
            if not is_in_query(view, query):
                continue
            if align is None:
                refuse_differing(name, runs, [run.tensor(name).shape for run in runs])
            having = Runs(run for run in runs if name in run.names)
            _, tables[view] = having._each(partial(StoredTable.of, name=name))
        return select(query, self.frame, tables)

    def similarity(
        self,
        metric: Metric = "cka",
        layers: str | Iterable[str] = "same",
        *,
        samples: int = MAX_SAMPLES,
        seed: int = 0,
        max_bytes: int = MAX_BYTES,
        progress: Progress = silent,
    ) -> pd.DataFrame:
        """Compare how layers represent the same samples; a map is taken as one long row.

        Parameters
        ----------
        metric
            ``cka`` (debiased linear), ``cka_biased``, ``cca``, ``svcca``, ``procrustes`` (an
            angle: 0 is the same), ``rsa``, ``knn``, each explained in
            `runner.similarity.measures`; or a function of two arrays of shape (samples,
            units) that returns a float.
        layers
            ``same``: each layer in different runs. ``all``: every two layers, those of one
            run too. Or a list of names: every two of these.
        samples, seed
            ``rsa`` and ``knn`` compare each sample with each other; of more than `samples`
            so many are drawn with `seed`.
        max_bytes, progress
            As in `runner.similarity.pairs.compare_layers`.

        Returns
        -------
        pandas.DataFrame
            A row per pair, each pair once: ``run_a``, ``layer_a``, ``run_b``, ``layer_b``,
            ``metric``, ``value``, ``n`` (samples), ``width_a``, ``width_b`` (values of a
            sample) and ``note``: why a value is NaN, or which samples it is of.

        Raises
        ------
        InputError
            If the runs were shown different probes, a metric or layer is unknown, or there
            are too many pairs.
        """
        names = None if isinstance(layers, str) else list(layers)
        runs = with_tables(self._completed()._runs, names)
        groups = comparable_layers(runs, layers if names is None else names)
        return compare_layers(groups, metric, samples, seed, max_bytes, progress)

    def statistics(self) -> pd.DataFrame:
        """Return what layers do, averaged over seeds.

        Returns
        -------
        pandas.DataFrame
            A row per layer, indexed by ``name`` and ``kind``, and before them by the config
            keys in which runs differ other than ``seed``. Columns are those figures of
            `Run.statistics` that are numbers, each with its ``mean`` and ``std`` (of a
            sample of runs, NaN for one run); ``runs`` says of how many.
        """
        runs, found = self._completed()._each(Run.statistics)
        keys = [key for key in runs.differing if key != "seed"]
        frames = [
            frame.assign(**{key: hashable(config.get(key)) for key in keys})
            for frame, config in zip(found, runs._configs, strict=True)
        ]
        index = [*keys, "name", "kind"]
        together = pd.concat(frames, ignore_index=True)
        grouped = together.groupby(index, sort=False, dropna=False)
        numbers = list(together.select_dtypes("number").columns.difference(keys, sort=False))
        table = grouped[numbers].agg(["mean", "std"])
        table.insert(0, ("runs", ""), grouped.size())
        return table

    def to_xarray(self, names: Iterable[str] | None = None) -> xarray.Dataset:
        """Return tensors of all runs as one labelled dataset.

        Parameters
        ----------
        names
            The tensors' names; every one captured per sample, if not given.

        Returns
        -------
        xarray.Dataset
            A variable per tensor with the dimensions ``run``, ``sample`` and its own axes,
            ``<tensor>_0``...; the config keys that differ are coordinates of the runs.

        Raises
        ------
        InputError
            If xarray is missing, or if runs differ in the shape of a tensor or in samples.
        """
        names = None if names is None else list(names)
        runs = Runs(with_tables(self._completed()._runs, names))
        keys = {key: list(map(hashable, values)) for key, values in runs._columns().items()}
        return dataset_of(list(runs), names, keys)

    def labels(self) -> tuple[dict[str, str], str]:
        """Return for each run's id what it is called among these, and what that name is."""
        return run_labels(self._runs, self._columns())

    def apart_from_seed(self) -> dict[str, str]:
        """Return for each run's id in what it differs, its seed aside: ``hidden_units=4``."""
        return labels_beside_seed(self._runs, self._columns())

    def plot_stability(self, metric: str = "cka") -> Figure:
        """Return a figure of how alike layers are between runs that differ in their seed alone.

        A line over the layers in call order: the mean over all pairs of runs, within a
        band from the least to the most alike, by a `metric` of `similarity`. Needs plotly.
        """
        from runner.plots.sweep_figures import stability_figure

        runs = self._completed()
        pairs = runs.similarity(metric)
        return stability_figure(pairs, runs.apart_from_seed(), metric)

    def plot_similarity(
        self, metric: str = "cka", layers: str | Iterable[str] = "all", **how: Any
    ) -> Figure:
        """Return the matrices of `similarity`, which takes the same arguments, as a figure.

        Needs plotly; `runner.save_figure` writes it to a file.
        """
        from runner.plots.sweep_figures import matrices_figure

        pairs = self.similarity(metric, layers, **how)
        return matrices_figure(matrices_of(pairs), *self.labels(), metric)

    def _completed(self) -> Runs:
        kept = completed(self._runs)
        return self if len(kept) == len(self) else Runs(kept)

    def _each(self, read: Callable[[Run], _T]) -> tuple[Runs, list[_T]]:
        kept, found = each(self._runs, read)
        return Runs(kept), found

    def _columns(self) -> dict[str, list[Any]]:
        """Return the keys in which the runs differ, each with its value in every run."""
        return {key: [config.get(key) for config in self._configs] for key in self.differing}

    def _levels(self) -> dict[str, list[Any]]:
        """Return what tells the runs apart: per config key, its value in each run."""
        levels = {key: list(map(hashable, values)) for key, values in self._columns().items()}
        if len(set(zip(*levels.values(), strict=True))) < len(self):
            return {"run": [run.id for run in self], **levels}
        return levels
