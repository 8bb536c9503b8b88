"""The contents of the page of several runs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import DamagedError, InputError, some
from runner.plots.drawing import evenly_spaced, how_many
from runner.plots.sweep_figures import (
    MOST_BOXES,
    boxes,
    similarity_matrix,
    stability_figure,
    statistic_by_layer,
)
from runner.report.layer_view import bare, packed
from runner.report.layerwise import layers_by_layers
from runner.report.run_page import Page, as_yaml
from runner.report.training_view import how_trained
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.similarity.progress import Progress, silent, titled

_MOST_RUNS = 60
_MOST_LAYERS = 300
_MOST_TABLES = 1200
_BOX_VALUES = 50_000
_METRIC = "cka"
_ABSENT = object()
_NO_COMMON_LAYER = (
    "There is no figure here because no two of these models have a layer of the same name: "
    "stability is the similarity of one layer in several runs. Layer by layer, below, compares "
    "every layer of one run with every layer of another, whatever their names."
)
_NO_SEEDS = (
    "There is no figure here because no two comparable runs differ only in their seed. The "
    "similarity of these runs is shown below, layer by layer and for one layer in every run."
)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_STATISTICS = {
    "mean": "mean",
    "std": "standard deviation",
    "zeros": "share of zeros",
    "dead": "share of dead units",
    "min": "minimum",
    "max": "maximum",
}


def page_of_sweep(runs: Runs, progress: Progress = silent) -> Page:
    """Return the page of several runs.

    Parameters
    ----------
    runs
        The runs.
    progress
        Called with what is being computed, how much of it is done, and of how much.

    Raises
    ------
    InputError
        If a table is missing or damaged.
    """
    names, about = runs.labels()
    completed = [run for run in runs if run.record.error is None]
    drawn_runs = [completed[place] for place in evenly_spaced(len(completed), _MOST_RUNS)]
    chosen, damaged = _undamaged(drawn_runs, progress)
    titles = [names[run.id] for run in chosen]
    sweeps = {run.record.sweep for run in runs}
    name = runs[0].record.name or runs[0].record.sweep
    shown: dict[str, Any] = {
        "title": f"Sweep {name}" if len(sweeps) == 1 and name else f"{len(runs)} runs",
        "facts": _facts(runs, completed),
        "table": _table(runs, names, about),
        "failed": [
            *((run.id, names[run.id], run.record.error) for run in runs if run.record.error),
            *((run.id, names[run.id], str(error)) for run, error in damaged),
            *(("", one.path.name, one.why) for one in runs.unreadable),
        ],
        "config": as_yaml(_common([run.config for run in runs if run.config])),
        "about": about,
        "told_runs": how_many(len(chosen), len(completed), "completed run"),
        "statistics": _STATISTICS,
        "layers": [],
        "training": {},
        "no_stability": "",
        "has_matrix": False,
        "has_layerwise": False,
    }
    if not chosen:
        return Page("sweep", shown, {})
    summary = _summary(chosen)
    layers = list(dict.fromkeys(summary["name"]))
    drawn = [layers[place] for place in evenly_spaced(len(layers), _MOST_LAYERS)]
    data = _statistics(summary, drawn, titles)
    boxed = [
        drawn[place] for place in evenly_spaced(len(drawn), max(1, _MOST_TABLES // len(chosen)))
    ]
    data["boxes"] = {
        "figure": bare(boxes(np.full((len(chosen), 5), np.nan), titles, about)),
        "quantiles": packed(_quantiles(chosen, boxed, progress)),
    }
    similarity, shown["no_stability"], shown["cautions"] = _similarity(
        Runs(chosen), boxed, titles, about, titled(progress, "similarity")
    )
    shown["has_matrix"] = "matrix" in similarity
    shown["told_layerwise"] = ""
    if len(chosen) > 1:
        layerwise, shown["told_layerwise"] = layers_by_layers(
            Runs(chosen), titles, _METRIC, titled(progress, "layer by layer")
        )
        data["layerwise"] = layerwise
        shown["has_layerwise"] = bool(layerwise)
    training = how_trained(chosen, titles)
    data["training"] = training
    shown |= {
        "training": training,
        "layers": boxed,
        "told_layers": how_many(len(drawn), len(layers), "layer"),
        "banded": len(chosen) > MOST_BOXES,
        "told_boxed": how_many(len(boxed), len(layers), "layer"),
    }
    return Page("sweep", shown, {**data, **similarity, "layers": boxed})


def _undamaged(
    runs: Sequence[Run], progress: Progress
) -> tuple[list[Run], list[tuple[Run, DamagedError]]]:
    """Return the runs whose files can all be read, and the other runs with their errors."""
    kept, damaged = [], []
    for number, run in enumerate(runs, 1):
        try:
            for name in run.record.digests:
                run.file(name)
            _ = run.summary
            kept.append(run)
        except DamagedError as error:
            damaged.append((run, error))
        progress("checksums: runs", number, len(runs))
    if damaged:
        why = some([str(error) for _, error in damaged], most=3)
        warnings.warn(f"{len(damaged)} of {len(runs)} runs are not drawn: {why}", stacklevel=4)
    return kept, damaged


def _facts(runs: Runs, completed: Sequence[Run]) -> dict[str, str]:
    facts = {
        "runs": f"{len(runs):,}, of which {len(runs) - len(completed):,} failed",
        "differ in": ", ".join(runs.differing) or "nothing",
    }
    models = {run.record.model.model_class: run.record.model for run in runs if run.record.model}
    sizes = sorted({run.record.model.weights for run in runs if run.record.model})
    if models:
        span = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        facts["model"] = f"{', '.join(models)}, {span} weights"
    probes = {(run.record.probe.source, run.record.probe.rows) for run in runs if run.record.probe}
    if len(probes) == 1:
        [(source, rows)] = probes
        facts["probe"] = f"{source}, {rows:,} samples"
    return facts


def _table(runs: Runs, names: Mapping[str, str], about: str) -> dict[str, list[Any]]:
    """Return the columns and rows of the table of runs; the names of the runs come first."""
    frame = runs.frame.drop(columns="error", errors="ignore").astype(object)
    frame = frame.where(frame.notna(), None)
    called = [names[run.id] for run in runs] + [None] * len(runs.unreadable)
    named_by = [
        key
        for key in ("run", *runs.differing)
        if key in frame and [None if one is None else str(one) for one in frame[key]] == called
    ]
    if "run" not in named_by:
        frame = frame.drop(columns=named_by)  # the values are the names
        frame.insert(0, about, pd.Series(called, frame.index, object), allow_duplicates=True)
    table: dict[str, list[Any]] = frame.to_dict("split", index=False)
    return table


def _common(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the keys that have the same value in all configurations."""
    found: dict[str, Any] = {}
    for key, value in (configs[0] if configs else {}).items():
        others = [config.get(key, _ABSENT) for config in configs]
        if value and all(isinstance(other, dict) for other in others):
            if inner := _common(others):
                found[key] = inner
        elif all(other == value for other in others):
            found[key] = value
    return found


