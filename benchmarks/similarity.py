"""All pairs of layers at once, beside a loop over pairs and beside the bare matrix product.

``python -m benchmarks.similarity`` runs it. Runs are written as files first, since reading them
back is part of what a comparison takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from runner.measures.cka import CKA
from runner.similarity.pairs import compare_layers
from runner.similarity.representation import Representation
from runner.tables.reading import read_array, read_blocks
from runner.tables.writing import TableWriter
from runner.tensors import TensorSpec

RUNS, LAYERS, SAMPLES, WIDTH = 100, 10, 500, 64
_LOOP_PAIRS = 500
_LARGE = (50_000, 4_096)


def written(folder: Path, run: int, layer: int, shape: tuple[int, int]) -> Representation:
    """Return a layer of random values that stands in a table of Runner's."""
    samples, width = shape
    spec = TensorSpec(
        "layer", "activation", "layer", "Dense", 0, None, (width,), "float32", order=layer
    )
    path = folder / f"{run}_{layer}.parquet"
    if not path.exists():
        random = np.random.default_rng([run, layer])
        with path.open("wb") as sink:
            writer = TableWriter(sink, spec, "parquet", "int64")
            for start in range(0, samples, 1024):
                rows = min(1024, samples - start)
                values = random.standard_normal((rows, width), np.float32)
                writer.write(np.arange(start, start + rows), values)
            writer.close()
    return Representation(
        str(run),
        str(layer),
        samples,
        width,
        np.dtype(np.float32),
        partial(read_array, path, spec, "parquet"),
        partial(read_blocks, path, spec, "parquet"),
    )


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def many(folder: Path) -> dict[str, float]:
    """Compare all layers of 100 runs."""
    shape = (SAMPLES, WIDTH)
    layers = [written(folder, run, layer, shape) for run in range(RUNS) for layer in range(LAYERS)]
    pairs = list(combinations(layers, 2))
    random = np.random.default_rng(0)
    chosen = [pairs[place] for place in random.choice(len(pairs), _LOOP_PAIRS, replace=False)]
    signatures = random.standard_normal((len(layers), SAMPLES * (SAMPLES - 1) // 2))

    def loop() -> None:
        for one, other in chosen:
            CKA(one.values(), other.values())

    def bare() -> None:
        for layer in layers:
            layer.values()
        signatures @ signatures.T

    rounds = [
        (seconds(lambda: compare_layers([layers])), seconds(bare), seconds(loop)) for _ in range(3)
    ]
    ours, product, looped = np.median(rounds, axis=0)
    whole = looped / _LOOP_PAIRS * len(pairs)
    return {
        "pairs": len(pairs),
        "seconds": ours,
        "reading and bare product, seconds": product,
        f"loop over pairs, seconds (from {_LOOP_PAIRS} of them)": whole,
        "times faster than the loop": whole / ours,
        "times the bare product": ours / product,
    }


def large(folder: Path) -> dict[str, float]:
    """Compare two layers of 50,000 samples and 4,096 units in a process of its own."""
    for run in (0, 1):
        written(folder, run, 0, _LARGE)
    command = [sys.executable, "-m", "benchmarks.similarity", "--pair", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def pair(folder: Path) -> None:
    """Print what comparing the pair in a folder takes."""
    layers = [written(folder, run, 0, _LARGE) for run in (0, 1)]
    took = seconds(lambda: compare_layers([layers]))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)) / 1024
    sys.stdout.write(json.dumps({"seconds": took, "peak MB": peak}))


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pair", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if asked.pair is not None:
        pair(asked.pair)
        return
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        print(f"{RUNS} runs x {LAYERS} layers, {SAMPLES} samples x {WIDTH} units, all pairs")
        for name, figure in many(Path(one)).items():
            print(f"  {name}: {figure:,.4g}")
        print(f"one pair of {_LARGE[0]:,} samples x {_LARGE[1]:,} units")
        for name, figure in large(Path(other)).items():
            print(f"  {name}: {figure:,.4g}")


if __name__ == "__main__":
    main()
