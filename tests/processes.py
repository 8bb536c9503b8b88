"""Processes that publish at once, or are killed while they do, without TensorFlow.

``python processes.py race|kill FOLDER COUNT SEED`` raises where a promise does not hold, and
says in a line how much was tried. It forks, which a process that has loaded TensorFlow must not.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from making import make_run

from runner.errors import RunnerError
from runner.runs.published_run import Run
from runner.sameness.verification import damage

_RACERS = 8


def check(folder: Path, pattern: str = "*") -> int:
    """Assert that all that readers see in a folder are complete runs; return how many."""
    paths = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    for path in paths:
        run = Run.read(path)
        assert not list(damage(run)), path
        assert (run.array("hidden") == int(run.id)).all()
    return len(paths)


def publish(target: Path, number: int) -> None:
    """Publish a run whose values are all its number, in enough files to take a while."""
    values = np.full((3, 4), number, np.float32)
    make_run(target, {"hidden": values, "hidden/kernel": values}, run_id=str(number))


def race(folder: Path, rounds: int, _: int) -> str:
    """Let processes publish to the same names at the same time, while runs are read."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(_RACERS), context.SimpleQueue()
    racers = [
        context.Process(target=_race, args=(folder, rounds, number, barrier, results))
        for number in range(_RACERS)
    ]
    for racer in racers:
        racer.start()
    looks = 0
    while any(racer.is_alive() for racer in racers):
        looks += check(folder)
    said = [results.get() for _ in range(rounds * _RACERS)]
    lost = ("another run was published here first; this one was not", "exists and is not empty")
    for turn in range(rounds):
        [winner] = [number for at, number, error in said if at == turn and not error]
        assert Run.read(folder / str(turn)).id == str(winner)
    assert all(any(part in error for part in lost) for *_, error in said if error), said
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(str, range(rounds)))
    return f"{rounds} rounds, {check(folder)} runs, seen {looks} times on the way"


def _race(folder: Path, rounds: int, number: int, barrier: Barrier, results: Any) -> None:
    for turn in range(rounds):
        barrier.wait(timeout=60)
        error = ""
        try:
            publish(folder / str(turn), number)
        except RunnerError as caught:
            error = str(caught)
        results.put((turn, number, error))


def kill(folder: Path, count: int, seed: int) -> str:
    """Kill processes that publish one run after another; the next one clears what they left."""
    draw, orphans, runs = random.Random(seed), 0, 0
    for turn in range(count):
        ready, begun = os.pipe()
        child = os.fork()
        if child == 0:
            for number in itertools.count():
                publish(folder / f"{turn}-{number}", number)
                os.write(begun, b".")
        os.read(ready, 1)  # one run is there: what the killed one left was cleared before
        time.sleep(draw.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(begun)
        left = [path for path in folder.iterdir() if path.name.startswith(".")]
        assert len(left) <= 1, left
        orphans += len(left)
        runs += check(folder, f"{turn}-*")
    publish(folder / "last", 0)
    assert check(folder) == runs + 1 == len(list(folder.iterdir()))
    return f"{count} killed, {runs} runs, {orphans} orphans cleared"


if __name__ == "__main__":
    way, where, times, draws = sys.argv[1:]
    Path(where).mkdir()
    print({"race": race, "kill": kill}[way](Path(where), int(times), int(draws)))
