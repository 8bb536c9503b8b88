"""Tables and records that somebody else wrote: nothing in them is taken for granted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from forging import forge
from making import make_run

import runner
from runner.errors import DamagedError
from runner.record.training_record import TrainingRecord


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels, which the tests copy and change."""
    return make_run(tmp_path_factory.mktemp("made") / "run", labels=["a", "b", "c"])


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


LABEL = {"role": "label", "name": "label", "first": 1, "count": 1, "shape": [], "dtype": "string"}
INPUT = {"role": "input", "name": "input", "first": 2, "count": 3, "shape": [3],
         "dtype": "float32"}  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ([LABEL | {"first": 0}], "'probe.columns': 'label' begins at column 0, expected 1"),
        ([LABEL, INPUT | {"first": 1}], "'probe.columns': 'input' begins at column 1, expected 2"),
        ([LABEL, INPUT | {"count": 2}], "'probe.columns': 2 columns hold 'input'"),
        ([LABEL, LABEL | {"first": 2}], "'probe.columns': expected each array once"),
        ([INPUT | {"first": 1}], "'probe.columns': expected labels where the probe has labels"),
        ([LABEL | {"dtype": "O"}], "'probe.columns.0.dtype': "),
        ([LABEL | {"dtype": "bfloat16"}], "'probe.columns.0.dtype': "),
        ([LABEL | {"dtype": "complex64"}], "'probe.columns.0.dtype': "),
    ],
)
def test_columns_of_a_probe_that_overlap_are_refused(
    columns: list[Any], why: str, copy: Path
) -> None:
    forge(copy, lambda record: record["probe"].update(columns=columns))
    with pytest.raises(DamagedError, match=why):
        runner.open_run(copy)


def test_a_run_is_identified_by_its_id_and_status_whatever_its_metrics_are_called(
    tmp_path: Path,
) -> None:
    history = {"run": (1.0,), "status": (2.0,), "loss": (3.0,)}
    run = make_run(tmp_path / "a", error="boom", config={"seed": 0, "run": 4},
                   training=TrainingRecord(epochs=1, unit="epoch", history=history))  # fmt: skip
    make_run(tmp_path / "b", error="boom", run_id="b", config={"seed": 0, "run": 5})
    frame = runner.open_runs(run.parent).frame
    assert frame["run"].tolist() == ["0a1b2c3d", "b"]
    assert frame["status"].tolist() == ["FAILED", "FAILED"]
    assert frame["loss"].tolist()[0] == 3
