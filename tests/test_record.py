from __future__ import annotations

import dataclasses
import functools
import json
import operator
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydantic
import pytest
from making import make_run

from runner.errors import InputError
from runner.model.backend import framework
from runner.record.environment import read_environment
from runner.record.header import Header
from runner.record.order import Ending, in_order
from runner.record.reading import parsed_record, read_record, record_schema
from runner.record.record import RunRecord
from runner.stores.local_run import LocalRun

SCHEMA = Path(__file__).parent.parent / "docs" / "run.schema.json"


def record_of(run: Path) -> RunRecord:
    return parsed_record((run / "run.json").read_bytes(), "run.json")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = record_of(make_run(tmp_path / "run", name="mine", overrides=("seed=0",)))
    assert parsed_record(record.to_json(), "again") == record
    [tensor] = record.tensors
    assert (tensor.name, tensor.shape, tensor.file) == (
        "hidden",
        (4,),
        "activations/00_hidden.parquet",
    )


def test_a_record_is_plain_json_with_times_in_utc(tmp_path: Path) -> None:
    plain = json.loads((make_run(tmp_path / "run") / "run.json").read_text("utf-8"))
    assert plain["schema_version"] == 1
    assert plain["ended"].endswith("+00:00")
    [layer] = plain["layers"]
    assert layer["tensors"][0]["bytes"] > 0
    assert len(layer["tensors"][0]["sha256"]) == 64


def test_values_that_json_lacks_are_kept_as_what_they_stand_for(tmp_path: Path) -> None:
    config = {"seed": np.int64(3), "path": Path("자료"), "sizes": (1, 2), "clip": float("inf")}
    record = record_of(make_run(tmp_path / "run", config=config))
    assert record.config == {"seed": 3, "path": "자료", "sizes": [1, 2], "clip": float("inf")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "x/run.json: not a run record: Invalid JSON"),
        (b"\xff", "x/run.json: not a run record: Invalid JSON"),
        (b"[]", "x/run.json: not a run record: Input should be an object"),
        (b"{}", "x/run.json: not a run record: 'run_id': Field required"),
        (b'{"schema_version": 2}', "x/run.json: a run record of another version; .* reads 1"),
    ],
)
def test_what_is_no_record_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parsed_record(text, "x/run.json")


def test_a_wrong_value_is_named_by_its_place(tmp_path: Path) -> None:
    plain = json.loads((make_run(tmp_path / "run") / "run.json").read_text("utf-8"))
    plain["layers"][0]["tensors"][0]["bytes"] = "many"
    with pytest.raises(InputError, match=r"'layers\.0\.tensors\.0\.bytes': Input should be"):
        parsed_record(json.dumps(plain).encode(), "run.json")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("layers", 0, "tensors", 0, "file"), "a path inside the run's folder, with /, found '../"),
        (("layers", 0, "tensors", 0, "sha256"), "64 hexadecimal digits, found '../"),
        (("run_id",), "letters and digits, -<number> in a sweep, found '../"),
    ],
)
def test_what_a_text_should_be_is_said_in_words(
    tmp_path: Path, place: tuple[str | int, ...], said: str
) -> None:
    plain = json.loads((make_run(tmp_path / "run") / "run.json").read_text("utf-8"))
    *above, last = place
    functools.reduce(operator.getitem, above, plain)[last] = f"../{'x' * 1000}"
    with pytest.raises(InputError) as refused:
        parsed_record(json.dumps(plain).encode(), "run.json")
    assert f": expected {said}" in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_long_mapping_is_read_whole_and_checked_to_its_end(tmp_path: Path) -> None:
    record = record_of(make_run(tmp_path / "run"))
    more = {f"callbacks/{number}": record.files["summary.parquet"] for number in range(250)}
    long = dataclasses.replace(record, files={**record.files, **more})
    assert parsed_record(long.to_json(), "run.json").files == long.files
    wrong = dataclasses.replace(
        long, files={**long.files, "../last": record.files["summary.parquet"]}
    )
    with pytest.raises(InputError, match=r"'files\.\.\./last\.\[key\]': expected a path"):
        parsed_record(wrong.to_json(), "run.json")


