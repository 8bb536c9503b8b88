"""The page of one run: what its views share, and their parts."""

from __future__ import annotations

from typing import Any

from runner.record.batch_dependence import batch_notes
from runner.record.interventions import intervention_notes
from runner.record.record import RunRecord
from runner.report.page import Page
from runner.report.shown_run import ShownRun
from runner.report.view import Part
from runner.report.views import VIEWS
from runner.runs.published_run import Run
from runner.similarity.progress import Progress, silent
from runner.sizes import readable


def page_of_run(run: Run, progress: Progress = silent) -> Page:
    """Return the page of a run.

    Parameters
    ----------
    run
        The run.
    progress
        Called with what is being computed, how much of it is done, and of how much.

    Raises
    ------
    InputError
        If a table is missing or damaged.
    """
    shown_run = ShownRun(run, progress)
    record = run.record
    shown: dict[str, Any] = {
        "title": f"Run {record.name or run.id}",
        "facts": _facts(record),
        "error": record.error,
        "has_values": shown_run.has_values,
    }
    data: dict[str, Any] = {}
    if shown_run.has_values:
        excerpt = shown_run.excerpt
        shown |= {
            "excerpt": excerpt,
            "all_open": shown_run.all_open,
            "warning": _warning(record),
            "notes": [*intervention_notes(record), *batch_notes(record)],
        }
        data = {
            "run": run.id,
            "samples": excerpt.samples,
            "labels": excerpt.labels,
            "inputs": shown_run.inputs,
            "layers": shown_run.tensor_views,
        }
    parts: dict[str, Part] = {}
    for name, view in VIEWS.items():
        part = view.of_run(shown_run) if view.of_run is not None else None
        if part is not None:
            parts[name] = part
    return Page("run", shown, data, parts)


def _facts(record: RunRecord) -> dict[str, str]:
    facts = {"status": record.status, "id": record.run_id}
    if record.model is not None:
        facts["model"] = f"{record.model.model_class}, {record.model.weights:,} weights"
    if record.seed is not None:
        facts["seed"] = str(record.seed)
    if record.probe is not None:
        facts["probe"] = f"{record.probe.source}, {record.probe.rows:,} samples"
    if record.error is None:
        size = sum({tensor.file: tensor.bytes for tensor in record.tensors}.values())
        facts["tables"] = f"{record.format}, {readable(size)}"
        if not record.keeps_values:
            facts["tables"] = "none: no values were kept"
    return facts


def _warning(record: RunRecord) -> str:
    headline = record.headline
    if headline is None or not (headline.nan or headline.inf):
        return ""
    return f"{headline.nan:,} values are NaN and {headline.inf:,} are infinite."
