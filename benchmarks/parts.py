"""A run made in parts beside the same run made whole, and the joining of ten thousand parts.

``python -m benchmarks.parts`` measures both, each in processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.config.compose import asked_for
from runner.config.jobs import Job, Task
from runner.parts.joining import join
from runner.parts.making import make_parts
from runner.parts.part_records import PartRecord, Plan, read_part
from runner.parts.parts_folder import PartsFolder
from runner.parts.planning import planned
from runner.probe.batch import Batch
from runner.probe.probe_hash import BlockHashes, ProbeHasher
from runner.record.record import RunRecord
from runner.stores.digests import FileDigest

EXPERIMENT = ("experiment=digits_cnn", "probe=random", "capture.batch_size=48")
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)
_PART_ROWS = 48
_ROOT = Path(__file__).parent.parent


def peak_of(pid: int | str) -> int:
    """Return the largest resident set that a process has had, in kB; 0 if it has ended."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        for line in status.splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


def descendants(pid: int) -> Iterator[int]:
    """Yield a process, and all that it has started."""
    yield pid
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                yield from descendants(int(child))


def made(parts: int, at_once: int, rows: int) -> tuple[float, list[float]]:
    """Return the seconds that a run takes, and the peak memory of its processes in MB."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable, "-m", "runner", *EXPERIMENT, f"probe.rows={rows}", f"parts={parts}",
            f"hydra.run.dir={folder}/run",
        ]  # fmt: skip
        if parts > 1:
            words += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={at_once}"]
        peaks: dict[int, int] = {}
        start = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=_ROOT, env={**os.environ, **ONE_THREAD}, stdout=subprocess.DEVNULL
        )
        while process.poll() is None:
            for pid in descendants(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        assert process.returncode == 0
    loaded = 200_000  # kB: those that only start others hold less
    return seconds, sorted((peak / 1024 for peak in peaks.values() if peak > loaded), reverse=True)


def simulate(target: Path, parts: int) -> None:
    """Write the parts of a run: one is made, and the others hold the same values."""
    asked = asked_for([*EXPERIMENT, f"probe.rows={2 * _PART_ROWS}", "parts=2"], "0a1b2c3d")
    composition = asked.composition()
    made_in = PartsFolder(target.with_name("made"))
    plan = planned(composition, made_in, "0a1b2c3d")
    job = Job(0, made_in.folder / "0", (), composition, {})
    for _, error in make_parts(Task("0a1b2c3d", "0a1b2c3d", 1, iter([job]), in_parts=True)):
        assert error is None, error
    first = read_part(made_in.parts(plan)[0])
    folder = PartsFolder.of_run(target).folder
    rows = parts * _PART_ROWS
    starts = tuple(range(0, rows, _PART_ROWS))
    whole = replace(plan, division=replace(plan.division, rows=rows, starts=starts))
    _write_plan(made_in.folder / "plan", folder / "plan", whole)
    for number, start in enumerate(starts):
        own = folder / str(number)
        own.mkdir()
        record = _with_tables(first.record, made_in.folder / "0", own, number)
        ids = np.arange(start, min(start + 2 * 4096, rows))
        part = replace(
            first,
            part=number,
            start=start,
            record=record,
            hashes=_hashes(ids, start, first),
            statistics=tuple(
                each for each in first.statistics if each.kind != "weight" or not number
            ),
        )
        (own / "run.json").write_bytes(part.to_json())


def _write_plan(source: Path, target: Path, plan: Plan) -> None:
    for name in plan.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).hardlink_to(source / name)
    (target / "run.json").write_bytes(plan.to_json())


def _with_tables(record: RunRecord, source: Path, own: Path, number: int) -> RunRecord:
    """Link the tables of the part that was made, and write a table of the probe with other ids."""
    names = {
        tensor.file: tensor.file.replace("part-00000", f"part-{number:05d}")
        for tensor in record.tensors
        if tensor.per_sample or number == 0
    }
    for name, new in names.items():
        (own / new).parent.mkdir(parents=True, exist_ok=True)
        if not (own / new).exists():
            (own / new).hardlink_to(source / name)
    table = pq.read_table(source / "probe.parquet")
    ids = pa.array(np.arange(_PART_ROWS) + number * _PART_ROWS)
    samples = table.set_column(0, table.schema.field("sample"), ids)
    pq.write_table(samples, own / "probe.parquet", compression="none", use_dictionary=False)
    with (own / "probe.parquet").open("rb") as file:
        digest = FileDigest.of(file)
    layers = tuple(
        replace(
            layer,
            tensors=tuple(
                replace(each, file=names[each.file])
                for each in layer.tensors
                if each.file in names  # the weights are in the first part alone
            ),
        )
        for layer in record.layers
    )
    return replace(record, layers=layers, files={**record.files, "probe.parquet": digest})


def _hashes(ids: np.ndarray, start: int, first: PartRecord) -> BlockHashes:
    """Return the hashes of the blocks of samples that begin in a part; the values are zero."""
    assert first.record.probe is not None
    [given] = first.record.probe.inputs
    hasher = ProbeHasher(row=start)

    def add(some: np.ndarray) -> None:
        hasher.update(Batch(some, {given.name: np.zeros((len(some), *given.shape), given.dtype)}))

    add(ids[:_PART_ROWS])
    add(ids[_PART_ROWS : _PART_ROWS + hasher.missing])
    return hasher.block_hashes


def joined(parts: int) -> None:
    """Print the seconds that joining takes, and the largest memory of a process that only joins."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder).resolve() / "run"
        words = [sys.executable, "-m", "benchmarks.parts", "--simulate", str(parts), str(target)]
        subprocess.run(words, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
        before, start = peak_of("self"), time.perf_counter()
        join(target)
        seconds = time.perf_counter() - start
        record = (target / "run.json").stat().st_size / 1e6
        sys.stdout.write(
            f"{parts:,} parts joined in {seconds:.2f} s, {1e3 * seconds / parts:.2f} ms each; "
            f"{peak_of('self') / 1024:.0f} MB, {before / 1024:.0f} MB before; "
            f"run.json {record:.1f} MB\n"
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=96_000, help="samples of the run")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--join", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--simulate", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.simulate:
        simulate(Path(arguments.simulate[1]), int(arguments.simulate[0]))
        return
    for parts in (1, 2, 4) * arguments.turns:
        seconds, peaks = made(parts, parts, arguments.rows)
        told = ", ".join(f"{peak:.0f}" for peak in peaks)
        sys.stdout.write(f"{parts} at once: {seconds:.1f} s; memory of each process: {told} MB\n")
        sys.stdout.flush()
    for parts in arguments.join:
        joined(parts)


if __name__ == "__main__":
    main()
