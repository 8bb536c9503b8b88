"""Runs per second of a sweep over seeds, beside Hydra's own sweeper, launcher and a plain task.

``python -m benchmarks.sweeps`` runs it; the import of TensorFlow is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner.command_line.entry import main as runner_main
from runner.config.checked_loader import CONFIG_DIRECTORY
from runner.config.composition import composition_of
from runner.experiment.experiment import run_experiment

CASES = {"tutorial": ((), 1_000, 30), "digits_mlp": (("experiment=digits_mlp",), 200, 10)}


def resident() -> float:
    """Return the memory that this process has now, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if "VmRSS" in line)) / 1024


def ours(folder: str, seeds: int, *words: str) -> float:
    """Return runs per second of Runner's sweep."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = runner_main(["-m", f"seed=range(0,{seeds})", *words, f"hydra.sweep.dir={folder}"])
    assert code == 0
    return seeds / (time.perf_counter() - start)


def plain(folder: str, seeds: int, *words: str) -> float:
    """Return runs per second where Hydra composes and calls the task for every job."""
    numbers = itertools.count()

    def task(cfg: DictConfig) -> None:
        composition = composition_of(cfg, HydraConfig.instance().cfg)
        target = Path(HydraConfig.get().runtime.output_dir)
        run_experiment(composition, target, run_id=f"00000000-{next(numbers)}", sweep="00000000")

    sys.argv = [
        "benchmark", "-m", f"seed=range(0,{seeds})", *words, f"hydra.sweep.dir={folder}",
        "hydra/sweeper=basic", "hydra/launcher=basic",
    ]  # fmt: skip
    start = time.perf_counter()
    hydra.main(config_path=str(CONFIG_DIRECTORY), config_name="config", version_base="1.3")(task)()
    return seeds / (time.perf_counter() - start)


def main() -> None:
    """Print a line a case, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    found = {}
    for name, (words, seeds, few) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            ours(f"{folder}/warm", 5, *words)
            ratios, rates, memory = [], [], []
            for turn in range(arguments.repetitions):
                slow = plain(f"{folder}/plain{turn}", few, *words)
                fast = ours(f"{folder}/ours{turn}", seeds, *words)
                rates.append(fast)
                ratios.append(fast / slow)
                memory.append(resident())
        middle = sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]
        found[name] = {
            "seeds": seeds, "runs_per_second": rates[middle], "ratio": ratios[middle],
            "resident_mb": memory,
        }  # fmt: skip
        sys.stdout.write(
            f"{name}: {seeds:,} seeds, {rates[middle]:.1f} runs/s, {ratios[middle]:.1f} times "
            f"Hydra's basic launcher; MB after each turn: {', '.join(f'{m:.0f}' for m in memory)}\n"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
