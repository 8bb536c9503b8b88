"""Estimates and limits the size of a run's tables before they are written."""

from __future__ import annotations

import io
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.errors import InputError, RunError
from runner.table_formats import FORMATS
from runner.tensors import FOLDERS, TensorSpec


def estimated_bytes(spec: TensorSpec, rows: int, table_format: str) -> int:
    """Return the estimated size of the values of a table in bytes.

    Parameters
    ----------
    spec
        The tensor; bfloat16 is stored as float32.
    rows
        Number of samples (a weight has none: its whole shape counts once).
    table_format
        A key of `runner.table_formats.FORMATS`.
    """
    values = math.prod(spec.shape) * (rows if spec.per_sample else 1)
    number_bytes = FORMATS[table_format].number_bytes
    if number_bytes is not None:
        return values * number_bytes
    return values * (4 if spec.dtype == "bfloat16" else np.dtype(spec.dtype).itemsize)


def check_size(
    specs: Iterable[TensorSpec], rows: int, table_format: str, limit: int, times: int = 1
) -> None:
    """Check that the estimated size of the tables is at most `limit` bytes.

    Parameters
    ----------
    specs, rows, table_format
        As in `estimated_bytes`.
    limit
        In bytes.
    times
        Number of times that the tables are written: once per checkpoint of a training.

    Raises
    ------
    InputError
        If it is larger; names the largest tables, how to narrow them down and the key of the
        limit.
    """
    sizes = {spec.name: times * estimated_bytes(spec, rows, table_format) for spec in specs}
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    what = f"{rows:,} samples" + (f" at {times} steps" if times > 1 else "")
    raise InputError.of(
        "capture.max_bytes",
        f"the tables of {what} take about {readable(total)}, the limit is "
        f"{readable(limit)} (largest: "
        + ", ".join(f"{name} {readable(size)}" for name, size in largest)
        + ")",
        "narrow capture.include, set capture.reduce, or raise capture.max_bytes",
    )


def check_disk(needed: int, folder: Path) -> None:
    """Check that the disk has room for the tables.

    Raises
    ------
    RunError
        If it has not; names the needed and the free space.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(
            f"{folder}: the tables need about {readable(needed)}, and {readable(free)} are free"
        )


def machine_memory() -> int | None:
    """Return the memory of this machine in bytes; ``None`` where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def free_memory() -> int | None:
    """Return the memory that programs can still use in bytes; ``None`` if it is unknown."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return 1024 * int(text.partition("MemAvailable:")[2].split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):  # other systems than Linux
        return machine_memory()


def check_memory(layer: str, size: int, copies: int = 1) -> None:
    """Check that a tensor fits into the free memory of this machine, before it is made.

    Parameters
    ----------
    layer
        The layer that makes it.
    size
        In bytes, for one batch.
    copies
        Number of such tensors that are held at the same time.

    Raises
    ------
    InputError
        If it does not.
    """
    memory = free_memory()
    if memory is not None and copies * size > memory:
        held = f" ({copies} are held at a time)" if copies > 1 else ""
        raise InputError.of(
            "model",
            f"'{layer}' makes a tensor of {readable(size)} for one batch{held}, and this machine "
            f"has {readable(memory)} of free memory",
            "make the layer smaller, or show fewer samples at once: capture.batch_size",
        )


def readable(size: float) -> str:
    """Return a size in bytes as text with a suitable unit: ``1.4 MB``."""
    if size > 1e18:
        return "more than 1,000,000 TB"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def plan(specs: Iterable[TensorSpec], rows: int | None, table_format: str, times: int = 1) -> str:
    """Return the tables to be written and their sizes as text, one table per line.

    If `rows` is unknown before the probe is read, sizes are those of one sample; `times` as in
    `check_size`.
    """
    specs = list(specs)
    sizes = [times * estimated_bytes(spec, rows or 1, table_format) for spec in specs]
    table = Table("table", "class", "shape", "dtype", "size", box=None)
    table.columns[-1].justify = "right"
    for spec, size in zip(specs, sizes, strict=True):
        shape = " x ".join(map(str, spec.shape)) or "1"
        table.add_row(
            Text(f"{FOLDERS[spec.kind]}/{spec.name}"),
            Text(spec.layer_class),
            shape,
            spec.dtype,
            readable(size),
        )
    text = io.StringIO()
    Console(width=100, file=text).print(table)
    written = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    samples = f"{rows:,} samples" if rows is not None else "each sample"
    if times > 1:
        samples += f" at {times} steps"
    return (
        f"{written}\n{len(specs)} tables, about {readable(sum(sizes))} for {samples} as "
        f"{table_format}; nothing was written (dry_run=true)\n"
    )
