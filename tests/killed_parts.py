"""Processes that make a run in parts and are killed at any moment, without TensorFlow.

``python killed_parts.py disk|bucket KILLS SEED`` raises where a promise does not hold, and says
in a line how much was tried. The values of the model's layers come from arrays. The bucket is
that of a server on loopback, behind a proxy that answers late, fails and cuts connections.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from object_servers import Proxy, client_of, keys, moto_server, settings_of

from runner.config.capture_config import CaptureConfig
from runner.converted_models.adopted_tensors import AdoptedTensors
from runner.errors import RunnerError
from runner.experiment.earlier import held
from runner.file_names import LOG, RECORD
from runner.parts.joining import join, joined, missing_parts
from runner.parts.making import save_part
from runner.parts.part_records import Plan
from runner.parts.parts_folder import PartsFolder
from runner.parts.planning import division_of
from runner.probe.memory_sources import as_probe
from runner.record.header import Header
from runner.record.publication import Publication
from runner.record.reading import read_record
from runner.showing.settings import Settings
from runner.showing.showing import Showing
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.leftovers import leftovers_at
from runner.stores.places import draft_at, holds_run, run_at, store_at
from runner.stores.store import StoredRun

HERE = Path(__file__).parent
PARTS = 3
ROWS = 150
LOADED_LATE = ("runner.saving.saving", "runner.converted_models.converted_library")
FAILED = 3  # exit code
FAULTS = {"500": 0.02, "cut": 0.04, "late": 0.08}  # up to which number drawn from 0 to 1
LOST = 0.02
HEADER = Header("0a1b2c3d", fingerprint="0" * 64)
SETTINGS = Settings(CaptureConfig(batch_size=48))
PROBE = as_probe(np.arange(ROWS), source="rows")
VALUES = {
    name: np.random.default_rng(units).normal(size=(ROWS, units)).astype(np.float32)
    for name, units in (("hidden", 20), ("output", 3))
}
WIDE = VALUES | {"hidden": np.random.default_rng(0).random((ROWS, 64, 64, 11), np.float32)}
"""Values of which a part is a file of 9 MB, which is uploaded in two pieces."""


def make(target: RunPlace, values: Mapping[str, np.ndarray] = VALUES) -> None:
    """Make a run in parts as a command does: go on with what an earlier one has left."""
    model = AdoptedTensors(values, ROWS)
    folder = PartsFolder.of_run(target)
    with Publication(draft_at(target, "target", in_parts=True)) as publication:
        found = folder.plan()
        plan = planned(folder, model) if found is None else found[1]
        with held(folder.folder, "command", "hydra.run.dir"):
            folder.clear()
            for number in missing_parts(plan, folder.parts(plan)):
                settings = Settings(SETTINGS.capture, part=plan.division.part(number))
                save_part(folder.draft(number), model, PROBE, settings, HEADER)
            joined(publication, folder)


def planned(folder: PartsFolder, model: AdoptedTensors) -> Plan:
    """Publish the plan of the run."""
    division = division_of(Showing(model, PROBE, SETTINGS), PARTS)
    with Publication(folder.draft()) as publication:
        publication.write(LOG, b"planned\n")
        plan = Plan(
            run_id=HEADER.run_id,
            fingerprint=str(HEADER.fingerprint),
            started=HEADER.started,
            division=division,
            training=None,
            weights=None,
            files=dict(publication.files),
        )
        publication.publish(plan.to_json())
    return plan


def is_wide(target: RunPlace) -> bool:
    """Return whether the layers of a run are wide: in a bucket, those of every second one."""
    return isinstance(target, StoreUrl) and int(target.name) % 2 == 1


def _work(target: RunPlace, environment: Mapping[str, str], begun: Connection) -> None:
    os.environ.update(environment)
    begun.send_bytes(b".")
    try:
        make(target, WIDE if is_wide(target) else VALUES)
    except RunnerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(FAILED)


def worked(
    target: RunPlace, environment: Mapping[str, str], wait: float | None = None
) -> tuple[int, float]:
    """Make a run in a process that is killed after some seconds; return its exit code and time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *LOADED_LATE])
    begun, begins = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(target, environment, begins))
    process.start()
    begins.close()
    begun.recv_bytes()
    start = time.monotonic()
    process.join(wait)
    seconds = time.monotonic() - start
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, seconds


