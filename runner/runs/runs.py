"""Several runs together: tables of their tensors, and comparisons of their layers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from runner.config.effects_config import By
from runner.errors import InputError
from runner.record.garbage import uncollected
from runner.runs.alignment import union_of, widened
from runner.runs.collection import RunCollection
from runner.runs.comparable import comparable_layers
from runner.runs.configs import hashable
from runner.runs.database import StoredTable, are_few, select, views_in
from runner.runs.dataset import dataset_of, refuse_differing
from runner.runs.lazy_frames import lazy_frame_of
from runner.runs.omissions import with_tables
from runner.runs.published_run import Run
from runner.similarity.matrices import matrices_of
from runner.similarity.pairs import MAX_BYTES, MAX_SAMPLES, Metric, compare_layers
from runner.similarity.progress import Progress, silent

if TYPE_CHECKING:
    import polars
    import xarray
    from plotly.graph_objects import Figure


class Runs(RunCollection):
    """Runs whose tensors are read and compared together.

    Parameters and attributes are those of `RunCollection`.
    """

    def table(
        self,
        name: str,
        align: Literal["union"] | None = None,
        step: int | Literal["all"] | None = None,
    ) -> pd.DataFrame:
        """Return the tables of one tensor in all runs, concatenated.

        Failed runs have no tables and are left out with a warning, which
        ``where(status="COMPLETED")`` avoids. Runs whose table is missing or damaged are left
        out with a warning too.

        Parameters
        ----------
        name
            Name of the tensor, as in `Run.tensor`.
        align
            How to treat runs that differ in their units: ``union`` takes the units of all
            runs and fills those that a run does not have with NaN.
        step
            A step of the trainings, or ``all`` of them; default: the last step of each.

        Returns
        -------
        pandas.DataFrame
            Indexed by the config keys that differ, then by ``step`` if all steps are
            requested, then by ``sample`` (weights: by the leading axes). If those keys do not
            distinguish all runs, the first level is ``run``.

        Raises
        ------
        InputError
            If a run has no such tensor, or the runs differ in its units and `align` is
            not given.
        """
        with uncollected():
            runs, parts = self._completed()._each(lambda run: run.rows(name, step=step))
        columns = parts[0].columns
        if align == "union":
            columns = union_of([part.columns for part in parts])
            parts = [widened(part, columns) for part in parts]
        elif not all(part.columns.equals(columns) for part in parts):
            refuse_differing(name, runs, [tuple(part.columns) for part in parts])
        levels = runs._levels()
        lengths = [len(part.values) for part in parts]
        rows = parts[0].index.append([part.index for part in parts[1:]])
        index = pd.MultiIndex.from_arrays(
            [
                *(pd.Index(values).repeat(lengths) for values in levels.values()),
                *(rows.get_level_values(level) for level in range(rows.nlevels)),
            ],
            names=[*levels, *rows.names],
        )
        values = np.concatenate([part.values for part in parts])
        return pd.DataFrame(values, index, columns[:])

    def tables(self, names: Iterable[str], align: Literal["union"] | None = None) -> pd.DataFrame:
        """Return the tables of several tensors in all runs, side by side.

        Parameters
        ----------
        names
            Names of the tensors.
        align
            As in `table`.

        Returns
        -------
        pandas.DataFrame
            Indexed as in `table`; the columns are a MultiIndex of tensor and unit.

        Raises
        ------
        InputError
            As in `table`, or if one of the tensors is a map or a weight.
        """
        frames = {name: self.table(name, align) for name in names}
        for name, frame in frames.items():
            if frame.columns.nlevels > 1:
                raise InputError.of(name, "is a map, whose columns are coordinates", "use table")
            if frame.index.names[-1] != "sample":
                raise InputError.of(name, "is a weight, which has no samples", "use table")
        return pd.concat(frames, axis=1, names=["tensor", "unit"])

    @uncollected()
    def sql(self, query: str, align: Literal["union"] | None = None) -> pd.DataFrame:
        """Return the result of an SQL query, run by DuckDB.

        Parameters
        ----------
        query
            SQL over the table ``runs``, which is `frame`, and a table named after each tensor,
            with the columns ``run``, ``sample`` and the units. Names that are not plain words
            need double quotes: ``from "conv/block_1"``. SQL ignores the case of letters: if
            two names are equal then, or one is ``runs``, ``_`` is appended to the later one in
            call order.
        align
            As in `table`; units that a run does not have are NULL.

        Raises
        ------
        InputError
            If DuckDB is missing or rejects the query, or the runs differ in the units of a
            tensor that the query names and `align` is not given.
        """
        runs = self._completed()
        tables: dict[str, list[StoredTable] | InputError] = {}
        for name, view in views_in(query, (name for run in runs for name in run.names)):
            try:
                if align is None:
                    refuse_differing(name, runs, [run.tensor(name).shape for run in runs])
                having = Runs(run for run in runs if name in run.names)
                read = partial(StoredTable.of, name=name, whole=are_few(list(having), name))
                _, tables[view] = having._each(read)
            except InputError as error:  # perhaps of a name that is only a word of the query
                tables[view] = error
        return select(query, self.frame, tables)

    @uncollected()
    def to_polars(self, name: str, align: Literal["union"] | None = None) -> polars.LazyFrame:
        """Return the tables of one tensor in all runs as a lazy table, larger than memory or not.

        Each file is compared with its hash now; a query reads what it needs. Tables that are not
        Parquet are read now.

        Parameters
        ----------
        name
            Name of the tensor, as in `Run.tensor`.
        align
            As in `table`; units that a run does not have are null.

        Returns
        -------
        polars.LazyFrame
            With the columns ``run``, ``sample`` (weights: the leading axes) and the units.

        Raises
        ------
        InputError
            If Polars is missing, a run has no such tensor, or the runs differ in its units and
            `align` is not given.
        """
        runs, tables = self._completed()._each(partial(StoredTable.of, name=name, whole=False))
        if align is None:
            refuse_differing(name, runs, [run.tensor(name).shape for run in runs])
        return lazy_frame_of(tables)

    def similarity(
        self,
        metric: Metric = "cka",
        layers: str | Iterable[str] = "same",
        *,
        samples: int = MAX_SAMPLES,
        seed: int = 0,
        step: int | None = None,
        max_bytes: int = MAX_BYTES,
        progress: Progress = silent,
    ) -> pd.DataFrame:
        """Compare how layers represent the same samples; maps are flattened per sample.

        Parameters
        ----------
        metric
            ``cka`` (debiased linear), ``cka_biased``, ``cca``, ``svcca``, ``procrustes`` (an
            angle: 0 is the same), ``rsa``, ``knn``, each explained in
            `runner.measures`, with its options (``knn:neighbours=5``); or a function of two
            arrays of shape (samples, units) that returns a float.
        layers
            ``same``: each layer between runs. ``all``: every pair of layers, including pairs
            within a run. Or a list of names: every pair of these.
        samples, seed
            ``rsa`` and ``knn`` compare all pairs of samples; if there are more than `samples`,
            that many are drawn with `seed`.
        step
            A step of the trainings; by default the last of each.
        max_bytes, progress
            As in `runner.similarity.pairs.compare_layers`.

        Returns
        -------
        pandas.DataFrame
            A row per pair, each pair once: ``run_a``, ``layer_a``, ``run_b``, ``layer_b``,
            ``metric``, ``value``, ``n`` (samples), ``width_a``, ``width_b`` (values of a
            sample) and ``note``: why a value is NaN, or which samples were used.

        Raises
        ------
        InputError
            If the runs were shown different probes, a metric, layer or step is unknown, or
            there are too many pairs.
        """
        names = None if isinstance(layers, str) else list(layers)
        runs = with_tables(self._completed()._runs, names, step)
        groups = comparable_layers(runs, layers if names is None else names, step)
        return compare_layers(groups, metric, samples, seed, max_bytes, progress)

    def statistics(self) -> pd.DataFrame:
        """Return statistics of the layers, averaged over seeds.

        Returns
        -------
        pandas.DataFrame
            A row per layer, indexed by the config keys other than ``seed`` in which the runs
            differ, then by ``name`` and ``kind``. Columns: ``runs``, the number of runs, and
            the ``mean`` and ``std`` of each numeric column of `Run.statistics` (the sample
            standard deviation, NaN for one run).
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

    def effects(self, by: By | None = None) -> pd.DataFrame:
        """Return what interventions did to the outputs of the models.

        Parameters
        ----------
        by
            ``class`` or ``sample``: the effects for each of them, as from `Run.effects_by`.

        Returns
        -------
        pandas.DataFrame
            The rows of `Run.effects` of all runs that have any, the largest mean change first:
            ``run``, the config keys in which the runs differ, and the columns of `Run.effects`.

        Raises
        ------
        InputError
            If no run has interventions.
        """
        frames = []
        for place, run in enumerate(self):
            if run.record.effects or len(self) == 1:
                own = {"run": run.id, **{key: own[place] for key, own in self._columns.items()}}
                frame = run.effects if by is None else run.effects_by(by)
                frames.append(
                    pd.concat([pd.DataFrame([own] * len(frame), dtype=object), frame], axis=1)
                )
        if not frames:
            raise InputError.of("runs", "none has interventions", "see docs/interventions.md")
        found = pd.concat(frames, ignore_index=True)
        return found.sort_values("mean_abs", ascending=False, kind="stable", ignore_index=True)

    def to_xarray(self, names: Iterable[str] | None = None) -> xarray.Dataset:
        """Return tensors of all runs as one xarray dataset.

        Parameters
        ----------
        names
            Names of the tensors; default: all tensors captured per sample.

        Returns
        -------
        xarray.Dataset
            A variable per tensor with the dimensions ``run``, ``sample`` and its own axes,
            ``<tensor>_0``...; the config keys that differ are coordinates of the runs.

        Raises
        ------
        InputError
            If xarray is missing, or the runs differ in the shape of a tensor or in samples.
        """
        names = None if names is None else list(names)
        shown = self._completed()._each(lambda run: run.samples)[0]
        runs = Runs(with_tables(shown._runs, names))
        keys = {key: list(map(hashable, values)) for key, values in runs._columns.items()}
        return dataset_of(list(runs), names, keys)

    def plot_stability(self, metric: str = "cka", **how: Any) -> Figure:
        """Return a figure of the similarity of layers between runs that differ only in their seed.

        A line over the layers in call order shows the mean over all pairs of runs, a band the
        range. Arguments as in `similarity`; requires plotly.
        """
        from runner.plots.similarity_figures import stability_figure

        runs = self._completed()
        pairs = runs.similarity(metric, **how)
        return stability_figure(pairs, runs.apart_from_seed(), metric)

    def plot_similarity(
        self, metric: str = "cka", layers: str | Iterable[str] = "all", **how: Any
    ) -> Figure:
        """Return a figure of the matrices of `similarity`, with the same arguments.

        Requires plotly; `runner.save_figure` writes the figure to a file.
        """
        from runner.plots.similarity_figures import matrices_figure

        pairs = self.similarity(metric, layers, **how)
        return matrices_figure(matrices_of(pairs), *self.labels(), metric)
