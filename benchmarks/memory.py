"""Peak memory of a process that shows a stream of samples to a model."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.cases import cases_of
from benchmarks.plain import plain_pass
from runner.probe.memory_sources import as_probe
from runner.record.header import Header
from runner.saving.saving import save
from runner.showing.settings import Settings
from runner.stores.local_draft import LocalDraft

WAYS = ("plain forward", "parquet")


def peak_memory(backend: str, case: str, way: str, rows: int) -> float:
    """Return the largest resident set of a fresh process that goes one way once, in MB."""
    words = [sys.executable, "-m", "benchmarks.memory", backend, case, way, str(rows)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _measure(backend: str, name: str, way: str, rows: int) -> None:
    [case] = [known for known in cases_of(backend) if known.name == name]
    model = case.build()
    block = case.probe(case.batch_size)

    def batches() -> Iterator[np.ndarray]:
        for _ in range(0, rows, len(block)):
            yield block

    if way == "plain forward":
        forward = plain_pass(model, case.shape, backend)
        for batch in batches():
            forward(batch)
    else:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(case.options, way)
            save(model, as_probe(batches), LocalDraft(Path(folder) / "run"), Header("0"), settings)
    # Not getrusage: its peak begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)
    sys.stdout.write(f"{int(kilobytes) / 1024}\n")


if __name__ == "__main__":
    _measure(*sys.argv[1:4], int(sys.argv[4]))
