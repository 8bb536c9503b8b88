"""Whether runs are the same: to the bit, within a tolerance, made again, undamaged."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import in_process
from making import STORED, make_run

import runner
from runner.command_line.commands import main
from runner.errors import InputError
from runner.probe.probe_hash import BLOCK
from runner.record.environment import Environment
from runner.runs.published_run import Run
from runner.sameness import verification
from runner.sameness.difference import diff
from runner.sameness.verification import Verified, damage, verified
from runner.screen.diff import told
from runner.stores.local_run import LocalRun

ROOT = Path(__file__).parent.parent
X = np.array([[1.0, -2.0], [3.0, np.nan], [0.0, 1e-3]], np.float32)
W = np.arange(6, dtype=np.float32).reshape(3, 2)


def pair(
    folder: Path, a: dict[str, np.ndarray], b: dict[str, np.ndarray], **more: str
) -> list[Run]:
    return [
        Run.read(make_run(folder / "a", a, run_id="aa", **more)),
        Run.read(make_run(folder / "b", b, run_id="bb", **more)),
    ]


@pytest.mark.parametrize("format", STORED)
def test_the_same_bits_are_the_same_nan_included(tmp_path: Path, format: str) -> None:
    found = diff(*pair(tmp_path, {"h": X, "h/w": W}, {"h": X, "h/w": W}, format=format))
    assert found.same
    assert found.first is None
    assert found.frame["bitwise"].tolist() == [True, True]
    runner.assert_same(found.a, found.b, exact=True)


@pytest.mark.parametrize("format", STORED)
def test_a_difference_is_measured_where_it_is_worst(tmp_path: Path, format: str) -> None:
    other = X.copy()
    other[1, 0] = np.nextafter(np.nextafter(X[1, 0], np.float32(9)), np.float32(9))
    found = diff(*pair(tmp_path, {"h": X}, {"h": other}, format=format))
    [tensor] = found.tensors
    assert (tensor.bitwise, tensor.within, tensor.ulp) == (False, True, 2)
    assert tensor.max_abs == float(other[1, 0]) - 3
    assert tensor.max_relative == tensor.max_abs / 3
    assert tensor.differing == pytest.approx(1 / 6)
    assert (tensor.sample, tensor.unit, tensor.values) == (1, "u0", (X[1, 0], other[1, 0]))
    assert found.same
    assert not diff(found.a, found.b, exact=True).same
    assert not diff(found.a, found.b, rtol=0, atol=0).same
    with pytest.raises(AssertionError, match=r"aa and bb differ in h: max difference 4.77e-07"):
        runner.assert_same(found.a, found.b, exact=True)


@pytest.mark.parametrize(
    ("x", "y", "ulp", "bitwise"),
    [
        (0.0, -0.0, 0, False),
        (1e-45, -1e-45, 2, False),
        (np.inf, np.finfo(np.float32).max, 1, False),
        (np.nan, 1.0, None, False),
    ],
)
def test_ulps(tmp_path: Path, x: float, y: float, ulp: int | None, bitwise: bool) -> None:
    one, other = (np.full((3, 1), value, np.float32) for value in (x, y))
    [tensor] = diff(*pair(tmp_path, {"h": one}, {"h": other})).tensors
    assert (tensor.ulp, tensor.bitwise) == (ulp, bitwise)
    assert tensor.within == (x == y)  # the scale of a layer of tiny values is tiny too


@pytest.mark.parametrize("format", STORED)
def test_the_size_of_the_pieces_changes_no_figure(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((9, 4, 5)).astype(np.float32)
    y = x.copy()
    x[2, 1, 3] = y[2, 1, 3] = np.nan
    y[4] *= np.float32(1.5)
    y[7, 3, 4] += 40
    w = draw.standard_normal((3, 2, 3))
    samples = [f"s{number}" for number in range(9)]
    given = {"samples": samples, "inputs": np.zeros((9, 1), np.float32), "format": format}
    runs = pair(tmp_path, {"h": x, "h/w": w}, {"h": y, "h/w": w + 1e-13}, **given)  # type: ignore[arg-type]
    whole = diff(*runs).frame
    assert whole[["sample", "unit", "differing"]].iloc[0].tolist() == ["s7", "u3_4", 1 - 159 / 180]
    assert whole["max_abs"][0] == np.abs(np.float64(y[7, 3, 4]) - np.float64(x[7, 3, 4]))
    assert whole["within"].tolist() == [False, True]
    for piece, block in ((1, 1), (7, 100), (33, 10_000)):
        monkeypatch.setattr("runner.sameness.distance._PIECE", piece)
        monkeypatch.setattr("runner.tables.reading._BLOCK_BYTES", block)
        pd.testing.assert_frame_equal(diff(*runs).frame, whole, check_exact=True)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_tolerance_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    folder = make_run(tmp_path / "run")
    with pytest.raises(InputError, match=f"atol: expected a finite number .*, found {value}"):
        diff(folder, folder, atol=value)


def test_the_counts_of_tensors_add_up(tmp_path: Path) -> None:
    a = {"h": X, "i": X, "j": X, "h/w": W, "i/w": W}
    rounded = np.nextafter(X, np.float32(9))
    said = told(diff(*pair(tmp_path, a, {**a, "i": rounded, "j": X + 1, "i/w": W + 1})))
    assert (
        "1 of 3 layers bitwise equal, 1 within the tolerance, 1 different\n"
        "1 of 2 weights bitwise equal, 1 different\n"
        "FAIL: 2 of 5 tensors are not equal within the tolerance: j and 1 more\n"
    ) in said


def test_the_first_layer_that_diverges_is_named(tmp_path: Path) -> None:
    a = {"h": X, "i": X, "j": X}
    found = diff(*pair(tmp_path, a, {**a, "i": X + 1, "j": X + 1}))
    assert found.first is not None
    assert found.first.tensor == "i"


def test_other_shapes_and_missing_tensors_are_said(tmp_path: Path) -> None:
    found = diff(*pair(tmp_path, {"h": X, "i": X}, {"h": X[:, :1], "k": X}))
    assert {t.tensor: t.why for t in found.tensors} == {
        "h": "shape [2] and [1]", "i": "run bb has none", "k": "run aa has none",
    }  # fmt: skip
    assert not found.same


def test_renamed_layers_pair_by_order(tmp_path: Path) -> None:
    runs = pair(tmp_path, {"h": X, "i": X + 1}, {"p": X, "q": X + 1})
    assert not diff(*runs, align="name").same
    assert diff(*runs, align="order").same
    assert diff(*runs).same
    said = "^align: expected one of name, order, match, found 'oder'; did you mean 'order'\\?$"
    with pytest.raises(InputError, match=said):
        diff(*runs, align="oder")


def test_other_precisions_are_compared_by_their_values(tmp_path: Path) -> None:
    runs = pair(tmp_path, {"h": X}, {"h": X.astype(np.float16)})
    [tensor] = diff(*runs).tensors
    assert (tensor.within, tensor.ulp) == (True, None)


def test_other_probes_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.eye(3, dtype=np.float32)
    y = x.copy()
    y[2, 1] = 5
    a, b, c, d = (
        runner.save_run(model, inputs, tmp_path / name, sample_ids=ids)
        for name, inputs, ids in (
            ("a", x, "pqr"), ("b", y, "pqr"), ("c", x, "prq"), ("d", x[:2], "pq"),
        )
    )  # fmt: skip
    line = r"probe: the runs were shown different inputs: \w{12} and \w{12}; first at sample r"
    with pytest.raises(InputError, match=line):
        diff(a, b)
    with pytest.raises(InputError, match=r"different sample ids: .*; row 1 is sample q and r"):
        diff(a, c)
    with pytest.raises(InputError, match=r"different inputs: .*; 3 and 2 samples"):
        diff(a, d)


def hashed_apart(folder: Path, change: float = 0, **known: Any) -> tuple[Run, Run]:
    """Runs of two blocks of samples, of which an earlier version made the first."""
    inputs = np.random.default_rng(0).normal(size=(BLOCK + 1, 1)).astype("float32")
    outputs = {"hidden": inputs * 2}
    known = {"samples": range(len(inputs)), **known}
    if isinstance(known.get("inputs"), float):
        inputs[7] = known.pop("inputs")
    old = make_run(folder / "old", outputs, inputs=inputs, hash_block=None, **known)
    new = make_run(folder / "new", outputs, inputs=inputs + change, **known)
    return Run.read(old), Run.read(new)


def test_a_probe_that_an_earlier_version_hashed_is_the_same(tmp_path: Path) -> None:
    old, new = hashed_apart(tmp_path, run_id=None)
    assert old.probe_record.sha256 != new.probe_record.sha256
    assert old.probe_record.sample_ids_sha256 != new.probe_record.sample_ids_sha256
    for run in (old, new):
        assert not list(damage(run))
        assert len(run.samples) == len(run.table("hidden")) == len(run.probe) == BLOCK + 1
        assert sum(map(len, run.blocks("hidden"))) == BLOCK + 1
    assert diff(old, new).same
    assert diff(new, old).same


def test_another_probe_than_an_earlier_version_hashed_is_another(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"different inputs: \w{12} and \w{12}; first at sample 0"):
        diff(*hashed_apart(tmp_path / "inputs", change=1))
    names = [f"s{place}" for place in range(BLOCK + 1)]
    old, _ = hashed_apart(tmp_path / "a", samples=names)
    _, new = hashed_apart(tmp_path / "b", samples=names[::-1])
    with pytest.raises(InputError, match=r"different sample ids: .*; row 0 is sample s0 and s4096"):
        diff(old, new)


def test_that_nothing_tells_whether_a_probe_is_another_is_said(tmp_path: Path) -> None:
    old, new = hashed_apart(tmp_path, inputs=float("nan"), format="csv")
    with pytest.warns(UserWarning, match="the same inputs is not known: an earlier version hashed"):
        assert diff(old, new).same


def test_what_the_records_say_differently_is_listed(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", {"h": X}, run_id="aa", config={"seed": 1, "model": {"units": 3}})
    b = make_run(tmp_path / "b", {"h": X}, run_id="bb", config={"seed": 1, "model": {"units": 4}})
    assert diff(a, b).facts == (("config.model.units", 3, 4),)


def test_a_fact_of_the_environment_is_compared(tmp_path: Path) -> None:
    environment = Environment("3.11.0", "Linux", {}, None, "one", cores=4)
    a = make_run(tmp_path / "a", {"h": X}, run_id="aa", environment=environment)
    other = replace(environment, processor="another", cores=2)
    b = make_run(tmp_path / "b", {"h": X}, run_id="bb", environment=other)
    processor, cores = "environment.processor", "environment.cores"
    assert {*diff(a, b).facts} == {(processor, "one", "another"), (cores, 4, 2)}


@pytest.mark.parametrize("format", STORED)
def test_a_flipped_bit_is_found_anywhere(tmp_path: Path, format: str) -> None:
    folder = make_run(tmp_path / "run", {"h": X, "h/w": W}, format=format)
    assert list(damage(Run.read(folder))) == []
    draw = random.Random(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for _ in range(20):
            place, bit = draw.randrange(len(data)), draw.randrange(8)
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            name = path.relative_to(folder).as_posix()
            if name == "run.json":
                with pytest.raises(InputError, match=r"run\.json"):
                    Run.read(folder)
            else:
                [line] = damage(Run.read(folder))
                assert line.startswith(f"{name}: damaged: expected {len(data):,} bytes")
        path.write_bytes(data)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {"h": X})
    (folder / "activations/00_h.parquet").unlink()
    (folder / "notes.txt").touch()
    (folder / "report.html").touch()
    assert list(damage(Run.read(folder))) == [
        "activations/00_h.parquet: is missing",
        "notes.txt: is not a file of the run",
    ]


def test_many_runs_are_verified_by_several_processes_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [make_run(tmp_path / name, run_id=name * 2) for name in "abcd"]
    (folders[1] / "probe.parquet").write_bytes(b"")
    (folders[2] / "run.json").write_bytes(b"{}")
    runs = [LocalRun(folder) for folder in folders]
    alone = list(verified(runs))
    assert [run for run, _ in alone] == runs
    one, other, damaged, last = (found for _, found in alone)
    assert isinstance(one, Verified)
    assert isinstance(other, Verified)
    assert isinstance(last, Verified)
    assert (one.run, one.wrong, last.run) == ("aa", (), "dd")
    assert [line.split(":")[0] for line in other.wrong] == ["probe.parquet"]
    assert "not a run record" in str(damaged)
    monkeypatch.setattr(verification, "_RUNS_A_PROCESS", 1)
    monkeypatch.setattr(verification, "_RUNS_A_TASK", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    together = list(verified(runs))
    assert [(path, str(found)) for path, found in together] == [
        (path, str(found)) for path, found in alone
    ]


def command_line(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.mark.slow
def test_the_commands(tmp_path: Path) -> None:
    kernels = {"TF_ENABLE_ONEDNN_OPTS": "1"}  # the default depends on the processor
    done = command_line("name=base", "experiment=digits_mlp", folder=tmp_path, **kernels)
    assert done.returncode == 0, done.stdout + done.stderr
    done = command_line("rerun", "base", "--exact", "--output", "again", folder=tmp_path, **kernels)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        "3 of 3 layers bitwise equal\n6 of 6 weights bitwise equal\n"
        "PASS: every tensor is equal bit for bit\n"
    )
    record = json.loads((tmp_path / "again/run.json").read_text(encoding="utf-8"))
    assert (record["name"], record["config"]["name"], record["overrides"]) == (
        None, None, ["experiment=digits_mlp"],
    )  # fmt: skip
    done = in_process("verify", "again", folder=tmp_path)
    assert done.stdout.endswith("files, none wrong\n")
    in_process("diff", "base", "again", "--exact", folder=tmp_path)
    # another way of rounding: oneDNN's kernels off
    done = command_line("rerun", "base", "--exact", folder=tmp_path, TF_ENABLE_ONEDNN_OPTS="0")
    assert "backend.onednn: True | False" in done.stdout
    assert done.returncode in (0, 1)
    table = next((tmp_path / "again/activations").iterdir())
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    done = in_process("verify", "again", folder=tmp_path, code=1)
    assert done.stderr.startswith(f"error: activations/{table.name}: damaged: expected")
    assert "1 wrong" in done.stdout


def test_a_run_saved_from_python_cannot_be_made_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {"h": X}, config={"seed": 3})
    done = command_line("rerun", str(folder), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: run 0a1b2c3d: was saved from Python: its record does not say how to build the "
        "model; give the model, in Python: run.rerun(model=...)\n"
    )


def test_a_repetition_that_fails_keeps_the_log_that_it_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("nets.py").write_text(
        "import pathlib, keras\n"
        "def build():\n"
        "    if pathlib.Path('gone').exists():\n"
        "        raise OSError('no licence')\n"
        "    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])\n",
        encoding="utf-8",
    )
    runner.run("model=function", "model.function=nets:build", "name=base")
    Path("gone").touch()
    assert main(["rerun", "base", "--trust-code"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    found = re.fullmatch(r"error: OSError: no licence; see (.+)", line)
    assert found is not None, line
    log = Path(found[1])
    assert "nets.py" in log.read_text(encoding="utf-8")
    shutil.rmtree(log.parent.parent)
