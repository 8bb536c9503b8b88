"""Progress bars of runs and sweeps, shown only on a terminal, and the summary of a sweep."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from runner.errors import short_line
from runner.store_urls import RunPlace


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def _bar() -> Progress | None:
    """Return a progress bar on stderr, ``None`` if stderr is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar of samples and yield the function that advances it."""
    bar = _bar()
    if bar is None:
        yield lambda _samples, _total: None
        return
    task = bar.add_task("samples", total=None)
    with bar:
        yield lambda samples, total: bar.update(task, advance=samples, total=total)


@contextlib.contextmanager
def comparison_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar of layers read or pairs compared and yield the function that updates it."""
    bar = _bar()
    if bar is None:
        yield lambda _what, _done, _total: None
        return
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    with bar:
        yield show


@contextlib.contextmanager
def sweep_bar(jobs: int, what: str = "runs") -> Iterator[Callable[[], None]]:
    """Show a bar of runs, or of their parts, and yield the function that advances it by one."""
    bar = _bar()
    if bar is None:
        yield lambda: None
        return
    task = bar.add_task(what, total=jobs)
    with bar:
        yield lambda: bar.update(task, advance=1)


def closing(folder: RunPlace, outcomes: Mapping[str, str | None], jobs: int) -> str:
    """Return the summary of a sweep's jobs, with the failed ones in a table.

    Parameters
    ----------
    folder
        Folder or URL of the sweep.
    outcomes
        Errors by folder name, for every run that left a record; ``None`` for a completed run.
    jobs
        Number of jobs in the sweep.
    """
    if isinstance(folder, Path) and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    failed = {name: error for name, error in outcomes.items() if error is not None}
    said = f"{len(outcomes) - len(failed)} of {jobs} runs completed: {folder}\n"
    if (missing := jobs - len(outcomes)) > 0:
        said += f"{missing} ended without a record\n"
    if failed:
        table = Table("failed", "why", box=None, pad_edge=False)
        for name, error in failed.items():
            table.add_row(Text(short_line(name)), Text(short_line(error)))
        console = Console(width=80)
        with console.capture() as captured:
            console.print(table)
        lines = captured.get().splitlines()
        said += "\n" + "".join(f"{line.rstrip()}\n" for line in lines)
    where = "" if isinstance(folder, Path) else f" --outputs {folder}"
    return said + f"\nnext   python -m runner list{where}\n"
