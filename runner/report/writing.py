"""Writes the report of one or several runs to a file."""

from __future__ import annotations

from pathlib import Path

from runner.errors import InputError
from runner.file_names import REPORT
from runner.local_paths import local_path
from runner.report.page import rendered, write_page
from runner.report.run_page import page_of_run
from runner.report.sweep_page import page_of_sweep
from runner.runs.runs import Runs
from runner.similarity.progress import Progress, silent


def write_report(runs: Runs, output: Path | None = None, progress: Progress = silent) -> Path:
    """Write the page of a run, or of several.

    Parameters
    ----------
    runs
        One run, or the runs that the page compares.
    output
        Path of the page; by default ``report.html`` in the run's folder, or in the folder
        of the sweep.
    progress
        Called with what is being computed, how much of it is done, and of how much.

    Returns
    -------
    Path
        Path of the written file.

    Raises
    ------
    InputError
        If a table is missing or damaged, the file cannot be written, several runs have
        no folder in common, or plotly or Jinja2 is not installed.
    """
    path = local_path(output, "--output") if output is not None else _beside(runs)
    if path.is_dir():
        raise InputError.of(str(path), "expected a file to write to, found a folder")
    page = page_of_run(runs[0], progress) if len(runs) == 1 else page_of_sweep(runs, progress)
    write_page(rendered(page), path)
    return path


def _beside(runs: Runs) -> Path:
    if len(runs) == 1:
        return runs[0].path / REPORT
    folders = {run.path.resolve().parent for run in runs}
    if len(folders) > 1:
        raise InputError.of(
            "report", "the runs lie in several folders", "say where to write with --output FILE"
        )
    return runs[0].path.parent / REPORT
