"""The files of a published run, checked before they are read."""

from __future__ import annotations

from functools import cached_property
from math import prod
from pathlib import Path
from typing import Literal

from runner.errors import DamagedError, InputError, OutOfMemoryError, some
from runner.file_names import plain_table
from runner.preflight import readable
from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.stores.digests import FileDigest
from runner.stores.store import StoredRun
from runner.tables.formats import check_expansion


class RunFiles:
    """Finds the files of a run; each file is checked on first access.

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

    def undamaged(self, name: str) -> Path:
        """Return the path of a file inside the run, after checking that it is undamaged.

        Raises
        ------
        DamagedError
            If the record names no such file, or it is damaged.
        """
        digest = self._digests.get(name)
        if digest is None:
            raise DamagedError.of(
                self._run.place(name), "is not a file that the run's record names"
            )
        return self._compared(name, digest)

    def _compared(self, name: str, digest: FileDigest) -> Path:
        if name not in self._checked:
            if found := self._run.damage(name, digest):
                raise DamagedError.of(self._run.place(name), found, "make the run again")
            self._checked.add(name)
        return self._run.local_path(name)

    def plain(self, stem: str, rows: int) -> Path:
        """Return the path of a table other than those of tensors.

        Parameters
        ----------
        stem
            Name of the table without suffix.
        rows
            Number of rows that the table must have.

        Raises
        ------
        InputError
            If the run has no such table, or it is damaged.
        """
        name = plain_table(stem, self._record.format)
        if name not in self._record.files:
            raise lacks(self._record, stem)
        return self._table(name, self._record.files[name], rows)

    def stored(self, tensor: TensorRecord) -> TensorRecord:
        """Return the tensor that a file holds: for an alias, the original tensor."""
        if tensor.alias_of is None:
            return tensor
        owners = (other for other in self._record.tensors if other.alias_of is None)
        return next(other for other in owners if other.file == tensor.file)

    def of(self, stored: TensorRecord, step: int | Literal["all"] | None = None) -> list[Path]:
        """Return the paths of a tensor's table at one step or at all steps.

        Raises
        ------
        InputError
            As from `at`.
        """
        if step == "all" and self._record.steps:
            return [self.at(stored, known.step) for known in self._record.steps]
        return [self.at(stored, step)]

    def at(self, stored: TensorRecord, step: int | Literal["all"] | None = None) -> Path:
        """Return where a tensor's table is at one step of the training, or at the last.

        Raises
        ------
        InputError
            If there is no such step, or the file is damaged.
        """
        record = self._record
        shown = 0 if record.probe is None else record.probe.rows
        rows = shown if stored.per_sample else prod(stored.shape[:-1])
        if step is None:
            return self._table(stored.file, stored.digest, rows)
        steps = {known.step: known for known in record.steps}
        if step not in steps:
            there = some([str(known) for known in steps]) or "none; train.capture_at makes some"
            raise InputError.of(
                f"run {record.run_id}", f"has no step {step!r}", f"there are {there}"
            )
        inside = stored.file.removeprefix(f"{record.steps[-1].folder}/")
        known = steps[step]
        return self._table(f"{known.folder}/{inside}", known.files[inside], rows)

    def _table(self, name: str, digest: FileDigest, rows: int) -> Path:
        """Return the path of a table, after checking that it does not expand in memory."""
        path = self._compared(name, digest)
        if name not in self._tables:
            try:
                check_expansion(path, self._record.format, rows)
            except MemoryError as error:
                size = readable(digest.bytes)
                raise OutOfMemoryError(
                    f"{path}: memory ran out while its {size} were mapped to be checked"
                ) from error
            self._tables.add(name)
        return path


def lacks(record: RunRecord, what: str) -> InputError:
    """Return the error for a table that a run does not have."""
    why = f", since it failed: {record.error}" if record.error else ""
    return InputError.of(f"run {record.run_id}", f"holds no {what}{why}")
