"""Runs that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Unreadable:
    """A folder of a run that cannot be read.

    Attributes
    ----------
    path
        Folder of the run.
    why
        Reason in one line, naming the file.
    """

    path: Path
    why: str