def _summary(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the statistics of all activations, one row per run and tensor."""
    frames = []
    for number, run in enumerate(runs):
        frame = run.summary
        frames.append(frame[frame["kind"] == "activation"].assign(number=number))
    return pd.concat(frames, ignore_index=True)


def _statistics(
    summary: pd.DataFrame, layers: Sequence[str], titles: Sequence[str]
) -> dict[str, Any]:
    summary = summary.assign(dead=summary["dead_units"] / summary["units"].clip(lower=1))
    values = np.stack(
        [
            summary.pivot_table(key, "name", "number", aggfunc="first", dropna=False)
            .reindex(index=list(layers), columns=range(len(titles)))
            .to_numpy(np.float64)
            for key in _STATISTICS
        ]
    )
    figure = bare(statistic_by_layer(values[0], layers, titles))
    for trace in figure["data"]:
        del trace["y"]  # the page fills in the values of the chosen statistic
    return {"by_layer": {"figure": figure, "values": packed(values)}}


def _quantiles(runs: Sequence[Run], layers: Sequence[str], progress: Progress) -> np.ndarray:
    """Return the quantiles of each layer in each run: shape (layer, run, 5)."""
    quantiles = np.full((len(layers), len(runs), len(_QUANTILES)), np.nan)
    for column, run in enumerate(runs):
        rows = run.record.probe.rows if run.record.probe is not None else 0
        for row, layer in enumerate(layers):
            if layer not in run:
                continue
            size = int(np.prod(run.tensor(layer).shape))
            places = evenly_spaced(rows, max(1, _BOX_VALUES // max(1, size)))
            values = run.representation(layer).values(places)
            finite = values[np.isfinite(values)]
            if finite.size:
                quantiles[row, column] = np.quantile(finite.astype(np.float64), _QUANTILES)
        progress("distributions: runs", column + 1, len(runs))
    return quantiles


def _similarity(
    runs: Runs, layers: Sequence[str], titles: Sequence[str], about: str, progress: Progress
) -> tuple[dict[str, Any], str, list[str]]:
    """Return the figures of similarity, why none is of stability, and warnings."""
    if len(runs) < 2:
        return {}, "Only one run is completed, so there is nothing to compare.", []
    having = Counter(name for run in runs for name in run.layer_outputs)
    if max(having.values(), default=0) < 2:
        return {}, _NO_COMMON_LAYER, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            pairs = runs.similarity(metric=_METRIC, layers="same", progress=progress)
        except InputError as error:
            return {}, f"The runs cannot be compared: {error}", []
    cautions = list(dict.fromkeys(str(warning.message) for warning in caught))
    if pairs["value"].isna().all():
        notes = pairs["note"] if "note" in pairs else pd.Series(dtype=object)
        return {}, f"No two runs have a similarity. {'; '.join(notes.unique()[:3])}", cautions
    figures: dict[str, Any] = {}
    kinds = runs.apart_from_seed()
    no_stability = ""
    try:
        figures["stability"] = bare(stability_figure(pairs, kinds, _METRIC))
    except InputError:
        no_stability = _NO_SEEDS
    places = {run.id: place for place, run in enumerate(runs)}
    values = np.full((len(layers), len(runs), len(runs)), np.nan, np.float32)
    values[:, range(len(runs)), range(len(runs))] = 1
    for row, layer in enumerate(layers):
        own = pairs[(pairs["layer_a"] == layer) & (pairs["layer_b"] == layer)]
        a, b = own["run_a"].map(places).to_numpy(), own["run_b"].map(places).to_numpy()
        values[row, a, b] = values[row, b, a] = own["value"]
    matrix = bare(similarity_matrix(values[0], titles, about, _METRIC))
    del matrix["data"][0]["z"]
    matrix["data"][0]["zmin"] = min(0.0, float(np.nanmin(values)))
    figures["matrix"] = {"figure": matrix, "values": packed(values)}
    return figures, no_stability, cautions
