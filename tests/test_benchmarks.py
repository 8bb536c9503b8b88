"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import keras
import pytest

from benchmarks import faults, page
from benchmarks.floor import PIECES, floor
from benchmarks.machine import watched
from benchmarks.memory import peak_memory
from benchmarks.models import CASES
from benchmarks.parts import joined
from benchmarks.timing import Times, interleaved, ratios
from benchmarks.ways import PLAIN, ways

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_every_way_of_the_smallest_model_is_timed() -> None:
    case = replace(CASES[0], batch_size=16)
    times = interleaved(ways(case, 40, keras.backend.backend(), all_of_them=True), 2)
    assert set(times) == {
        PLAIN, "capture only", "capture again", "arrow", "parquet", "bare arrow writer", "csv",
        "multi-output predict", "predict per layer", *PIECES,
    }  # fmt: skip
    assert all(len(own) == 2 for own in times.values())
    wall = {name: [one.wall for one in own] for name, own in times.items()}
    assert ratios(wall, PLAIN)[PLAIN].median == 1
    assert all(ratio >= 1 for ratio in floor(times, PLAIN, 2))


@pytest.mark.slow
def test_simulated_parts_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    joined(3)
    assert capsys.readouterr().out.startswith("3 parts joined in ")


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
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_the_models_are_measured_on_each_backend(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    models = ["mlp"]
    if backend == "torch":
        models.append("module mlp")
    words = ["--backend", backend, "--quick", "--rows", "8", "--only", ",".join(models)]
    file = Path("figures.json").resolve()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words, "--json", str(file)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert "capture only" in done.stdout
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["machine"][backend]
    assert [result["case"] for result in figures["results"]] == models
    for result in figures["results"]:
        assert {PLAIN, "capture only", "capture again", "parquet"} <= {*result["wall"]}
        assert result["wall"]["parquet"]["n"] == 3


@pytest.mark.slow
def test_the_peak_of_memory_is_measured() -> None:
    assert 200 < peak_memory("tensorflow", "mlp", "parquet", 1_000) < 4_000  # MB


@pytest.mark.slow
def test_planted_faults_are_counted() -> None:
    found = [*islice(faults.planted("keras", "mlp", *faults.base_of(Path("runs"), "mlp")), 2)]
    assert [(each.layer, each.kind) for each in found] == [("", ""), ("first", "scale")]
    assert [each.is_right for each in found] == [True, True]
    wrong = [replace(found[0], said=found[1].said), replace(found[1], layer="second")]
    assert not any(each.is_right for each in wrong)
    rows = faults.counted([*found, *wrong], lambda each: each.way).splitlines()
    assert rows[-1] == "| keras | 4 | 2 |"
