"""The files of a published run, held to what was written before they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from runner.errors import InputError, some
from runner.record.layer_record import TensorRecord
from runner.record.record import RunRecord
from runner.table_formats import FORMATS


class RunFiles:
    """Finds the files of a run; each is checked when it is first asked for.

    Parameters
    ----------
    path
        The run's folder.
    record
        Content of its ``run.json``.
    """

    def __init__(self, path: Path, record: RunRecord) -> None:
        self._path = path
        self._record = record
        self._unchecked = record.digests

    def undamaged(self, name: str) -> Path:
        """Return a file by its path inside the run; it is what was written, or missing.

        Raises
        ------
        InputError
            If its content is another, or the disk does not give it.
        """
        path = self._path / name
        if name in self._unchecked:
            try:
                damage = self._unchecked[name].damage(path)
            except FileNotFoundError:  # whoever reads it says what for
                return path
            except OSError as error:
                why = f"cannot be read: {error.strerror}"
                raise InputError.of(str(path), why) from error
            if damage:
                raise InputError.of(str(path), damage, "make the run again")
            self._unchecked.pop(name, None)
        return path

    def plain(self, stem: str) -> Path:
        """Return the file of a table that holds no captured tensor, by its name without suffix.

        Raises
        ------
        InputError
            If the run has none, or it is damaged.
        """
        name = stem + FORMATS[self._record.format].suffix
        if name not in self._record.files:
            raise lacks(self._record, stem)
        return self.undamaged(name)

    def stored(self, tensor: TensorRecord) -> TensorRecord:
        """Return the tensor as its file has it: of an alias, the one it is the same as."""
        if tensor.alias_of is None:
            return tensor
        owners = (other for other in self._record.tensors if other.alias_of is None)
        return next(other for other in owners if other.file == tensor.file)

    def of(self, stored: TensorRecord, step: int | Literal["all"] | None = None) -> list[Path]:
        """Return where a tensor's table is, at one step or at all of them.

        Raises
        ------
        InputError
            If there is no such step, or a file is damaged.
        """
        if step is None:
            return [self.undamaged(stored.file)]
        record = self._record
        steps = {known.step: known for known in record.steps}
        if not steps or (step != "all" and step not in steps):
            there = some([str(known) for known in steps]) or "none; train.capture_at makes some"
            raise InputError.of(
                f"run {record.run_id}", f"has no step {step!r}", f"there are {there}"
            )
        inside = stored.file.removeprefix(f"{record.steps[-1].folder}/")
        chosen = steps.values() if step == "all" else [steps[step]]
        return [self.undamaged(f"{known.folder}/{inside}") for known in chosen]


def lacks(record: RunRecord, what: str) -> InputError:
    """Return the error that a run has no such table."""
    why = f", since it failed: {record.error}" if record.error else ""
    return InputError.of(f"run {record.run_id}", f"holds no {what}{why}")
