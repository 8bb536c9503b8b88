"""Checks of the user's YAML files before they are loaded."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from runner.errors import InputError, Problem
from runner.regular_files import read_at_most

_BYTES = 1_000_000
_VALUES = 10_000
"""Largest number of keys and values; OmegaConf takes a second for a few thousand."""
_CHARACTERS = 10_000_000
_DEPTH = 100
_FOLDERS = 20_000
_NUMBER = 1_000
"""Largest length of a number; Python refuses to print numbers of more than 4,300 digits."""
_CONVERTED = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "timestamp")}


class NestedError(ValueError):
    """Collections are nested deeper than any configuration."""


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
            text = read_at_most(path, _BYTES, str(path)).decode("utf-8")
            problems += itertools.islice(text_problems(path, text), 1)
        except InputError as error:
            problems += error.problems
        except NestedError:
            problems.append(Problem(str(path), "is nested too deeply to be read"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            if "nesting depth" in str(error):  # newer versions of libyaml have a limit too
                problems.append(Problem(str(path), "is nested too deeply to be read"))
            # Others are reported with their line if the file is used.
    if problems:
        raise InputError(problems)


def text_problems(path: Path, text: str) -> Iterator[Problem]:
    """Yield the problems of what a file's text expands to, and of values that cannot be converted.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML.
    """
    values, characters = _unfolded(text)
    if values > _VALUES:
        yield Problem(str(path), f"unfolds to {values:,} values, the limit is {_VALUES:,}")
    if characters > _CHARACTERS:
        yield Problem(
            str(path), f"unfolds to {characters:,} characters, the limit is {_CHARACTERS:,}"
        )
    yield from _value_problems(path, text)


def loaded(path: Path, text: str) -> Any:
    """Return what a text in YAML says, which `text_problems` has checked.

    Raises
    ------
    InputError
        If it is not YAML, or a mapping has a key twice; names the line.
    """
    reader = get_yaml_loader()(text)
    try:
        return reader.get_single_data()
    except yaml.MarkedYAMLError as error:
        found = yaml_problem(error)
        line = found.place.rpartition(":")[2]
        raise InputError.of(f"{path}:{line}", found.message, found.advice) from error
    finally:
        reader.dispose()


def _value_problems(path: Path, text: str) -> Iterator[Problem]:
    """Yield a problem for each value that YAML takes for a number or a date, and cannot convert."""
    reader = get_yaml_loader()("")
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if not isinstance(event, yaml.ScalarEvent):
            continue
        tag = event.tag
        if tag in (None, "!"):
            tag = reader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _CONVERTED:
            continue
        kind = str(tag).rpartition(":")[2]
        mark: Any = event.start_mark
        place = f"{path}:{mark.line + 1}"
        if len(event.value) > _NUMBER:
            yield Problem(place, f"{event.value!r} is longer than any {kind}", "write it in quotes")
            continue
        try:
            reader.construct_object(yaml.ScalarNode(tag, event.value))
        except yaml.YAMLError:
            continue  # reported with its line if the file is used
        except Exception:  # YAML's constructors have no common error
            yield Problem(
                place, f"{event.value!r} is not a valid YAML {kind}", "write it in quotes"
            )


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


def _unfolded(text: str) -> tuple[int, int]:
    """Return the numbers of values and of characters in a YAML text with every alias expanded."""
    sizes: dict[str | None, tuple[int, int]] = {}
    open_collections: list[tuple[str | None, int, int]] = [(None, 0, 0)]
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_collections.append((event.anchor, 1, 0))
            if len(open_collections) > _DEPTH:  # at once: libyaml takes longer for each level
                raise NestedError
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, values, characters = open_collections.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, (values, characters) = None, sizes.get(event.anchor, (1, 0))
        elif isinstance(event, yaml.ScalarEvent):
            anchor, values, characters = event.anchor, 1, len(event.value)
        else:
            continue
        if anchor is not None:
            sizes[anchor] = values, characters
        outer, values_before, characters_before = open_collections[-1]
        open_collections[-1] = (outer, values_before + values, characters_before + characters)
    return open_collections[0][1:]


def yaml_problem(error: yaml.MarkedYAMLError) -> Problem:
    """Return the problem of a YAML file that cannot be read, with its line."""
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}:{mark.line + 1}" if mark is not None else "config"
    what = " ".join((error.problem or str(error)).split())
    if "'\\t'" in what:
        return Problem(place, "a tab cannot indent YAML", "use spaces")
    return Problem(place, what)
