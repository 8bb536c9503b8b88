"""Measure capture and tables against a plain forward pass."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

from benchmarks import page
from benchmarks.case import Case
from benchmarks.cases import cases_of
from benchmarks.floor import PIECES, floor
from benchmarks.machine import MOST_TAKEN, cores, description, is_busy, watched
from benchmarks.memory import WAYS, peak_memory
from benchmarks.plain import PASSES
from benchmarks.timing import Spread, interleaved, ratios
from benchmarks.ways import PLAIN, ways

_BUSY = f"other processes take more than {MOST_TAKEN} cores; --busy writes the figures all the same"


def measured(
    case: Case, backend: str, *, quick: bool, tables: bool, rows: int | None
) -> dict[str, Any]:
    """Return the figures of one model."""
    memory = case.memory and rows is None and not tables
    rows = rows or (case.quick_rows if quick else case.rows)
    if tables:
        case = dataclasses.replace(case, others=False)
    times = interleaved(ways(case, rows, backend, all_of_them=not quick), 3 if quick else 7)
    wall = {name: [one.wall for one in own] for name, own in times.items()}
    cpu = {name: [one.cpu for one in own] for name, own in times.items()}
    found: dict[str, Any] = {
        "case": case.name,
        "rows": rows,
        "seconds": {name: Spread.of(own) for name, own in wall.items()},
        "cpu_seconds": {name: Spread.of(own) for name, own in cpu.items()},
        "wall": ratios(wall, PLAIN),
        "cpu": ratios(cpu, PLAIN),
        "floor": Spread.of(floor(times, PLAIN, cores())),
    }
    if memory:
        small = case.quick_rows
        found["peak_mb"] = {
            f"{way}, {count:,} rows": peak_memory(backend, case.name, way, count)
            for way in WAYS
            for count in (small, 10 * small)
        }
    return found


def shown(result: dict[str, Any]) -> Table:
    """Return the figures of one model as a table for the terminal."""
    table = Table("way", "seconds", "CPU", "times plain", "CPU times plain", box=None)
    table.title = f"{result['case']}, {result['rows']:,} rows"
    for name, seconds in result["seconds"].items():
        cpu = result["cpu_seconds"][name]
        both = [str(result[kind][name]) for kind in ("wall", "cpu")]
        table.add_row(name, f"{seconds.median:.3f}", f"{cpu.median:.3f}", *both)
    table.add_row("floor of tables", "", "", str(result["floor"]), "")
    for name, peak in result.get("peak_mb", {}).items():
        table.add_row(f"peak memory: {name}", f"{peak:.0f} MB", "", "", "")
    return table


def markdown(results: list[dict[str, Any]], backend: str) -> str:
    """Return the figures of all models as the tables of BENCHMARKS.md."""
    names = list(dict.fromkeys(name for result in results for name in result["wall"]))
    names = [name for name in names if name not in (PLAIN, *PIECES)]
    rows = []
    for result in results:
        for kind in ("wall", "cpu"):
            cells = [str(result[kind].get(name, "")) for name in names]
            least = str(result["floor"]) if kind == "wall" else ""
            rows.append([result["case"], f"{result['rows']:,}", kind, least, *cells])
    peaks = [
        [result["case"], name, f"{peak:.0f} MB"]
        for result in results
        for name, peak in result.get("peak_mb", {}).items()
    ]
    machine = ", ".join(f"{key} {value}" for key, value in description(backend).items())
    turns = results[0]["wall"][PLAIN].n
    return (
        f"{machine}; the plain pass is {PASSES[backend]}; medians of {turns} turns, lowest and "
        "highest in brackets.\n\n"
        + page.table(["model", "samples", "", "floor", *names], rows)
        + ("\n" + page.table(["model", "process", "peak memory"], peaks) if peaks else "")
    )


def main() -> None:
    """Print a table a model; write the figures as JSON or into BENCHMARKS.md if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples, minutes in all")
    parser.add_argument("--tables", action="store_true", help="without other ways, and peak memory")
    parser.add_argument("--backend", choices=PASSES, default="tensorflow", help="of the models")
    parser.add_argument("--rows", type=int, help="samples to show, and no peak memory")
    parser.add_argument("--only", default="", help="names of models, separated by commas")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--write", action="store_true", help="write them into BENCHMARKS.md")
    parser.add_argument("--busy", action="store_true", help="write them even if others run")
    arguments = parser.parse_args()
    if arguments.write and not arguments.busy and is_busy():
        sys.exit(_BUSY)
    backend, cases = arguments.backend, cases_of(arguments.backend)
    names = [name for name in arguments.only.split(",") if name]
    known = [case.name.split(",")[0] for case in cases]
    if unknown := [name for name in names if name not in known]:
        parser.error(
            f"--only: no model {', '.join(unknown)}; there are {', '.join(dict.fromkeys(known))}"
        )
    chosen = [case for case, name in zip(cases, known, strict=True) if name in names]
    results = []
    with watched() as others:
        for case in chosen or cases:
            how = {"quick": arguments.quick, "tables": arguments.tables}
            found = measured(case, backend, **how, rows=arguments.rows)
            results.append(found)
            Console(width=100).print(shown(results[-1]))
    sys.stdout.write(f"other processes took {others.cores:.2f} cores\n")
    if arguments.json is not None:
        figures = {"machine": description(backend), "others": others.cores, "results": results}
        text = json.dumps(figures, indent=2, default=dataclasses.asdict)
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    if arguments.write:
        if others.busy and not arguments.busy:
            sys.exit(_BUSY)
        place = "capture" if backend == "tensorflow" else f"capture on {backend}"
        page.put(place, markdown(results, backend))


if __name__ == "__main__":
    main()
