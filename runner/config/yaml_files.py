"""Checks of the user's YAML files before they are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from runner.errors import InputError, Problem
from runner.regular_files import read_at_most

_BYTES = 1_000_000
_VALUES = 100_000
_FOLDERS = 20_000


def check_yaml_files(folder: Path) -> None:
    """Check that YAML files are regular and small, raise InputError otherwise.

    A short file of aliases to aliases can expand to gigabytes; its values are counted without
    expanding it.

    Raises
    ------
    InputError
        With one problem per file.
    """
    problems: list[Problem] = []
    for path in _yaml_files(folder):
        try:
            values = _unfolded(read_at_most(path, _BYTES, str(path)).decode("utf-8"))
        except InputError as error:
            problems += error.problems
            continue
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # reported with its line if the file is used
        if values > _VALUES:
            problems.append(
                Problem(str(path), f"unfolds to {values:,} values, the limit is {_VALUES:,}")
            )
    if problems:
        raise InputError(problems)


def _yaml_files(folder: Path) -> Iterator[Path]:
    """Yield the YAML files below a folder, following links as Hydra does."""
    seen = set()
    for above, folders, names in os.walk(folder, followlinks=True):
        status = Path(above).stat()
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if len(seen) > _FOLDERS:
            raise InputError.of(
                "--config-dir",
                f"'{folder}' holds more than {_FOLDERS:,} folders",
                "name the folder of the configurations",
            )
        folders.sort()
        yield from (Path(above, name) for name in sorted(names) if name.endswith(".yaml"))


def _unfolded(text: str) -> int:
    """Return the number of values in a YAML text with every alias expanded."""
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
    """Return the problem of a YAML file that cannot be read, with its line."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}:{mark.line + 1}" if mark is not None else "config"
    what = " ".join((error.problem or str(error)).split())
    if "'\\t'" in what:
        return Problem(place, "a tab cannot indent YAML", "use spaces")
    return Problem(place, what)
