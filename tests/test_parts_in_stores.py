"""A run in parts in an object store is the run made whole; until it is joined, it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import killed_parts
import numpy as np
import pytest
from command import in_process
from object_servers import Proxy, azure_store, keys
from parted_runs import IRIS, assert_same_run
from test_processes import tried

import runner
from runner.errors import InputError
from runner.parts import parted_run
from runner.runs.published_run import Run
from runner.sameness.verification import damage
from runner.store_urls import StoreUrl
from runner.stores import bucket as buckets
from runner.stores.object_run import CLAIM

ROOT = Path(__file__).parent.parent
RUN = "s3://bucket/runs/parted"
PARTED = (*IRIS, "parts=3", f"hydra.run.dir={RUN}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    in_process(*IRIS, "hydra.run.dir=whole", folder=folder)
    return runner.open_run(folder / "whole")


def test_a_run_in_parts_in_a_bucket_is_the_run_made_whole(
    s3: Any, whole: Run, tmp_path: Path
) -> None:
    said = in_process(*PARTED).stdout
    assert f"saved  {RUN}" in said
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]
    parted = runner.open_run(RUN)
    assert_same_run(whole, parted)
    assert {f"runs/parted/{name}" for name in (*parted.record.digests, "run.json")} == set(keys(s3))
    assert [part.file for part in parted.tensor("hidden").parts] == [
        f".parts/{number}/activations/01_hidden/part-0000{number}.parquet" for number in range(3)
    ]
    assert runner.open_runs("s3://bucket").sql("select count(*) from hidden").iloc[0, 0] == 150
    assert "none wrong" in in_process("verify", RUN).stdout
    assert "config.parts: 3 | 1" in in_process("rerun", RUN).stdout
    assert f"{RUN}: the run is there, and has no parts" in in_process("join", RUN, code=2).stderr
    refused = in_process(*PARTED, code=2).stderr
    assert refused.startswith(f"error: {RUN}: the output folder exists and is not empty")


def test_parts_in_a_bucket_are_joined_after_a_crash(
    s3: Any, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parted_run, "joined", end)
        assert "to continue: python -m runner" in in_process(*PARTED, code=130).stdout
    with pytest.raises(InputError, match="no folder of a run"):
        runner.open_runs("s3://bucket")
    made = {
        each["Key"]: each["LastModified"]
        for each in s3.list_objects_v2(Bucket="bucket")["Contents"]
    }
    assert not [key for key in made if CLAIM in key]
    plan = "runs/parted/.parts/plan/run.json"
    body = s3.get_object(Bucket="bucket", Key=plan)["Body"].read()
    gone = [key for key in made if "/.parts/2/" in key]
    for key in gone:
        s3.delete_object(Bucket="bucket", Key=key)
    assert "missing of 3 parts: 2" in in_process("join", RUN, code=2).stderr
    # A worker was killed while it made the last part, and the command, too.
    s3.put_object(Bucket="bucket", Key=f"runs/parted/.parts/2/{CLAIM}", Body=b"{}")
    s3.put_object(Bucket="bucket", Key=f"runs/parted/{CLAIM}", Body=b"{}")
    assert f"type: runner clean {RUN}" in in_process(*PARTED, code=2).stderr
    assert "removed 2" in in_process("clean", "s3://bucket", "--yes").stdout
    s3.put_object(Bucket="bucket", Key=f"runs/parted/.parts/2/{CLAIM}", Body=b"{}")
    in_process(*PARTED)
    assert_same_run(whole, runner.open_run(RUN))
    kept = {
        each["Key"]: each["LastModified"]
        for each in s3.list_objects_v2(Bucket="bucket")["Contents"]
    }
    tables = [key for key in kept if "/.parts/0/" in key or "/.parts/1/" in key]
    assert tables
    assert all(kept[key] == made[key] for key in tables)
    s3.put_object(Bucket="bucket", Key=plan, Body=body)  # as if the join had ended before
    assert f"saved  {RUN}" in in_process("join", RUN).stdout
    assert plan not in keys(s3)
    words = "clean", f"{RUN}/.parts", "--yes"
    assert "nothing is left" in in_process(*words).stdout
    assert not list(damage(runner.open_run(RUN)))
    s3.delete_object(Bucket="bucket", Key="runs/parted/run.json")
    s3.put_object(Bucket="bucket", Key="runs/parted/.parts/1/run.json", Body=b"{}")
    assert f"{RUN}/.parts: 1 complete part of a run\n" in in_process(*words).stdout
    assert not [key for key in keys(s3) if "/.parts/" in key]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_command_goes_on_in_a_bucket(s3: Any, whole: Run, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "runner", *PARTED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    for part in range(2):
        process = subprocess.Popen(words, env=environment, cwd=tmp_path)
        while not [key for key in keys(s3) if f"/.parts/{part}/" in key]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert "runs/parted/run.json" not in keys(s3)
        in_process("clean", RUN, "--yes")
    done = subprocess.run(words, env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert b"11 tables" in done.stdout
    assert_same_run(whole, runner.open_run(RUN))


@pytest.mark.timeout(600)
def test_kills_and_a_bad_network_leave_complete_runs_or_none() -> None:
    pytest.importorskip("obstore")
    pytest.importorskip("moto")
    count = int(os.environ.get("KILLS", "4"))
    killed, _, _, _, faults = tried("killed_parts.py", "bucket", str(count))
    assert killed == count
    assert faults > 0


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("times", [1, 2, 10**9])
def test_parts_that_a_store_lists_late_are_joined(proxy: Proxy, times: int) -> None:
    seen: Counter[str] = Counter()

    def unlisted(key: str) -> bool:
        seen[key] += 1
        return seen[key] <= times

    url = StoreUrl("s3", "bucket", "runs/late")
    proxy.unlisted = unlisted
    killed_parts.make(url)
    assert len(seen) >= 20
    proxy.unlisted = None
    run = runner.open_run(str(url))
    assert not list(damage(run))
    for name, values in killed_parts.VALUES.items():
        np.testing.assert_array_equal(run.array(name), values)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_make_parts_in_a_bucket(s3: Any, whole: Run, tmp_path: Path) -> None:
    said = in_process(*PARTED, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2").stdout
    assert f"saved  {RUN}" in said
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]
    assert not [key for key in keys(s3) if key.endswith((CLAIM, "multirun.yaml"))]
    assert_same_run(whole, runner.open_run(RUN))


@pytest.mark.skipif(shutil.which("azurite-blob") is None, reason="Azurite is not installed")
def test_a_run_is_made_in_parts_in_a_store_of_azure(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / ".cache"))
    with azure_store() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        buckets.bucket_of.cache_clear()
        in_process(*IRIS, "parts=3", "hydra.run.dir=az://bucket/parted")
        assert_same_run(whole, runner.open_run("az://bucket/parted"))
    buckets.bucket_of.cache_clear()
