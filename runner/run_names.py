"""The names of runs: those that a user may give, and those that mean the latest run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from runner.errors import Problem

LATEST = re.compile(r"last(?:~(\d+))?")
"""The names of the run that ended last, and of those before it, whose group counts them."""


def run_name_problems(name: str) -> Iterator[Problem]:
    """Yield a problem if a text cannot name a run."""
    unsafe = any(c in "/\\" or unicodedata.category(c) == "Cc" for c in name)
    if unsafe or name.strip() in ("", ".", ".."):
        yield Problem("", f"{name!r} cannot name a run", "use a plain name, without a path")
    elif LATEST.fullmatch(name):
        yield Problem("", f"'{name}' already means the latest run", "use another name")
