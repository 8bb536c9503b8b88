"""A long sweep takes no more of the machine at its end than at its beginning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc"),
]
ROOT = Path(__file__).parent.parent


class Taken(NamedTuple):
    """What a process takes: runs published so far, MB of memory, open files, threads."""

    runs: int
    memory: float
    files: int
    threads: int


def taken(process: int, folder: Path) -> Taken | None:
    """Return what a process takes; nothing of one that has just ended."""
    status = Path(f"/proc/{process}/status").read_text()
    figures = dict(re.findall(r"(VmRSS|Threads):\s+(\d+)", status))
    if "VmRSS" not in figures:
        return None
    runs = sum(1 for _ in folder.glob("[0-9]*"))
    files = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return Taken(runs, int(figures["VmRSS"]) / 1024, files, int(figures["Threads"]))


def test_hundreds_of_jobs_in_one_process(tmp_path: Path) -> None:
    words = ["-m", "seed=range(0,16)", "model.hidden_units=range(1,26)", "hydra.sweep.dir=s"]
    samples: list[Taken] = []
    with subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            sample = taken(process.pid, tmp_path / "s")
            samples += [sample] if sample else []
            time.sleep(0.2)
    assert process.returncode == 0
    print(*samples[:: max(1, len(samples) // 40)], sep="\n")
    early = [sample for sample in samples if 100 <= sample.runs < 200]
    late = [sample for sample in samples if sample.runs >= 360]
    for figure, allowed in (("memory", 50), ("files", 3), ("threads", 2)):
        # What only comes and goes is not there all the time.
        before, after = (min(getattr(sample, figure) for sample in at) for at in (early, late))
        assert after <= before + allowed, figure
