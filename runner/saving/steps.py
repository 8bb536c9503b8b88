"""The steps at which a probe was shown: several of a training, otherwise one."""

from __future__ import annotations

import pyarrow as pa

from runner.errors import RunError
from runner.record.training_record import Checkpoint, StepRecord
from runner.saving.tensor_tables import TensorTables
from runner.tables.summary import summary_table


class Steps:
    """The tables of each step at which the whole probe was shown, in order."""

    def __init__(self) -> None:
        self._tables: list[TensorTables] = []

    def add(self, tables: TensorTables) -> None:
        """Add the tables of the next step."""
        self._tables.append(tables)

    def __len__(self) -> int:
        return len(self._tables)

    @property
    def last(self) -> TensorTables:
        """The tables of the last step, which a run's record describes."""
        return self._tables[-1]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The captured checkpoints of a training."""
        return [each.checkpoint for each in self._tables if each.checkpoint is not None]

    @property
    def files(self) -> set[str]:
        """The paths of all tables of tensors inside the run."""
        return {name for each in self._tables for name in each.files}

    def check_samples(self, tables: TensorTables) -> None:
        """Check that complete tables have the samples of the first step.

        Raises
        ------
        RunError
            If the probe did not give the same samples again.
        """
        one, other = self._tables[0].hasher, tables.hasher
        if (one.content(), one.sample_ids()) != (other.content(), other.sample_ids()):
            raise RunError(
                f"{tables.probe.source} did not give the same samples again; "
                "what is shown at several steps must be the same each time"
            )

    def last_summary(self) -> pa.Table:
        """Return the statistics of the last step, a row per tensor."""
        return summary_table(self.last.summary)

    def summary(self) -> pa.Table:
        """Return the statistics of all checkpoints, with the step as first column."""
        rows = [
            (each.checkpoint.step, row)
            for each in self._tables
            if each.checkpoint is not None
            for row in each.summary
        ]
        steps = pa.array([step for step, _ in rows], pa.int64())
        return summary_table(row for _, row in rows).add_column(0, "step", steps)

    def records(self) -> tuple[StepRecord, ...]:
        """Return the records of all checkpoints."""
        return tuple(
            StepRecord(
                **vars(each.checkpoint),
                folder=each.folder,
                sha256=each.weights_sha256,
                files={
                    name.removeprefix(f"{each.folder}/"): digest
                    for name, digest in each.files.items()
                },
            )
            for each in self._tables
            if each.checkpoint is not None
        )
