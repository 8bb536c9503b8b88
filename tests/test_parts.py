"""A run that is made in parts is the run made whole; until it is joined, it is not there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import in_process
from forging import Edit, forge, parquet
from parted_runs import IRIS, assert_same_run

import runner
from runner.errors import InputError, RunError
from runner.experiment.earlier import held
from runner.parts import parted_run
from runner.parts.joining import join
from runner.parts.part_records import PartRecord, read_part
from runner.parts.parts_folder import PartsFolder
from runner.record.reading import read_record
from runner.runs import database
from runner.runs.published_run import Run
from runner.showing.division import Division

ROOT = Path(__file__).parent.parent


def command_line(*words: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "runner", *words, f"hydra.run.dir={folder / 'run'}"]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}


def made(folder: Path, name: str, *words: str) -> Run:
    in_process(*words, f"hydra.run.dir={name}", folder=folder)
    return runner.open_run(folder / name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    found = {
        name: made(folder, name, *IRIS, f"parts={parts}")
        for name, parts in {"whole": 1, "parted": 4}.items()
    }
    assert sorted(path.name for path in folder.iterdir()) == ["parted", "whole"]
    return found


def test_a_run_in_parts_is_the_run_made_whole(runs: Mapping[str, Run]) -> None:
    whole, parted = runs["whole"], runs["parted"]
    assert_same_run(whole, parted)
    [hidden] = [t for t in parted.record.tensors if (t.name, t.kind) == ("hidden", "activation")]
    assert [part.rows for part in hidden.parts] == [48, 48, 48, 6]
    assert hidden.parts[3].file == f"{hidden.file}/part-00003.parquet"
    assert (parted.path / hidden.parts[3].file).is_file()
    pd.testing.assert_frame_equal(whole["hidden"], parted["hidden"])
    assert [len(block) for block in parted.blocks("hidden")] == [48, 48, 48, 6]


def test_readers_see_one_run(
    runs: Mapping[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parted = runs["whole"], runs["parted"]
    both = runner.open_runs([whole.path, parted.path])
    query = "select run, count(*) as n, sum(u0) as s from hidden group by run"
    for most in (database._IN_MEMORY, 0):  # read whole, and by DuckDB
        monkeypatch.setattr(database, "_IN_MEMORY", most)
        found = both.sql(query)
        assert found["n"].tolist() == [150, 150]
        assert len({*found["s"].round(3)}) == 1
    similar = both.similarity(layers="same", samples=None)
    assert similar["value"].min() == pytest.approx(1)
    folder = parted.path.parent
    said = in_process("diff", "whole", "parted", folder=folder).stdout
    assert "config.parts: 1 | 4\n" in said
    assert "PASS: every tensor is equal bit for bit" in said
    in_process("report", "parted", "--output", str(tmp_path / "page.html"), folder=folder)
    assert "11 tables as parquet" in in_process("show", "parted", folder=folder).stdout
    assert "config.parts: 4 | 1\n" in in_process("rerun", "parted", folder=folder).stdout


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "arrow"])
def test_labels_targets_and_ids_are_kept_in_every_format(tmp_path: Path, format: str) -> None:
    rows = [f"s{n};{'AB'[n % 2]};{n / 7};{-n / 3}" for n in range(5000)]
    (tmp_path / "x.csv").write_text("\n".join(["id;label;a;b", *rows]) + "\n", encoding="utf-8")
    words = ("probe=csv", f"probe.path={tmp_path / 'x.csv'}", "model.input_shape=[2]",
             f"format={format}", "capture.batch_size=96")  # fmt: skip
    whole, parted = (made(tmp_path, f"run{n}", *words, f"parts={n}") for n in (1, 3))
    assert_same_run(whole, parted)
    assert parted.labels is not None
    assert parted.labels.tolist() == ["A", "B"] * 2500


@pytest.mark.slow
def test_a_model_is_trained_once(tmp_path: Path) -> None:
    words = (*IRIS, "train=fit", "train.epochs=2", "train.save_model=true")
    whole, parted = (made(tmp_path, f"run{n}", *words, f"parts={n}") for n in (1, 2))
    assert_same_run(whole, parted)
    pd.testing.assert_frame_equal(whole.history, parted.history)


FUNCTION = """
import keras, numpy as np