@pytest.mark.parametrize(
    "text",
    [
        b'{"layers": [' + b"{}," * 100_000 + b"{}]}",
        b'{"steps": [' + b'{"files": {"": 0}},' * 50_000 + b"{}]}",
        b'{"files": {' + b",".join(b'"%x": 0' % i for i in range(100_000)) + b"}}",
        b'{"training": {"history": {"loss": [' + b'"",' * 100_000 + b'""]}}}',
        b'{"environment": {"packages": {'
        + b",".join(b'"%x":0' % i for i in range(100_000))
        + b"}}}",
        b'{"' + b'": 0, "'.join(b"%x" % i for i in range(100_000)) + b'": 0}',
        b'{"layers": [{"calls": [{"derivations": {'
        + b",".join(b'"%x":0' % i for i in range(100_000))
        + b"}}]}]}",
    ],
    ids=["layers", "steps", "files", "history", "packages", "unknown keys", "derivations"],
)
def test_errors_are_not_collected_without_a_bound(text: bytes) -> None:
    with pytest.raises(InputError, match="not a run record") as refused:
        parsed_record(text, "run.json")
    cause = refused.value.__cause__
    assert isinstance(cause, pydantic.ValidationError)
    assert cause.error_count() < 500


@pytest.mark.parametrize("part", [b"{},", b"[],", b'{"":0},', b"1,"])
def test_a_record_of_tiny_parts_is_refused_before_it_is_parsed(
    part: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_MAX_RECORD", "100000")
    run = make_run(tmp_path / "run")
    read_record(LocalRun(run))
    tiny = b'{"config": {"a": [' + part * (90_000 // len(part)) + b"0]}}"
    (run / "run.json").write_bytes(tiny)
    why = r"run\.json: a run record that takes more than 600,000 bytes in memory; set RUNNER_MAX"
    with pytest.raises(InputError, match=why):
        read_record(LocalRun(run))


def test_a_thousand_records_are_read_in_a_second(tmp_path: Path) -> None:
    text = (make_run(tmp_path / "run") / "run.json").read_bytes()
    before = time.process_time()
    for _ in range(1000):
        parsed_record(text, "run.json")
    assert time.process_time() - before < 1


def test_the_commit_is_that_of_the_folder(tmp_path: Path) -> None:
    read_environment.cache_clear()
    assert read_environment(tmp_path).git is None
    git(tmp_path, "init", "--quiet")
    read_environment.cache_clear()
    before = read_environment(tmp_path).git
    assert before is not None
    assert before.commit is None

    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message", "One")
    git(tmp_path, "remote", "add", "origin", "https://me:se@cret@example.org/a/b.git?token=se")
    (tmp_path / "untracked").touch()
    read_environment.cache_clear()
    clean = read_environment(tmp_path).git
    assert clean is not None
    assert dataclasses.asdict(clean) == {
        "commit": git(tmp_path, "rev-parse", "HEAD"),
        "dirty": False,
        "remote": "https://example.org/a/b.git",
    }
    (tmp_path / "a").write_text("2")
    read_environment.cache_clear()
    changed = read_environment(tmp_path).git
    assert changed is not None
    assert changed.dirty


def test_a_duration_does_not_depend_on_the_clock() -> None:
    header = Header("0a1b2c3d", started=datetime(2999, 1, 1, tzinfo=UTC))  # the clock is set back
    first, second = (header.record("parquet", status="FAILED", files={}) for _ in range(2))
    assert 0 <= first.seconds <= second.seconds < 60
    assert first.started <= first.ended <= second.ended <= header.now
    assert sys.platform != "linux" or first.uptime is not None
    assert in_order([Ending.of(second), Ending.of(first)]) == [1, 0]


def test_git_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    read_environment.cache_clear()
    environment = read_environment(tmp_path / "elsewhere")
    assert environment.git is None
    assert {"tensorflow", "keras", "numpy", "pyarrow"} <= environment.packages.keys()
    assert environment.processor
    assert environment.cores in range(1, (os.cpu_count() or 0) + 1)


def test_the_backend_tells_how_it_computes() -> None:
    backend = framework().read_settings()
    assert backend.name == "tensorflow"
    assert backend.deterministic is False
    assert backend.onednn in (True, False)
    assert backend.intra_op_threads >= 0


def test_the_documented_schema_is_that_of_the_record() -> None:
    # pydantic words it differently from version to version: names are compared.
    documented = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert set(documented["properties"]) == set(record_schema()["properties"])
    for name in ("LayerRecord", "TensorRecord", "ProbeRecord"):
        found = record_schema()["$defs"][name]["properties"]
        assert set(documented["$defs"][name]["properties"]) == set(found)
