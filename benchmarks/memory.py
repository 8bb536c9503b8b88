"""Peak memory of a process that does one thing."""

from __future__ import annotations

import resource
import subprocess
import sys

from benchmarks.models import CASES


def peak_memory(case: str, way: str, rows: int) -> float:
    """Return the largest resident set of a fresh process that goes one way once, in MB."""
    words = [sys.executable, "-m", "benchmarks.memory", case, way, str(rows)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _measure(case: str, way: str, rows: int) -> None:
    from benchmarks.ways import ways

    [found] = [known for known in CASES if known.name == case]
    ways(found, rows, all_of_them=False)[way]()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