def values_of(run: StoredRun) -> dict[str, str]:
    """Return the hashes of a complete run that do not depend on when it was made."""
    record = read_record(run)
    assert not list(run.damages(record.digests))
    assert record.probe is not None
    assert record.probe.rows == ROWS
    found = {name: digest.sha256 for name, digest in record.digests.items() if name != LOG}
    return found | {"probe": record.probe.sha256, "ids": record.probe.sample_ids_sha256}


def kill(place: RunPlace, count: int, seed: int, environment: Mapping[str, str]) -> str:
    """Kill processes that make one run after another, each where the one before was killed."""
    draw = random.Random(seed)
    longest, expected = {}, {}
    runs, killed, failed, uploads = 0, 0, 0, 0
    while runs < 2:
        target = place / str(runs)
        code, seconds = worked(target, environment)
        clear(place)
        if code == 0:
            longest[is_wide(target)] = seconds
            expected[is_wide(target)] = values_of(run_at(target))
            runs += 1
    while killed < count:
        target = place / str(runs)
        code, _ = worked(target, environment, draw.uniform(0, longest[is_wide(target)]))
        assert code in (0, FAILED, -signal.SIGKILL), code
        killed += code == -signal.SIGKILL
        failed += code == FAILED
        seen = [*store_at(place).runs()] if holds_run(place / "0") else []
        names = {run.place().rpartition("/")[2] for run in seen if isinstance(run, StoredRun)}
        is_there = holds_run(target)
        assert names == {str(number) for number in range(runs + is_there)}, seen
        if is_there:
            if PartsFolder.of_run(target).plan() is not None:
                join(target)
            assert values_of(run_at(target)) == expected[is_wide(target)]
            runs += 1
        uploads += clear(place)
    while not holds_run(place / str(runs)):
        worked(place / str(runs), environment)
        clear(place)
    target = place / str(runs)
    assert values_of(run_at(target)) == expected[is_wide(target)]
    said = f"{killed} killed, {failed} failed, {runs + 1} runs"
    return f"{said}, {uploads} with unfinished uploads" if isinstance(place, StoreUrl) else said


def clear(place: RunPlace) -> bool:
    """Remove what a killed process has left in a bucket; on a disk, the next one does so.

    Returns whether there were unfinished uploads.
    """
    found = [*leftovers_at(place)] if isinstance(place, StoreUrl) else []
    for leftover in found:
        leftover.remove()
    return any("upload" in leftover.what for leftover in found)


@contextlib.contextmanager
def bucket(folder: Path, seed: int) -> Iterator[tuple[Mapping[str, str], list[str]]]:
    """Run a server with a bucket.

    Yields the environment that reaches it through a bad proxy, and what that did to requests.
    """
    draw = random.Random(seed)
    faults: list[str] = []

    def verdict(*_: str) -> str:
        drawn = draw.random()
        found = next((name for name, up_to in FAULTS.items() if drawn < up_to), "")
        if found:
            faults.append(found)
        if found == "late":
            time.sleep(0.05)
        return found.removeprefix("late")

    def loses_answer(*_: str) -> bool:
        if is_lost := draw.random() < LOST:
            faults.append("lost")
        return is_lost

    with moto_server() as port:
        proxy = Proxy(port)
        proxy.verdict = verdict
        proxy.loses_answer = loses_answer
        os.environ.update(settings_of(port, folder))
        s3 = client_of(port)
        s3.create_bucket(Bucket="bucket")
        try:
            yield settings_of(proxy.port, folder), faults
        finally:
            proxy.close()
        assert not s3.list_multipart_uploads(Bucket="bucket").get("Uploads")
        names = keys(s3)
        for target in {name.partition("/.parts/")[0] for name in names if name.endswith(RECORD)}:
            url = StoreUrl("s3", "bucket", target.removesuffix(f"/{RECORD}"))
            own = {f"{url.key}/{name}" for name in (*read_record(run_at(url)).digests, RECORD)}
            assert own == {name for name in names if name.startswith(f"{url.key}/")}


def main(way: str, count: int, seed: int) -> str:
    """Kill processes that write to a disk or to a bucket, and say how much was tried."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])  # of the fork server
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        if way == "disk":
            said = kill(folder, count, seed, {})
            left = list(folder.glob(".*"))
            assert not left, [[path, *path.rglob("*")] for path in left]
            return said
        with bucket(folder, seed) as (environment, faults):
            said = kill(StoreUrl("s3", "bucket", "runs"), count, seed, environment)
            return f"{said}, {len(faults)} requests with a fault"


if __name__ == "__main__":
    from killed_parts import main as imported  # by its name, which other processes import, too

    which, kills, draws = sys.argv[1:]
    print(imported(which, int(kills), int(draws)))
