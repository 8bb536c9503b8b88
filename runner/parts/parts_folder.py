"""The hidden folder in which the parts of a run are made before they are joined."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from runner.errors import DamagedError, InputError
from runner.file_names import PARTS, RECORD
from runner.parts.part_records import PartRecord, Plan, read_part, read_plan
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.bucket import bucket_of
from runner.stores.leftovers import Leftover, clear, writer_of
from runner.stores.places import holds_run, run_at, store_at
from runner.stores.staging import locked
from runner.stores.store import Draft, StoredRun
from runner.stores.superseded import is_free

GO_ON = "run the same command with the same hydra.run.dir to make what is missing or damaged"
"""What to do if parts are missing, failed or damaged."""

_PLAN = "plan"


class PartsFolder:
    """The plan and the parts of a run, which no command takes for runs.

    Parameters
    ----------
    folder
        The hidden folder.
    """

    def __init__(self, folder: RunPlace) -> None:
        self.folder = folder
        self._store = store_at(folder)

    @classmethod
    def of_run(cls, target: RunPlace) -> PartsFolder:
        """Return the folder for the parts of the run that is to be published at a place.

        It is beside the folder of the run, which appears by a rename. In a store, which has no
        rename, it is below the run, where the tables can stay.
        """
        if isinstance(target, StoreUrl):
            return cls(target / PARTS)
        target = target.absolute()
        return cls(target.parent / f".{target.name}{PARTS}")

    @property
    def start_over(self) -> str:
        """What to do if the parts are of no use, as the end of a message."""
        return f"to start over, type: runner clean {self.folder}"

    def draft(self, part: int | None = None) -> Draft:
        """Return what is to be published as a part, or as the plan."""
        return self._store.draft(_name(part))

    def plan(self) -> tuple[StoredRun, Plan] | None:
        """Return the plan with its files; ``None`` if there is none.

        Raises
        ------
        DamagedError
            If it is damaged.
        """
        run = self._held(_PLAN)
        with _advising(self.start_over):
            return (run, read_plan(run)) if run else None

    def parts(self, plan: Plan) -> dict[int, StoredRun]:
        """Return the parts of a plan that have a record, by number.

        What is not listed is asked for by name: the listing of a store may be late.
        """
        runs = (run for run in self._store.runs() if isinstance(run, StoredRun))
        found = {PurePath(run.place()).name: run for run in runs}
        for name in map(str, range(len(plan.division.starts))):
            if name not in found and (run := self._held(name)):
                found[name] = run
        numbers = range(len(plan.division.starts))
        return {number: found[str(number)] for number in numbers if str(number) in found}

    def _held(self, name: str) -> StoredRun | None:
        """Return the plan or a part, if it has a record; a link to elsewhere is refused."""
        place = self.folder / name
        for each in (self.folder, place):
            if isinstance(each, Path) and each.is_symlink():
                what = "is a link, and parts are joined only from the folder itself"
                raise InputError.of(str(each), what, "put what it names in its place")
        return run_at(place) if holds_run(place) else None

    def record(self, number: int, run: StoredRun, plan: Plan) -> PartRecord:
        """Return the record of a part.

        Raises
        ------
        DamagedError
            If it is damaged, or not that of this part of the plan.
        InputError
            If the part was made from another configuration.
        """
        part = plan.division.part(number)
        with _advising(GO_ON):
            record = read_part(run)
        if record.record.fingerprint != plan.fingerprint:
            raise InputError.of(
                run.place(),
                f"part {number} was made from another configuration, other files or versions",
                self.start_over,
            )
        probe = record.record.probe
        rows = part.rows if probe is None else probe.rows
        if (record.part, record.start, rows) != (number, part.start, part.rows):
            raise DamagedError.of(
                run.place(),
                f"expected rows {part.start:,} to {part.start + part.rows:,} of the probe, found "
                f"{record.start:,} to {record.start + rows:,}",
                GO_ON,
            )
        return record

    def clear(self) -> None:
        """Make room for parts whose workers died: in a store, their places are still claimed."""
        if isinstance(self.folder, StoreUrl):
            clear(self.folder)

    def remove(
        self, run: StoredRun, files: Iterable[str], used: Mapping[int | None, Iterable[str]]
    ) -> None:
        """Remove the folder, once it is joined to a run.

        Parameters
        ----------
        run, files
            The run, and the names of its files.
        used
            Names of the files that the run does not take over: of each part, by its number, and
            of the plan (``None``).
        """
        names = [f"{_name(part)}/{name}" for part, own in used.items() for name in (*own, RECORD)]
        self._store.remove({run.place(name) for name in files}, names)

    def discard(self) -> None:
        """Remove the plan and all parts; raise OSError if some are still there."""
        self._store.remove()
        if not is_free(self.folder):
            raise OSError(errno.EIO, "some files are still there")

    def left(self) -> Iterator[Leftover]:
        """Yield what is here, unless a run consists of it, or it is being made on this machine."""
        found = [
            PurePath(run.place()).name for run in self._store.runs() if isinstance(run, StoredRun)
        ]
        parts = sum(name.isdecimal() for name in found)
        told = f"{parts} complete part{'s' * (parts != 1)} of a run"
        if isinstance(self.folder, StoreUrl):
            run = self.folder.parent
            if holds_run(run):
                return
            told += writer_of(bucket_of(run), run)
        elif _is_locked(self.folder):
            return
        if not is_free(self.folder):
            yield Leftover(str(self.folder), told, self.discard)


@contextlib.contextmanager
def _advising(advice: str) -> Iterator[None]:
    """Say in what is raised of damaged files what to do."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(replace(each, advice=advice) for each in error.problems) from error


def _name(part: int | None) -> str:
    return _PLAN if part is None else str(part)


def parts_left_at(place: RunPlace) -> Iterator[Leftover]:
    """Yield what is in a folder of parts, if a place is one."""
    if place.name.startswith(".") and place.name.endswith(PARTS):
        yield from PartsFolder(place).left()


def _is_locked(folder: Path) -> bool:
    try:
        handle = locked(folder)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    if handle is not None:
        os.close(handle)
    return False
