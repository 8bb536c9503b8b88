"""How far a run or a sweep is, shown on a terminal and silent elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from runner.errors import RunnerError


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def _bar() -> Progress | None:
    """Return a bar on stderr; none where that is no terminal."""
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
    """Show a bar of samples; yields the function that moves it on."""
    bar = _bar()
    if bar is None:
        yield lambda _samples, _total: None
        return
    task = bar.add_task("samples", total=None)
    with bar:
        yield lambda samples, total: bar.update(task, advance=samples, total=total)


class Sweep:
    """Counts the jobs of a sweep behind one bar.

    Parameters
    ----------
    jobs
        How many there will be.

    Attributes
    ----------
    failed : dict[str, RunnerError]
        The error of every job that failed, by the name of its folder.
    """

    def __init__(self, jobs: int) -> None:
        self.failed: dict[str, RunnerError] = {}
        self._done = 0
        self._bar = _bar()
        if self._bar is not None:
            self._task = self._bar.add_task("runs", total=jobs)

    def start(self) -> None:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def finished(self, folder: Path, error: RunnerError | None = None) -> None:
        """Count a job."""
        self._done += 1
        if error is not None:
            self.failed[folder.name] = error
        if self._bar is not None:
            self._bar.update(self._task, advance=1)

    def closing(self, folder: Path) -> str:
        """Return what became of the jobs, the failed ones in a table."""
        folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        said = f"{self._done - len(self.failed)} of {self._done} runs completed: {folder}\n"
        if self.failed:
            table = Table("failed", "why", box=None)
            for name, error in self.failed.items():
                table.add_row(Text(name), Text(str(error)))
            console = Console(width=80)
            with console.capture() as captured:
                console.print(table)
            lines = captured.get().splitlines()
            said += "\n" + "".join(f"{line.rstrip()}\n" for line in lines)
        return said + "\nnext: runner list\n"
