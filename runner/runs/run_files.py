"""The files of a published run, checked when they are opened."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from functools import cached_property, partial
from math import prod
from typing import BinaryIO, Literal

from runner.errors import DamagedError, InputError, OutOfMemoryError, some
from runner.file_names import PROBE, plain_table
from runner.readable_files import ReadableFile, ReadableTable
from runner.record.layer_record import TensorRecord
from runner.record.probe_record import ProbeRecord
from runner.record.record import RunRecord
from runner.sizes import readable
from runner.stores.digests import FileDigest
from runner.stores.store import StoredRun
from runner.tables.table_files import check_expansion, part_of


class RunFiles:
    """Finds the files of a run; each file is checked when it is first opened.

    Parameters
    ----------
    run
        The files of the run.
    record
        Content of the run's ``run.json``.
    """

    def __init__(self, run: StoredRun, record: RunRecord) -> None:
        self._run = run
        self._record = record
        self._checked: set[str] = set()
        self._tables: set[str] = set()

    @cached_property
    def _digests(self) -> dict[str, FileDigest]:
        return self._record.digests

    def named(self, name: str) -> ReadableFile:
        """Return a file by its path inside the run.

        Raises
        ------
        DamagedError
            If the record names no such file.
        """
        digest = self._digests.get(name)
        if digest is None:
            raise DamagedError.of(
                self._run.place(name), "is not a file that the run's record names"
            )
        return self._file(name, digest)

    def plain(self, stem: str, rows: int) -> ReadableFile:
        """Return the file of a table other than those of tensors.

        Parameters
        ----------
        stem
            Name of the table without suffix.
        rows
            Number of rows that the table must have.

        Raises
        ------
        InputError
            If the run has no such table.
        """
        name = plain_table(stem, self._record.format)
        if name not in self._record.files:
            raise lacks(self._record, stem)
        return self._file(name, self._record.files[name], rows)

    def stored(self, tensor: TensorRecord) -> TensorRecord:
        """Return the tensor that a file holds: for an alias, the original tensor."""
        if tensor.alias_of is None:
            return tensor
        owners = (other for other in self._record.tensors if other.alias_of is None)
        return next(other for other in owners if other.file == tensor.file)

    def of(
        self,
        stored: TensorRecord,
        step: int | Literal["all"] | None = None,
        columns: Collection[str] | None = None,
    ) -> list[ReadableTable]:
        """Return a tensor's table at one step, or its tables at all steps.

        Raises
        ------
        InputError
            As from `at`.
        """
        if step == "all" and self._record.steps:
            return [self.at(stored, known.step, columns) for known in self._record.steps]
        return [self.at(stored, step, columns)]

    def at(
        self,
        stored: TensorRecord,
        step: int | Literal["all"] | None = None,
        columns: Collection[str] | None = None,
    ) -> ReadableTable:
        """Return a tensor's table at one step of the training, or at the last.

        With `columns`, other columns may be missing: from a store, only these may be fetched.

        Raises
        ------
        InputError
            If there is no such step.
        """
        record = self._record
        if stored.digest is None:
            raise InputError.of(
                f"run {record.run_id}",
                "kept no values, only statistics",
                "make it with another format than none",
            )
        shown = 0 if record.probe is None else record.probe.rows
        rows = shown if stored.per_sample else prod(stored.shape[:-1])
        if step is None and stored.parts:
            files = (
                self._file(part.file, part.digest, part.rows, columns) for part in stored.parts
            )
            return ReadableTable(self._run.place(stored.file), tuple(files))
        if step is None:
            return ReadableTable.of(self._file(stored.file, stored.digest, rows, columns))
        steps = {known.step: known for known in record.steps}
        if step not in steps:
            there = some([str(known) for known in steps]) or "none; train.capture_at makes some"
            raise InputError.of(
                f"run {record.run_id}", f"has no step {step!r}", f"there are {there}"
            )
        inside = stored.file.removeprefix(f"{record.steps[-1].folder}/")
        known = steps[step]
        name = f"{known.folder}/{inside}"
        return ReadableTable.of(self._file(name, known.files[inside], rows, columns))

    def _file(
        self,
        name: str,
        digest: FileDigest,
        rows: int | None = None,
        columns: Collection[str] | None = None,
    ) -> ReadableFile:
        """Return a file of the run; with `rows`, it is a table of so many."""
        opening = partial(self._opened, name, digest, rows)
        if rows is not None and columns is not None:
            opening = partial(self._opened_partly, name, digest, rows, columns)
        return ReadableFile(self._run.place(name), opening)

    def _opened_partly(
        self, name: str, digest: FileDigest, rows: int, columns: Collection[str]
    ) -> BinaryIO:
        """Open a table with only some of its columns, if these can be fetched alone."""
        place = self._run.place(name)
        whole = None if name in self._checked else self._run.open_part(name, digest)
        if whole is None:
            return self._opened(name, digest, rows)
        with whole:
            part = part_of(whole, place, self._record.format, rows, columns)
        return self._opened(name, digest, rows) if part is None else part

    def _opened(self, name: str, digest: FileDigest, rows: int | None) -> BinaryIO:
        """Open a file, after checking that it is undamaged and, as a table, does not expand."""
        if name in self._checked:
            file = self._run.open(name)
        else:
            file = self._run.open_verified(name, digest)
            self._checked.add(name)
        if rows is not None and name not in self._tables:
            with ExitStack() as unless_checked:
                unless_checked.enter_context(file)
                self._check_table(file, name, digest, rows)
                unless_checked.pop_all()
            self._tables.add(name)
        return file

    def _check_table(self, file: BinaryIO, name: str, digest: FileDigest, rows: int) -> None:
        place = self._run.place(name)
        try:
            check_expansion(file, place, self._record.format, rows)
        except MemoryError as error:
            size = readable(digest.bytes)
            raise OutOfMemoryError(
                f"{place}: memory ran out while its {size} were mapped to be checked"
            ) from error
        file.seek(0)


def lacks(record: RunRecord, what: str) -> InputError:
    """Return the error for a table that a run does not have."""
    why = f", since it failed: {record.error}" if record.error else ""
    return InputError.of(f"run {record.run_id}", f"holds no {what}{why}")


def probe_of(record: RunRecord) -> ProbeRecord:
    """Return the record of the probe that a run was shown.

    Raises
    ------
    InputError
        If the run failed before.
    """
    if record.probe is None:
        raise lacks(record, PROBE)
    return record.probe
