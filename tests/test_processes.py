"""Processes that get in each other's way, or are killed at any moment.

``KILLS=200 SEED=1 python -m pytest tests/test_processes.py`` kills more often, at other moments.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.runs.published_run import Run
from runner.sameness.verification import damage

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}


def tried(script: str, *words: str) -> list[int]:
    """Return the figures that a script says, which takes a seed as its last word."""
    found = subprocess.run(
        [sys.executable, HERE / script, *words, os.environ.get("SEED", "0")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return [int(figure) for figure in re.findall(r"\d+", found.stdout)]


def test_of_eight_processes_one_wins_each_time_and_readers_see_it_whole(tmp_path: Path) -> None:
    rounds, runs, looks = tried("processes.py", "race", str(tmp_path / "outputs"), "15")
    assert (rounds, runs) == (15, 15)
    assert looks > 15


@pytest.mark.parametrize("count", [20, pytest.param(120, marks=pytest.mark.slow)])
def test_a_run_whose_process_is_killed_is_complete_or_absent(tmp_path: Path, count: int) -> None:
    count = int(os.environ.get("KILLS", count))
    killed, runs, orphans = tried("processes.py", "kill", str(tmp_path / "outputs"), str(count))
    assert killed == count
    assert runs >= count
    assert orphans > count / 2


@pytest.mark.timeout(600)
def test_a_run_in_parts_whose_process_is_killed_is_complete_or_absent() -> None:
    count = int(os.environ.get("KILLS", "5"))
    killed, failed, _ = tried("killed_parts.py", "disk", str(count))
    assert (killed, failed) == (count, 0)


def killed(words: list[str], folder: Path, wait: float) -> bool:
    """Kill a command so long after it began to write; tell whether it was still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    known = set(folder.glob(".*"))
    while process.poll() is None and set(folder.glob(".*")) <= known:
        time.sleep(0.001)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def complete(folder: Path) -> int:
    """Return how many runs there are, after a look that nothing else can be seen."""
    folders = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    runs = [Run.read(path) for path in folders if any(path.iterdir())]
    assert not [line for run in runs for line in damage(run)]
    return len(runs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_command_that_is_killed_leaves_a_complete_run_or_none(tmp_path: Path) -> None:
    draw, alive = random.Random(0), 0
    out = tmp_path / "out"
    for number in range(4):
        words = ["probe=random", "probe.rows=50000", "format=csv", f"hydra.run.dir=out/{number}"]
        alive += killed(words, out, draw.uniform(0, 1.2))
        complete(out)
    assert alive > 1
    subprocess.run(
        [sys.executable, "-m", "runner", "hydra.run.dir=out/last"],
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert complete(out) > 4 - alive
    assert not list(out.glob(".*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    draw, out = random.Random(1), tmp_path / "sweep"
    words = ["-m", f"seed={','.join(map(str, range(240)))}", "hydra.sweep.dir=sweep"]
    counts = [0]
    while len(counts) <= 3 or not counts[-1]:  # longer and longer: the machine may be busy
        assert killed(words, out, draw.uniform(0, 0.1 * len(counts)))
        counts.append(complete(out))
    assert counts == sorted(counts)
    assert counts[-1] < 240
    subprocess.run(
        [sys.executable, "-m", "runner", *words],
        env=ENVIRONMENT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert complete(out) == 240
    assert not list(out.glob(".*"))
