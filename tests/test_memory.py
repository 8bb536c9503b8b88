"""What saving, reading and comparing take of memory, and what is said where there is too little."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import make_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]
ROOT = Path(__file__).parent.parent
MB = 1 << 20

# Tells at the end the most memory that the process ever had. With `room`, it may have only so
# many bytes more than its imports take.
SCRIPT = """
import re, resource, sys
from pathlib import Path
from runner.command_line.commands import main
import runner.runs.locate, runner.sameness.difference, runner.screen.similarity

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

room, words = int(sys.argv[1]), sys.argv[2:]
if room:
    resource.setrlimit(resource.RLIMIT_AS, (1024 * status("VmSize") + room,) * 2)
if words[0] == "array":
    try:
        runner.open_run(words[1]).array("h")
    except MemoryError as error:
        print(type(error).__name__, error)
    sys.exit()
code = main(words)
print("peak", status("VmHWM") // 1024)
sys.exit(code)
"""

# Saves a run of so many samples, and tells the same.
SAVING = """
import re, sys
from pathlib import Path
import keras, numpy as np, runner

model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(4)])
batches = (np.ones((200, 1000), "float32") for _ in range(int(sys.argv[1])))
runner.save_run(model, batches, "run", batch_size=200)
print("peak", int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def started(*words: str, room: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(room), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def made(folder: Path, size: int, names: Sequence[str] = "ab") -> list[str]:
    """Publish runs of a map of so many bytes; in every second, one value in a thousand differs."""
    samples = size // (4 * 64 * 64)
    values = np.random.default_rng(0).standard_normal((samples, 64, 64), np.float32)
    common: dict[str, Any] = {
        "samples": range(samples),
        "inputs": np.zeros((samples, 1), np.float32),
    }
    paths = []
    for name in names:
        paths.append(str(make_run(folder / name, {"h": values}, run_id=name * 2, **common)))
        values.reshape(-1)[::1000] += 1
    return paths


def test_the_memory_of_saving_does_not_grow_with_a_probe_that_is_kept(tmp_path: Path) -> None:
    peaks = []
    for count in (30, 80):  # 24 MB and 64 MB
        folder = tmp_path / str(count)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SAVING, str(count)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert (folder / "run/probe.parquet").stat().st_size > count * 200 * 1000 * 4
        peaks.append(int(done.stdout.rpartition("peak ")[2]))
    assert peaks[1] - peaks[0] < 40, peaks


def test_the_memory_of_diff_does_not_grow_with_the_layers(tmp_path: Path) -> None:
    peaks = []
    for size in (64 * MB, 256 * MB):
        done = started("diff", *made(tmp_path / str(size), size))
        assert done.returncode == 1, done.stderr
        assert " 0.1%" in done.stdout
        peaks.append(int(done.stdout.rpartition("peak ")[2]))
    assert peaks[1] - peaks[0] < 60, peaks


def test_a_tensor_that_memory_is_too_small_for_is_no_damaged_file(tmp_path: Path) -> None:
    words = made(tmp_path, 256 * MB, "a")
    for room, said in (
        (400, "'h' was read as a whole; run.blocks('h') yields it in pieces"),
        (150, "MB were mapped to be checked"),
    ):
        done = started("array", *words, room=room * MB)
        assert done.stdout.startswith("OutOfMemoryError"), done.stdout + done.stderr
        assert said in done.stdout


def test_too_little_memory_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    done = started("similarity", *made(tmp_path, 64 * MB), "--metric", "svcca", room=50 * MB)
    assert done.returncode == 3, done.stdout + done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "memory ran out" in line
