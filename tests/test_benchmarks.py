"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.floor import PIECES, floor
from benchmarks.machine import watched
from benchmarks.models import CASES
from benchmarks.timing import Times, interleaved, ratios
from benchmarks.ways import PLAIN, ways

ROOT = Path(__file__).parent.parent


def test_every_way_of_the_smallest_model_is_timed() -> None:
    case = replace(CASES[0], batch_size=16)
    times = interleaved(ways(case, 40, all_of_them=True), 2)
    assert set(times) == {
        PLAIN, "capture only", "arrow", "parquet", "bare arrow writer", "csv",
        "multi-output predict", "predict per layer", *PIECES,
    }  # fmt: skip
    assert all(len(own) == 2 for own in times.values())
    wall = {name: [one.wall for one in own] for name, own in times.items()}
    assert ratios(wall, PLAIN)[PLAIN].median == 1
    assert all(ratio >= 1 for ratio in floor(times, PLAIN, 2))


def test_the_floor_shares_the_pieces_over_the_cores() -> None:
    times = {PLAIN: [Times(1, 2)], **{piece: [Times(5, 1)] for piece in PIECES}}
    assert floor(times, PLAIN, 2) == [2.5]
    assert floor(times, PLAIN, 100) == [1]


def test_what_other_processes_take_is_noticed() -> None:
    words = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.read(1)  # it runs
        with watched() as others:
            time.sleep(1)
        other.kill()
    assert others.busy


def test_figures_are_written_in_their_place_alone() -> None:
    Path("page.md").write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n")
    page.put("x", page.table(["n"], [["1"]]), Path("page.md"))
    put = "a\n<!-- x -->\n\n| n |\n| --- |\n| 1 |\n\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    assert Path("page.md").read_text() == put
    with pytest.raises(ValueError, match="no place for z"):
        page.put("z", "", Path("page.md"))


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
