"""Bits that flip on a disk are found, whichever file they are in, and not read over."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import pytest
from making import STORED

import runner
from runner.command_line.entry import main
from runner.errors import InputError

TRAINED = (
    "train=fit",
    "loss=sparse_categorical_crossentropy",
    "train.epochs=2",
    "train.capture_at=[0,1,last]",
    "train.save_model=true",
    "capture.kinds=[activation,weight,gradient]",
)


@pytest.fixture(scope="module", params=STORED)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of file that there is."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return runner.run(*TRAINED, f"format={request.param}", f"hydra.run.dir={folder}").path


def read_all(run: runner.Run) -> None:
    """Read every table of a run."""
    for tensor in run.record.tensors:
        run.array(tensor.name, tensor.kind, step="all")
        run.array(tensor.name, tensor.kind)
    for table in (run.summary, run.step_summary, run.history, run.probe):
        assert len(table)


@pytest.mark.parametrize("count", [20, pytest.param(120, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found_and_its_table_not_read(trained: Path, count: int) -> None:
    read_all(runner.open_run(trained))
    draw = random.Random(count)
    files = sorted(path for path in trained.rglob("*") if path.is_file())
    draw.shuffle(files)
    kinds = {path.name.partition(".")[2] or path.name for path in files}
    assert {"json", "log", "keras", "yaml"} < kinds
    tables = 0
    for number in range(count):
        path = files[number % len(files)]
        name, data = path.relative_to(trained).as_posix(), path.read_bytes()
        place, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(["verify", str(trained)])
        assert code == (2 if name == "run.json" else 1)
        assert name in said.getvalue()
        if name == "run.json":
            with pytest.raises(InputError, match=r"run\.json"):
                runner.open_run(trained)
        elif path.suffix in {known.suffix for known in STORED.values()}:
            tables += 1
            with pytest.raises(InputError, match=f"{name}: damaged: expected [0-9,]+ bytes"):
                read_all(runner.open_run(trained))
        path.write_bytes(data)
    assert tables > count / 2
    read_all(runner.open_run(trained))
