"""What it takes to read a sweep of many runs, and to go on with one that is finished.

``python -m benchmarks.reading --runs 1000`` makes a sweep of the tutorial in a temporary folder;
``python -m benchmarks.reading FOLDER`` reads one that is there. Each operation runs in a process
of its own, a first time unmeasured; CPU seconds are those of the operation, imports not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

_QUERY = "select seed, avg(u0) from hidden join runs using (run) group by seed"
_READS = {
    "open_runs": "",
    "runs.frame": "runs.frame",
    'runs.table("hidden")': "runs.table('hidden')",
    "runs.sql": f"runs.sql({_QUERY!r})",
    'runs.similarity(layers=["output"])': "runs.similarity('procrustes', ['output'])",
}
_COMMANDS = {
    "list": ["list", "--outputs", "{folder}"],
    "report": ["report", "{folder}", "--output", "{page}"],
    "verify": ["verify", "{folder}"],
}

# The operation is what a person waits for once Python has loaded what it needs.
_READING = """
import json, resource, sys, time, warnings
import duckdb, pandas, pyarrow.parquet
import runner
from runner.runs import locate
warnings.simplefilter("ignore")
start = time.process_time()
runs = runner.open_runs(sys.argv[1])
opened = time.process_time()
{does}
seconds = time.process_time() - opened if {other} else opened - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
_COMMAND = """
import contextlib, io, json, os, resource, sys
from runner.command_line.entry import main
import pandas, pyarrow.parquet, runner.runs.locate, runner.report.writing
times = lambda: sum(os.times()[:4])
start = times()
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
assert code == 0, code
print(json.dumps([times() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measured(program: str, *words: str) -> tuple[float, float]:
    """Return the CPU seconds and the peak of memory in MB, of a second time."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of a sweep of seeds from 0")
    parser.add_argument("--runs", type=int, default=1000, help="how many seeds to make")
    parser.add_argument("--only", help="operations whose names contain this")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or Path(place) / "sweep"
        runs = asked.runs
        again = ["-m", f"seed=range({runs})", f"hydra.sweep.dir={folder}"]
        if asked.folder is None:
            subprocess.run([sys.executable, "-m", "runner", *again], check=True)
        page = str(Path(place) / "page.html")
        jobs = [
            (name, _READING.format(does=does, other=bool(does)), [str(folder)])
            for name, does in _READS.items()
        ]
        jobs += [
            (name, _COMMAND, [word.format(folder=folder, page=page) for word in words])
            for name, words in _COMMANDS.items()
        ]
        jobs.append(("going on", _COMMAND, again))
        print(f"| {runs:,} runs | CPU s | peak MB |\n|---|---|---|")
        for name, program, words in jobs:
            if asked.only is None or asked.only in name:
                seconds, memory = measured(program, *words)
                print(f"| `{name}` | {seconds:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