def samples():
    return (np.random.default_rng(0).normal(size=(8, 3)).astype("float32") for _ in range(9))

def stateful():
    inputs = keras.Input((2, 3), batch_size=48)
    return keras.Model(inputs, keras.layers.LSTM(2, stateful=True)(inputs))

class Noise(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)

class Mean(keras.layers.Layer):
    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)

def noisy():
    return keras.Sequential([keras.Input((3,)), Noise()])

def mixed():
    return keras.Sequential([keras.Input((3,)), Mean()])
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("capture.training=true",), "parts: in training, the values of a sample depend on"),
        (("format=xlsx",), "parts: a workbook of xlsx holds all samples"),
        (("intervene.hidden.set=0",), "parts: there are no interventions in a run made in parts"),
        (("train=fit", "train.every=1"), "parts: only the trained model is captured in parts"),
        (("capture.kinds=[weight]",), "parts: no tensor with a row per sample is captured"),
        (("seed=0,1", "-m"), "parts: the runs of a sweep are made whole"),
        ((), "parts: 3 samples in batches of 48 are 1, fewer than 2 parts"),
        (("parts=0",), "parts: must be >= 1, found 0"),
        (("model=function", "model.function=nets_in_parts:stateful", "probe=random",
          "probe.rows=96"), "parts: the model keeps a state from batch to batch"),
        (("model=function", "model.function=nets_in_parts:noisy"),
         "parts: the values of 'noise' differ each time that a batch is shown"),
        (("model=function", "model.function=nets_in_parts:mixed"),
         "parts: the output of 'mean' for a sample depends on the samples beside it"),
        (("probe=function", "probe.function=nets_in_parts:samples"),
         "parts: the number of samples of nets_in_parts:samples is not known beforehand"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_is_refused_in_a_line(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_in_parts.py").write_text(FUNCTION, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    done = in_process("parts=2", *words, folder=tmp_path, code=2)
    [line] = done.stderr.splitlines()[-1:]
    assert line.startswith(f"error: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["nets_in_parts.py"]


def test_python_makes_a_run_in_parts(runs: Mapping[str, Run], tmp_path: Path) -> None:
    run = runner.run(*IRIS, "parts=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert_same_run(runs["whole"], run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(InputError, match="parts: 150 samples in batches of 48 are 4, fewer than 9"):
        runner.run(*IRIS, "parts=9", f"hydra.run.dir={tmp_path / 'other'}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def unjoined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartsFolder:
    """The parts of a run whose launching process ended before it joined them."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(parted_run, "joined", end)
        done = in_process(*IRIS, "parts=4", "hydra.run.dir=run", folder=tmp_path, code=130)
    assert "to continue: python -m runner experiment=iris_mlp" in done.stdout
    return PartsFolder.of_run(tmp_path / "run")


def test_parts_are_joined_after_a_crash(unjoined: PartsFolder, runs: Mapping[str, Run]) -> None:
    folder = unjoined.folder.parent
    with pytest.raises(InputError, match="no folder of a run"):
        runner.open_runs(folder)
    with pytest.raises(InputError, match="no run is there"):
        Run.read(folder / "run")
    with pytest.raises(InputError, match="not a run record"):
        Run.read(unjoined.folder / "0")
    shutil.move(unjoined.folder / "2", folder / "kept")
    done = in_process("join", "run", folder=folder, code=2)
    assert "missing of 4 parts: 2; run the same command with the same hydra.run.dir" in done.stderr
    shutil.move(folder / "kept", unjoined.folder / "2")
    assert "11 tables" in in_process("join", "run", folder=folder).stdout
    assert_same_run(runs["whole"], runner.open_run(folder / "run"))
    assert [path.name for path in folder.iterdir()] == ["run"]
    done = in_process("join", "run", folder=folder, code=2)
    assert "run: the run is there, and has no parts to join" in done.stderr


def test_parts_are_started_over(unjoined: PartsFolder) -> None:
    folder, words = unjoined.folder.parent, ("clean", str(unjoined.folder), "--yes")
    done = in_process(*IRIS, "seed=1", "parts=4", "hydra.run.dir=run", folder=folder, code=2)
    assert f"to start over, type: runner {' '.join(words[:2])}" in done.stderr
    with held(unjoined.folder):  # by a command that makes parts
        assert "nothing is left" in in_process(*words).stdout
    assert f"{unjoined.folder}: 4 complete parts of a run\n" in in_process(*words).stdout
    assert not list(folder.iterdir())
    assert "nothing is left" in in_process(*words).stdout


@pytest.mark.slow
def test_parts_that_are_there_are_not_made_again(
    unjoined: PartsFolder, runs: Mapping[str, Run]
) -> None:
    folder = unjoined.folder.parent
    kept = (unjoined.folder / "0/run.json").stat().st_mtime_ns
    [table] = (unjoined.folder / "1").glob("activations/*hidden/part-00001.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    done = in_process(*IRIS, "seed=1", "parts=4", "hydra.run.dir=run", folder=folder, code=2)
    assert ".run.parts: holds parts of a run of another configuration" in done.stderr
    in_process(*IRIS, "parts=4", "hydra.run.dir=run", folder=folder)
    run = runner.open_run(folder / "run")
    assert_same_run(runs["whole"], run)
    [first] = run.path.glob("activations/*hidden/part-00000.parquet")
    assert first.stat().st_mtime_ns < kept


def rewritten(folder: PartsFolder, part: PartRecord, **changed: Any) -> None:
    """Write the record of a part again, with other content."""
    data = dataclasses.replace(part, **changed).to_json()
    (folder.folder / str(part.part) / "run.json").write_bytes(data)


def test_parts_that_do_not_fit_together_are_refused(unjoined: PartsFolder) -> None:
    found = unjoined.plan()
    assert found is not None
    parts = {n: read_part(run) for n, run in unjoined.parts(found[1]).items()}
    part, record, target = parts[1], parts[1].record, unjoined.folder / "1"

    def said(code: int = 1) -> str:
        done = in_process("join", "run", folder=unjoined.folder.parent, code=code)
        assert not target.parent.with_name("run").exists()
        return done.stderr

    def said_of(code: int = 1, **changed: Any) -> str:
        rewritten(unjoined, part, record=dataclasses.replace(record, **changed))
        return said(code)

    rewritten(unjoined, part, start=96)
    assert "1: expected rows 48 to 96 of the probe, found 96 to 144" in said(2)
    (target / "run.json").write_bytes((unjoined.folder / "2/run.json").read_bytes())
    assert "1: expected rows 48 to 96 of the probe, found 96 to 144" in said(2)
    text = part.to_json().replace(b'"part": 1', b'"part": 2')
    (target / "run.json").write_bytes(text)
    again = "run the same command with the same hydra.run.dir to make what is missing or damaged"
    assert f"was changed after it was written; {again}\n" in said(2)
    assert "was made from another configuration" in said_of(2, fingerprint="0" * 64)
    assert record.model is not None
    model = dataclasses.replace(record.model, sha256="0" * 64)
    again = f"part 0; to start over, type: runner clean {unjoined.folder}\n"
    assert f"part 1 was made with other weights than {again}" in said_of(model=model)
    packages = {**record.environment.packages, "numpy": "0.1"}
    environment = dataclasses.replace(record.environment, packages=packages)
    assert "part 1 was made with numpy 0.1, and part 0 with " in said_of(environment=environment)
    layers = (dataclasses.replace(record.layers[1], tensors=()), *record.layers[2:])
    statistics = tuple(each for each in part.statistics if each.name == "output")
    fewer = dataclasses.replace(record, layers=layers)
    rewritten(unjoined, part, record=fewer, statistics=statistics)
    assert "the table of 'hidden' is not the same in part 0 and part 1; leave out parts" in said()
    kept = shutil.copy(target / "probe.parquet", unjoined.folder / "kept")
    shutil.copy(unjoined.folder / "0/probe.parquet", target / "probe.parquet")
    files = {**record.files, "probe.parquet": parts[0].record.files["probe.parquet"]}
    assert "sample id 0 is in several parts" in said_of(files=files)
    hashes = dataclasses.replace(parts[0].hashes, ids="0" * 64)
    rewritten(unjoined, parts[0], hashes=hashes)
    rewritten(unjoined, part)
    shutil.copy(kept, target / "probe.parquet")
    assert "the parts were shown other samples than each other expects" in said()
    nothing = {"probe": None, "model": None, "headline": None, "layers": ()}
    failed = dataclasses.replace(record, status="FAILED", error="a bad row", **nothing)
    rewritten(unjoined, part, record=failed)
    assert "part 1 failed: a bad row" in said(2)


def _states(part: dict[str, Any], **changed: Any) -> None:
    for each in part["statistics"]:
        for state in each["states"].values():
            state.update(changed)


FORGED_PLANS: tuple[tuple[Edit, str], ...] = (
    (lambda plan: plan["files"].pop("run.log"), "is not the plan of a run made in parts"),
    (lambda plan: plan["division"].update(starts=[]), "is not the plan of a run made in parts"),
    (lambda plan: plan["division"].update(starts=[0, 96, 48, 144]), "is not the plan"),
    (lambda plan: plan["division"].update(rows=10), "is not the plan of a run made in parts"),
    (lambda plan: plan.update(weights="0" * 64), "is not the plan of a run made in parts"),
)
FORGED_PARTS: tuple[tuple[Edit, str], ...] = (
    (lambda part: part.update(hashes=None), "lacks hashes, or statistics of a tensor"),
    (lambda part: part["hashes"].update(ids="hidden"), "is not the record of a part"),
    (lambda part: part.update(statistics=[]), "lacks hashes, or statistics of a tensor"),
    (lambda part: part["statistics"][0].update(name="x"), "lacks hashes, or statistics"),
    (lambda part: part["statistics"][0].update(states={}), "damaged statistics of 'normalize'"),
    (lambda part: _states(part, add="x"), "part 0 has damaged statistics of 'normalize'"),
    (lambda part: _states(part, spec={}), "part 0 has damaged statistics of 'normalize'"),
    (lambda part: _states(part, _silent={"dtype": "O"}), "damaged statistics"),
    (
        lambda part: part["statistics"][0]["states"].update(
            {"runner.statistics.dead_units._SilentUnits": {"_has_values": 1.5}}
        ),
        "damaged statistics",
    ),
    (
        lambda part: part["statistics"][0]["states"].update(
            {"runner.tables.moments.Moments": {"count": 10**30}}
        ),
        "part 0 has damaged statistics",
    ),
    (
        lambda part: part["statistics"][0]["states"].update(
            {"runner.tables.moments.Moments": {"count": 1, "squares": -1e9}}
        ),
        "the statistics of the parts are damaged: math domain error",
    ),
    (
        lambda part: part["statistics"][0]["states"].update(
            {"runner.statistics.zeros._Zeros": {"zeros": 10**6, "total": 1}}
        ),
        "the statistics of 'normalize' in the parts are impossible",
    ),
    (lambda part: part["record"].update(headline=None), "'headline': a run that is COMPLETED"),
    (lambda part: part["record"].update(probe=None), "'probe': a run that is COMPLETED has one"),
    (lambda part: part["record"].update(format="x"), "no installed package offers 'x'"),
    (lambda part: part["record"]["probe"].update(columns=None), "'probe.columns': expected"),
)


def test_a_forged_plan_or_part_is_told_in_a_line(unjoined: PartsFolder) -> None:
    for name, cases in (("plan", FORGED_PLANS), ("0", FORGED_PARTS)):
        record = unjoined.folder / name / "run.json"
        kept = record.read_bytes()
        for edit, line in cases:
            forge(record.parent, edit)
            with pytest.raises((InputError, RunError), match=re.escape(line)):
                join(unjoined.folder.parent / "run")
            record.write_bytes(kept)
    table = pq.read_table(unjoined.folder / "0/probe.parquet")
    strings = pa.table({name: ["x"] * len(table) for name in table.column_names})
    for wrong, line in (
        (parquet(table, compression="zstd"), "found compression in 'sample'"),
        (parquet(table.drop_columns(["sample"])), "has other columns than the record"),
        (parquet(strings), "expected 'sample' to be int64, found string"),
    ):
        (unjoined.folder / "0/probe.parquet").write_bytes(wrong)
        digest = {"bytes": len(wrong), "sha256": hashlib.sha256(wrong).hexdigest()}
        own = {"probe.parquet": digest}
        forge(unjoined.folder / "0", lambda part, own=own: part["record"]["files"].update(own))
        with pytest.raises((InputError, RunError), match=line):
            join(unjoined.folder.parent / "run")
    with (unjoined.folder / "plan/run.json").open("ab") as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match="a run record of more than 67,108,864 bytes"):
        join(unjoined.folder.parent / "run")
    assert not (unjoined.folder.parent / "run").exists()


def test_parts_behind_links_are_refused(unjoined: PartsFolder) -> None:
    what = "is a link, and parts are joined only from the folder itself; put what it names in its"
    for place in (unjoined.folder / "1", unjoined.folder / "plan", unjoined.folder):
        elsewhere = Path("elsewhere", place.name)
        elsewhere.parent.mkdir(exist_ok=True)
        Path(place).rename(elsewhere)
        Path(place).symlink_to(elsewhere.absolute())
        with pytest.raises(InputError, match=f"{re.escape(str(place))}: {what}"):
            join(unjoined.folder.parent / "run")
        Path(place).unlink()
        elsewhere.rename(place)


@pytest.mark.parametrize("rows", [1, 48, 49, 1000, 4801])
def test_a_division_has_whole_batches_and_every_row(rows: int) -> None:
    batches = -(-rows // 48)
    for count in {1, min(3, batches), batches}:
        starts = Division.starts_of(count, rows, 48)
        division = Division(rows, 48, starts, (), ())
        parts = [division.part(number) for number in range(count)]
        ends = [part.start + part.rows for part in parts]
        assert [0, *ends[:-1]] == list(starts)
        assert ends[-1] == rows
        assert all(part.rows > 0 and part.start % 48 == 0 for part in parts)
        assert (
            max(part.rows for part in parts) - min(part.rows for part in parts[:-1] or parts) <= 48
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_command_goes_on(tmp_path: Path, runs: Mapping[str, Run]) -> None:
    folder = PartsFolder.of_run(tmp_path / "run")
    words = command_line(*IRIS, "parts=4", folder=tmp_path)
    for part in range(3):
        process = subprocess.Popen(words, env=ENVIRONMENT, cwd=tmp_path)
        while not (folder.folder / str(part)).exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
        if (tmp_path / "run").exists():  # the process was faster than the signal
            assert not list((tmp_path / "run").iterdir())
    done = subprocess.run(words, env=ENVIRONMENT, cwd=tmp_path, check=True, capture_output=True)
    assert b"11 tables" in done.stdout
    assert_same_run(runs["whole"], runner.open_run(tmp_path / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


DYING = """
import os, signal
from pathlib import Path
import keras

def build():
    keras.utils.set_random_seed(0)
    state = Path(__file__).with_suffix(".state")
    calls = int(state.read_text()) if state.exists() else 0
    state.write_text(str(calls + 1))
    if calls == 1:  # the first worker; the run was planned before
        os.kill(os.getpid(), signal.SIGKILL)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # each worker imports TensorFlow
def test_a_part_whose_worker_died_is_made_by_another(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs the extra 'ray'")
    (tmp_path / "dying.py").write_text(DYING, encoding="utf-8")
    words = ("model=function", "model.function=dying:build", "probe=iris",
             "capture.batch_size=48", "parts=3", "hydra/launcher=ray",
             "+hydra.launcher.ray.init.num_cpus=2",
             "+hydra.launcher.ray.init.include_dashboard=false")  # fmt: skip
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(command_line(*words, folder=tmp_path), env=environment,
                          cwd=tmp_path, check=False, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_record(runner.open_run(tmp_path / "run").stored)
    assert record.probe is not None
    assert record.probe.rows == 150
    assert int((tmp_path / "dying.state").read_text()) >= 5
