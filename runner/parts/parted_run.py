"""A run that is made in parts, by a sweep of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.config.compose import Asked
from runner.config.composition import Composition
from runner.config.value_columns import written
from runner.errors import RunError
from runner.experiment.earlier import held
from runner.experiment.sweep_task import run_sweep
from runner.parts.joining import failed_parts, joined, missing_parts
from runner.parts.part_records import Plan
from runner.parts.parts_folder import PartsFolder
from runner.parts.planning import planned
from runner.record.publication import Publication
from runner.stores.places import draft_at
from runner.stores.store import StoredRun

if TYPE_CHECKING:
    from runner.saving.saving import Progress

# How often a part is tried, each time by another worker, if its worker dies.
_ATTEMPTS = 3


@contextlib.contextmanager
def _no_bar(_parts: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


@dataclass(frozen=True)
class PartedRun:
    """A run that is made in parts.

    Attributes
    ----------
    asked
        The request for it.
    composition
        The experiment.
    run_id
        Id of this invocation.
    """

    asked: Asked
    composition: Composition
    run_id: str

    @property
    def folder(self) -> PartsFolder:
        """The folder of its parts."""
        return PartsFolder.of_run(self.asked.folder)

    def make(
        self,
        training: Callable[[], AbstractContextManager[Progress | None]] = contextlib.nullcontext,
        bar: Callable[[int], AbstractContextManager[Callable[[], None]]] = _no_bar,
    ) -> StoredRun:
        """Make the parts that are missing, join all of them and publish the run.

        Parameters
        ----------
        training
            Yields what is called with the number of samples trained on since the last call, and
            their total.
        bar
            Yields, for a number of parts, what is called after each of them.

        Raises
        ------
        InputError
            If the run cannot be made in parts.
        RunError
            If a part fails, its workers die, or the parts do not fit together.
        """
        folder = self.folder
        draft = draft_at(self.asked.folder, "hydra.run.dir", in_parts=True)
        with Publication(draft) as publication:
            with training() as progress:
                plan = planned(self.composition, folder, self.run_id, progress)
            with held(folder.folder, "command", "hydra.run.dir"):
                with bar(len(plan.division.starts)) as finished:
                    self._make_parts(folder, plan, finished)
                return joined(publication, folder)

    def _make_parts(self, folder: PartsFolder, plan: Plan, finished: Callable[[], None]) -> None:
        """Launch all parts, and launch those again whose worker died."""
        numbers = range(len(plan.division.starts))
        todo = list(numbers)
        for attempt in range(_ATTEMPTS):
            died = None
            folder.clear()
            try:
                run_sweep(self.asked.loader, self._words_of(todo), folder.folder, finished)
            except RunError as error:
                died = error
            there = folder.parts(plan)
            if failed := failed_parts(folder, plan, there):
                number, why = next(iter(failed.items()))
                raise RunError(f"part {number} of {len(numbers)}: {why}") from died
            todo = missing_parts(plan, there)
            if not todo:
                return
            if attempt == _ATTEMPTS - 1 and died is not None:
                raise died

    def _words_of(self, numbers: Sequence[int]) -> list[str]:
        """Return the overrides of a sweep whose jobs are parts of the run."""
        return [
            *self.asked.words,
            "hydra.sweep.subdir=${hydra.job.num}",
            f"hydra.sweeper.run_id='{self.run_id}'",
            f"hydra.sweeper.sweep_id='{self.run_id}'",
            f"hydra.sweeper.parts='{written(dict.fromkeys(numbers, ()))}'",
        ]
