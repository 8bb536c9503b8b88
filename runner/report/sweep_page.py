"""The page of several runs: what its views share, and their parts."""

from __future__ import annotations

from typing import Any

from runner.report.page import Page
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part
from runner.report.views import VIEWS
from runner.runs.runs import Runs
from runner.similarity.progress import Progress, silent


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
    sweep = ShownSweep(runs, progress)
    sweeps = {run.record.sweep for run in runs}
    name = runs[0].record.name or runs[0].record.sweep
    shown: dict[str, Any] = {
        "title": f"Sweep {name}" if len(sweeps) == 1 and name else f"{len(runs)} runs",
        "facts": _facts(sweep),
    }
    parts: dict[str, Part] = {}
    for name, view in VIEWS.items():
        part = view.of_sweep(sweep) if view.of_sweep is not None else None
        if part is not None:
            parts[name] = part
    return Page("sweep", shown, {}, parts)


def _facts(sweep: ShownSweep) -> dict[str, str]:
    runs, failed = sweep.runs, len(sweep.runs) - len(sweep.completed)
    facts = {
        "runs": f"{len(runs):,}, of which {failed:,} failed",
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
