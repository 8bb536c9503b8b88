"""Measure capture and tables against a plain forward pass."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rich.console import Console
from rich.table import Table

from benchmarks.memory import WAYS, peak_memory
from benchmarks.models import CASES, Case
from benchmarks.timing import interleaved, ratios
from benchmarks.ways import PLAIN, ways


def measured(case: Case, quick: bool) -> dict[str, Any]:
    """Return the figures of one model."""
    rows = case.quick_rows if quick else case.rows
    seconds = interleaved(ways(case, rows, all_of_them=not quick), 3 if quick else 5)
    found: dict[str, Any] = {
        "case": case.name,
        "rows": rows,
        "seconds": {name: statistics.median(own) for name, own in seconds.items()},
        "ratios": ratios(seconds, PLAIN),
    }
    if case.memory:
        small = case.quick_rows
        found["peak_mb"] = {
            f"{way}, {count:,} rows": peak_memory(case.name, way, count)
            for way in WAYS
            for count in (small, 10 * small)
        }
    return found


def main() -> None:
    """Print a table a model, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples, minutes in all")
    parser.add_argument("--only", default="", help="names of models, separated by commas")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if case.name.split(",")[0] in arguments.only.split(",")]
    results = []
    for case in chosen or CASES:
        result = measured(case, arguments.quick)
        results.append(result)
        table = Table("model", "rows", "way", "seconds", "ratio", box=None)
        for name, seconds in result["seconds"].items():
            ratio = result["ratios"][name]
            table.add_row(
                result["case"], f"{result['rows']:,}", name, f"{seconds:.3f}", f"{ratio:.2f}"
            )
        for name, peak in result.get("peak_mb", {}).items():
            table.add_row(result["case"], "", f"peak memory: {name}", f"{peak:.0f} MB", "")
        Console(width=100).print(table)
    if arguments.json is not None:
        machine = {"cores": os.cpu_count(), "platform": platform.platform()}
        figures = {"machine": machine, "results": results}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
