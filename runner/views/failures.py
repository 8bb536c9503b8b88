"""The view of the runs of a sweep that failed or cannot be read, and why."""

from __future__ import annotations

from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside


def _of_sweep(sweep: ShownSweep) -> Part | None:
    names = sweep.names
    failed = [
        *((run.id, names[run.id], run.record.error) for run in sweep.runs if run.record.error),
        *((run.id, names[run.id], str(error)) for run, error in sweep.damaged),
        *(("", one.name, one.why) for one in sweep.runs.unreadable),
    ]
    return Part({"failed": failed, "about": sweep.about}) if failed else None


FAILURES = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    questions={
        "Failed runs": "Which failed, and why?",
    },
    order=10,
)
