"""The values of another run that take the place of those of this one, by sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from runner.errors import InputError, some, suggest
from runner.file_names import PROBE
from runner.intervening.changed_output import PerSample
from runner.local_paths import OUTPUTS
from runner.record.listing import list_records
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.runs.run_files import RunFiles, probe_of
from runner.stores.places import holds_run, run_at
from runner.stores.store import StoredRun
from runner.tables.plain_tables import read_samples
from runner.tables.reading import read_array
from runner.tensors import TensorSpec, shape_text


class PatchSource:
    """One run whose values are taken.

    Parameters
    ----------
    run
        Folder of the run, or its name or the beginning of its id below ``outputs``.
    place
        Key of the run, for messages.
    samples
        Sample of this run to the sample of that one whose values it takes; all others take those
        of the sample of the same id.

    Raises
    ------
    InputError
        If there is no such run, or it failed.
    """

    def __init__(self, run: str, place: str, samples: Mapping[str, str]) -> None:
        self._name, self._place, self._samples = run, place, samples
        stored, self._record = _found(run, place)
        self._files = RunFiles(stored, self._record)
        shown = probe_of(self._record)
        file = self._files.plain(PROBE, shown.rows)
        ids = read_samples(file, self._record.format, shown.sample_type)
        self._rows = {str(one): row for row, one in enumerate(ids.tolist())}

    def values_of(self, spec: TensorSpec) -> PerSample:
        """Return the run's values of an output.

        Raises
        ------
        InputError
            If it has no such output, or one of another shape.
        """
        known = {one.name: one for one in self._record.tensors if one.kind == spec.kind}
        tensor = known.get(spec.name)
        if tensor is None:
            what = "output" if spec.kind == "activation" else spec.kind
            self._refuse(f"has no {what} of '{spec.name}'", suggest(spec.name, known))
        if tensor.shape != spec.shape or tensor.reduction is not None:
            found = f"reduced ({tensor.reduction})" if tensor.reduction else ""
            found = found or f"{shape_text(tensor.shape)}, and here {shape_text(spec.shape)}"
            self._refuse(f"a sample of '{spec.name}' is {found}")
        probe, stored = probe_of(self._record), self._files.stored(tensor)
        table = self._files.at(stored)
        array = read_array(table, stored, self._record.format, probe.rows, probe.sample_ids_hash)
        return lambda _, samples: self._of_samples(array, samples)

    def _of_samples(self, array: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Return the values for some samples, of shape (sample, ...).

        Raises
        ------
        InputError
            If the run was not shown one of them.
        """
        wanted = [self._samples.get(str(one), str(one)) for one in samples.tolist()]
        missing = [one for one in wanted if one not in self._rows]
        if missing:
            self._refuse(
                f"was not shown {'sample' if len(missing) == 1 else 'samples'} "
                f"{some(missing, most=3)}",
                "samples={this: that} names the samples to take",
            )
        rows = [self._rows[one] for one in wanted]
        return np.asarray(array[rows])

    def _refuse(self, what: str, advice: str = "") -> NoReturn:
        raise InputError.of(self._place, f"run {self._name}: {what}", advice)


def _found(run: str, place: str) -> tuple[StoredRun, RunRecord]:
    if holds_run(run):
        stored = run_at(run)
        return stored, read_record(stored)
    known = list_records(OUTPUTS).runs if OUTPUTS.is_dir() else []
    found = [pair for pair in known if pair[1].name == run]
    found = found or [pair for pair in known if pair[1].run_id.startswith(run)]
    if len(found) != 1:
        ids = [record.run_id for _, record in found]
        what = f"fits {len(found)} runs: {some(ids, most=3)}" if found else "is no run"
        names = [record.name for _, record in known if record.name]
        advice = "" if found else suggest(run, names)
        raise InputError.of(place, f"'{run}' {what}", advice or "give the folder of a run")
    return found[0]
