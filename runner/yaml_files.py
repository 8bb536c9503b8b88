"""A person's YAML files, checked before they are read in full."""

from __future__ import annotations

from pathlib import Path

import yaml

from runner.errors import InputError, Problem

_BYTES = 1_000_000
_ALIASES = 100


def check_yaml_files(folder: Path) -> None:
    """Refuse files too large or too entangled to be configurations.

    A short file of aliases to aliases can unfold to gigabytes; its events can be counted
    without unfolding it.

    Raises
    ------
    InputError
        One problem a file.
    """
    problems = []
    for path in sorted(folder.rglob("*.yaml")):
        size = path.stat().st_size
        if size > _BYTES:
            problems.append(Problem(str(path), f"has {size:,} bytes, the limit is {_BYTES:,}"))
            continue
        try:
            events = yaml.parse(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
            aliases = sum(isinstance(event, yaml.AliasEvent) for event in events)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # said with its line if the file is used
        if aliases > _ALIASES:
            problems.append(Problem(str(path), f"has {aliases} aliases, the limit is {_ALIASES}"))
    if problems:
        raise InputError(problems)


def yaml_problem(error: yaml.MarkedYAMLError) -> Problem:
    """Say where a YAML file cannot be read, and why."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}:{mark.line + 1}" if mark is not None else "config"
    what = " ".join((error.problem or str(error)).split())
    if "'\\t'" in what:
        return Problem(place, "a tab cannot indent YAML", "use spaces")
    return Problem(place, what)
