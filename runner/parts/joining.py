"""Joins the parts of a run into one run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from runner.errors import InputError, RunError, some
from runner.file_names import LOG
from runner.parts.joined_parts import JoinedParts, UnfitPartsError, now_after
from runner.parts.part_records import WEIGHTS, Plan
from runner.parts.parts_folder import GO_ON, PartsFolder
from runner.record.publication import Publication
from runner.record.reading import check_record, read_record
from runner.record.record import RunRecord
from runner.store_urls import RunPlace
from runner.stores.places import draft_at, holds_run, run_at
from runner.stores.store import StoredRun


def join(target: RunPlace) -> StoredRun:
    """Join the parts of a run, publish it, and remove the folder of the parts.

    Parameters
    ----------
    target
        The folder of the run: absent, or empty.

    Raises
    ------
    InputError
        If the run is there already, there are no parts, or some are missing or failed.
    RunError
        If the parts do not fit together, or the run cannot be written.
    """
    folder = PartsFolder.of_run(target)
    found = folder.plan()
    if holds_run(target):
        run, record = run_at(target), read_record(run_at(target))
        if found is None or found[1].run_id != record.run_id:
            raise InputError.of(str(target), "the run is there, and has no parts to join")
        folder.remove(
            run, record.digests, {None: found[1].files}
        )  # the joining process ended before it did so
        return run
    if found is None:
        raise InputError.of(str(target), "there are no parts of a run to join")
    with Publication(draft_at(target, "run", in_parts=True)) as publication:
        return joined(publication, folder)


def joined(publication: Publication, folder: PartsFolder) -> StoredRun:
    """Publish the run of which all parts are there, and remove the folder of the parts.

    Parameters
    ----------
    publication
        The run, of which nothing is written yet.
    folder
        The folder of its parts.

    Raises
    ------
    InputError
        If parts are missing or failed.
    RunError
        If the parts do not fit together, or the run cannot be written.
    """
    found = folder.plan()
    assert found is not None, "the run was planned"
    stored, plan = found
    parts = folder.parts(plan)
    if missing := missing_parts(plan, parts):
        names = some([str(number) for number in missing])
        raise _incomplete(folder, f"missing of {len(plan.division.starts)} parts: {names}")
    try:
        record, used = _gathered(publication, folder, stored, plan, parts)
    except UnfitPartsError as error:
        raise RunError(f"{error}; {folder.start_over}") from error
    check_record(record, publication.draft.place())
    published = publication.publish(record.to_json())
    folder.remove(published, record.digests, used)
    return published


def _gathered(
    publication: Publication,
    folder: PartsFolder,
    stored: StoredRun,
    plan: Plan,
    parts: dict[int, StoredRun],
) -> tuple[RunRecord, dict[int | None, Iterable[str]]]:
    """Write the files of a run, and return its record.

    Also returns the names of the files that the run does not take over, as `PartsFolder.remove`
    wants them.
    """
    whole = JoinedParts(plan)
    used: dict[int | None, Iterable[str]] = {None: plan.files}
    for number, run in parts.items():
        part = folder.record(number, run, plan)
        if part.record.error is not None:
            raise _incomplete(folder, f"part {number} failed: {part.record.error}")
        used[number] = part.record.files
        tables = part.record.digests.keys() - part.record.files.keys()
        taken = {
            name: publication.take_over(name, run, part.record.digests[name])
            for name in sorted(tables)
        }
        whole.add(part, run, taken)
    _add_files_of_plan(publication, stored, plan, len(parts))
    return whole.finish(publication), used


def _add_files_of_plan(publication: Publication, stored: StoredRun, plan: Plan, parts: int) -> None:
    for name, digest in plan.files.items():
        if name in (LOG, WEIGHTS):
            continue
        with stored.open_verified(name, digest) as file, publication.open(name) as copy:
            shutil.copyfileobj(file, copy)
    with stored.open_verified(LOG, plan.files[LOG]) as file:
        log = file.read() + f"{now_after(plan).isoformat(timespec='milliseconds')} ".encode()
    publication.write(LOG, log + f"{parts} parts were joined\n".encode())


def _incomplete(folder: PartsFolder, why: str) -> InputError:
    """Return the error for parts that are missing or failed."""
    return InputError.of(str(folder.folder), why, GO_ON)


def missing_parts(plan: Plan, parts: dict[int, StoredRun]) -> list[int]:
    """Return the numbers of the parts that are not there."""
    return [number for number in range(len(plan.division.starts)) if number not in parts]


def failed_parts(folder: PartsFolder, plan: Plan, parts: dict[int, StoredRun]) -> dict[int, str]:
    """Return the errors of the parts that failed, by number."""
    records = ((n, folder.record(n, run, plan).record) for n, run in parts.items())
    return {number: record.error for number, record in records if record.error is not None}
