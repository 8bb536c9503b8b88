"""Several runs together: a table of their configs, and tables of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pandas as pd

from runner.errors import InputError, some, suggest
from runner.runs.alignment import union_of, widened
from runner.runs.comparable import comparable_layers
from runner.runs.configs import differing_values, flat_config, hashable
from runner.runs.database import StoredTable, are_few, is_in_query, select, view_names
from runner.runs.dataset import dataset_of, refuse_differing
from runner.runs.garbage import uncollected
from runner.runs.naming import labels_beside_seed, run_labels
from runner.runs.omissions import completed, each, with_tables
from runner.runs.published_run import Run
from runner.similarity.matrices import matrices_of
from runner.similarity.pairs import MAX_BYTES, MAX_SAMPLES, Metric, compare_layers
from runner.similarity.progress import Progress, silent
from runner.stores.store import Unreadable

if TYPE_CHECKING:
    import xarray
    from plotly.graph_objects import Figure

_ABSENT = object()
_T = TypeVar("_T")


class Runs:
    """A collection of runs.

    Parameters
    ----------
    runs
        Runs, in the order in which they are listed.
    unreadable
        Runs among them that cannot be read; they are not counted as runs.

    Attributes
    ----------
    unreadable : list[Unreadable]
        As given.
    differing : list[str]
        Dotted config keys in which the runs differ, including keys that only some runs
        have. Of several keys with the same values in every run, such as a key that refers
        to another, only the outermost.
    """

    def __init__(self, runs: Iterable[Run], unreadable: Iterable[Unreadable] = ()) -> None:
        self._runs = list(runs)
        self.unreadable = list(unreadable)
        # A failed run may have no configuration.
        values = differing_values([run.config for run in self._runs if run.config])
        self.differing = list(values)
        self._columns = {
            key: [next(own) if run.config else None for run in self._runs]
            for key, own in ((key, iter(column)) for key, column in values.items())
        }

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
        """Return the HTML that notebooks display: at most 60 rows of `frame`."""
        return f"<p>{len(self)} runs</p>{self.frame.to_html(index=False, max_rows=60)}"

    @property
    def frame(self) -> pd.DataFrame:
        """A row per run: ``run``, ``status``, the config keys that differ, headline statistics.

        The statistics are ``tensors``, ``dead_units``, ``nan`` and ``inf``, missing for failed
        runs, followed by the figures of the last epoch of trained runs (``loss``,
        ``accuracy``). If a run failed, the last column ``error`` holds the reasons. A run that
        cannot be read has a row with the name of its folder and the status UNREADABLE.
        """
        frame = pd.DataFrame(self.rows())
        errors = [run.record.error for run in self] + [one.why for one in self.unreadable]
        if any(error is not None for error in errors):
            frame["error"] = errors
        return frame

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `frame`, without ``error`` and without what is missing."""
        for run, *values in zip(self._runs, *self._columns.values(), strict=True):
            identity = {"run": run.id, "status": run.record.status}
            headline = vars(run.record.headline) if run.record.headline is not None else {}
            differing = dict(zip(self._columns, values, strict=True))
            # A key or a metric may have the name of another column.
            yield identity | differing | headline | run.record.last_figures | identity
        yield from ({"run": one.name, "status": "UNREADABLE"} for one in self.unreadable)

    def where(self, **conditions: Any) -> Runs:
        """Return the runs that meet all conditions.

        Parameters
        ----------
        **conditions
            Value, or list of values, of a config key (``**{"model.hidden_units": 4}`` if it is
            dotted), or of ``run`` or ``status``.

        Raises
        ------
        InputError
            If no run has such a key, or no run meets a condition.
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
        names = dict.fromkeys(name for run in runs for name in run.names)
        tables = {}
        for name, view in view_names(names).items():
            if not is_in_query(view, query):
                continue
            if align is None:
                refuse_differing(name, runs, [run.tensor(name).shape for run in runs])
            having = Runs(run for run in runs if name in run.names)
            whole = are_few(list(having), name)
            _, tables[view] = having._each(partial(StoredTable.of, name=name, whole=whole))
        return select(query, self.frame, tables)

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
            `runner.measures`; or a function of two arrays of shape (samples,
            units) that returns a float.
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
        runs = Runs(with_tables(self._completed()._runs, names))
        keys = {key: list(map(hashable, values)) for key, values in runs._columns.items()}
        return dataset_of(list(runs), names, keys)

    def labels(self) -> tuple[dict[str, str], str]:
        """Return the label of each run by its id, and the name of what the labels show."""
        return run_labels(self._runs, self._columns)

    def apart_from_seed(self) -> dict[str, str]:
        """Return by run id the values in which runs differ, except the seed: ``hidden_units=4``."""
        return labels_beside_seed(self._runs, self._columns)

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

    def _completed(self) -> Runs:
        kept = completed(self._runs)
        return self if len(kept) == len(self) else Runs(kept)

    def _each(self, read: Callable[[Run], _T]) -> tuple[Runs, list[_T]]:
        kept, found = each(self._runs, read)
        return (self if len(kept) == len(self) else Runs(kept)), found

    def _levels(self) -> dict[str, list[Any]]:
        """Return the index levels that distinguish the runs, each with its value in every run."""
        levels = {key: list(map(hashable, values)) for key, values in self._columns.items()}
        if len(set(zip(*levels.values(), strict=True))) < len(self):
            return {"run": [run.id for run in self], **levels}
        return levels
