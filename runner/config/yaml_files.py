"""A person's YAML files, checked before they are read in full."""

from __future__ import annotations

from pathlib import Path

import yaml

from runner.errors import InputError, Problem

_BYTES = 1_000_000
_VALUES = 100_000


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
            values = _unfolded(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # said with its line if the file is used
        if values > _VALUES:
            problems.append(
                Problem(str(path), f"unfolds to {values:,} values, the limit is {_VALUES:,}")
            )
    if problems:
        raise InputError(problems)


def _unfolded(text: str) -> int:
    """Count the values that a YAML text stands for once every alias is written out."""
    sizes: dict[str | None, int] = {}
    open_collections: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_collections.append((event.anchor, 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_collections.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, total = open_collections[-1]
        open_collections[-1] = (outer, total + size)
    return open_collections[0][1]


def yaml_problem(error: yaml.MarkedYAMLError) -> Problem:
    """Say where a YAML file cannot be read, and why."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}:{mark.line + 1}" if mark is not None else "config"
    what = " ".join((error.problem or str(error)).split())
    if "'\\t'" in what:
        return Problem(place, "a tab cannot indent YAML", "use spaces")
    return Problem(place, what)
