"""Sizes in bytes: as text, and compared with the memory and the disk of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.errors import InputError, RunError


def readable(size: float) -> str:
    """Return a size in bytes as text with a suitable unit: ``1.4 MB``."""
    if size > 1e18:
        return "more than 1,000,000 TB"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


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
