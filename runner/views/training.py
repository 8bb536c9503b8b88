"""The view of a training: histories, and the drift of the layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from runner.measures.cka import CKA
from runner.plots.drawing import evenly_spaced, how_many
from runner.plots.training_figures import drift_figure, history_figure
from runner.report.layer_view import bare
from runner.report.shown_run import ShownRun
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside
from runner.runs.published_run import Run

_MOST_RUNS = 5
_MOST_LAYERS = 12
_MOST_STEPS = 12
_MOST_METRICS = 100
_MOST_SAMPLES = 1000
_MOST_VALUES = 4_000_000  # of a layer at one step


def _of_run(run: ShownRun) -> Part | None:
    return _part([run.run], [run.run.id]) if run.has_values else None


def _of_sweep(sweep: ShownSweep) -> Part | None:
    return _part(list(sweep.drawn), sweep.titles)


def _part(runs: Sequence[Run], titles: Sequence[str]) -> Part | None:
    training = _training(runs, titles)
    return Part({"training": training, "measure": CKA.title}, training) if training else None


def _training(runs: Sequence[Run], titles: Sequence[str]) -> dict[str, Any]:
    """Return the training figures of a page, empty if no run was trained.

    Parameters
    ----------
    runs, titles
        Completed runs, and the title of each.

    Returns
    -------
    dict
        ``runs``, the number of trained runs; ``curves``, pairs of a metric's name and its
        figure by epoch; ``metrics``, a text on which of them are shown, if not all are. If
        steps were captured, also ``drift``, the figure of each layer's similarity to its last
        step, and ``told``, a text on what that figure shows.
    """
    trained = [
        (run.record.training.history, title)
        for run, title in zip(runs, titles, strict=True)
        if run.record.training is not None
    ]
    every = list(dict.fromkeys(name for history, _ in trained for name in history))
    names = [every[place] for place in evenly_spaced(len(every), _MOST_METRICS)]
    curves = [
        (
            name,
            bare(
                history_figure(
                    {title: history[name] for history, title in trained if name in history}, name
                )
            ),
        )
        for name in names
    ]
    if not curves:
        return {}
    left_out = how_many(len(names), len(every), "metric") if len(names) < len(every) else ""
    curved = {"runs": len(trained), "curves": curves, "metrics": left_out, "drift": None}
    return curved | _drift(runs)


def _drift(runs: Sequence[Run]) -> dict[str, Any]:
    stepped = [run for run in runs if len(run.steps) > 1]
    if not stepped:
        return {}
    comparable = [run for run in stepped if run.steps == stepped[0].steps]
    chosen = [comparable[place] for place in evenly_spaced(len(comparable), _MOST_RUNS)]
    first = chosen[0]
    small = [
        name
        for name in first.layer_outputs
        if all(name in run for run in chosen)
        and prod(first.tensor(name).shape) * min(len(first.samples), _MOST_SAMPLES) <= _MOST_VALUES
    ]
    layers = [small[place] for place in evenly_spaced(len(small), _MOST_LAYERS)]
    steps = [first.steps[place] for place in evenly_spaced(len(first.steps), _MOST_STEPS)]
    if not layers:
        return {}
    with warnings.catch_warnings():
        # A layer without a value has no line.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        alike = np.nanmean(
            [[_by_step(run, layer, steps) for layer in layers] for run in chosen], axis=0
        )
    return {
        "drift": bare(drift_figure(steps, alike, layers)),
        "told": "; ".join(
            how_many(shown, there, what)
            for shown, there, what in (
                (len(chosen), len(stepped), "run"),
                (len(layers), len(first.layer_outputs), "layer"),
                (len(steps), len(first.steps), "step"),
                (min(len(first.samples), _MOST_SAMPLES), len(first.samples), "sample"),
            )
        ),
    }


def _by_step(run: Run, layer: str, steps: Sequence[int]) -> list[float]:
    places = evenly_spaced(len(run.samples), _MOST_SAMPLES)
    values = [run.array(layer, step=step)[places].reshape(len(places), -1) for step in steps]
    return [CKA(own, values[-1]) for own in values]


TRAINING = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    of_sweep=_of_sweep,
    script=text_beside(__file__, ".js"),
    questions={
        "Training, where there was one": (
            "How did each run learn, and when did each layer reach its final state?"
        ),
    },
    order=30,
)
