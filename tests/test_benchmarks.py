"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.models import CASES
from benchmarks.timing import interleaved, ratios
from benchmarks.ways import PLAIN, ways

ROOT = Path(__file__).parent.parent


def test_every_way_of_the_smallest_model_is_timed() -> None:
    case = replace(CASES[0], batch_size=16)
    seconds = interleaved(ways(case, 40, all_of_them=True), 2)
    assert set(seconds) == {
        PLAIN, "capture only", "arrow", "parquet", "bare arrow writer", "csv",
        "multi-output predict", "predict per layer",
    }  # fmt: skip
    assert all(len(own) == 2 for own in seconds.values())
    assert ratios(seconds, PLAIN)[PLAIN] == 1


@pytest.mark.slow
def test_the_command_measures_time_and_memory() -> None:
    words = [sys.executable, "-m", "benchmarks", "--quick", "--only", "mlp"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "peak memory: parquet, 150,000 rows" in done.stdout
    assert "capture only" in done.stdout


@pytest.mark.slow
def test_the_overhead_on_a_training_is_measured() -> None:
    words = [sys.executable, "-m", "benchmarks.training", "--repetitions", "1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line[:26].strip() for line in done.stdout.splitlines()] == [
        "plain fit", "every epoch, parquet", "every epoch, arrow", "the last alone, parquet",
    ]  # fmt: skip
