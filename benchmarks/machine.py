"""The machine that figures are measured on, and whether anything else ran there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from runner.record.environment import read_environment

_STAT = Path("/proc/stat")
# Cores that other processes may take on a quiet machine, on average.
MOST_TAKEN = 0.1


@dataclass
class Others:
    """What other processes took while a block ran: cores, on average, once it has ended."""

    cores: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether that was too much for figures to be published."""
        return self.cores > MOST_TAKEN


@contextmanager
def watched() -> Iterator[Others]:
    """Measure how many cores other processes take inside the block (on Linux)."""
    others = Others()
    start, before = time.perf_counter(), _foreign()
    yield others
    others.cores = max(0.0, (_foreign() - before) / (time.perf_counter() - start))


def is_busy() -> bool:
    """Return whether other processes are running now."""
    with watched() as others:
        time.sleep(2)
    return others.busy


def description(backend: str) -> dict[str, str | int]:
    """Return what a reader must know of the machine, and of a backend."""
    environment = read_environment(Path.cwd())
    packages = {name: version(name) for name in (backend, "keras", "numpy", "pyarrow")}
    known = {"cpu": str(environment.processor), "platform": environment.platform}
    return {**known, "cores": cores(), **packages}


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _foreign() -> float:
    """Return the CPU seconds of all processes but this one and its children, since the start."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    everything = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return everything - sum(os.times()[:4])
