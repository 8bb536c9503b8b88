"""Checks of Hydra's own keys: which ones a command line, and a file, may set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PureWindowsPath
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from runner.errors import InputError, Problem

# Keys of ``hydra`` that a command line may set: where runs go, how a sweep is run. Others can
# name code (callbacks, logging handlers, a search path) or would write into the run's folder.
_OPEN_HYDRA_KEYS = re.compile(
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|mode|verbose|job\.name"
    r"|sweeper\.params(\..+)?|launcher\.(?!.*_target_).+)|hydra/(launcher|sweeper)"
)
# Keys of ``hydra`` that a file may set.
_OPEN_IN_FILES = re.compile(
    r"hydra\.(run\.dir|sweep\.dir|sweep\.subdir|mode|verbose|sweeper\.params(\..+)?)"
)
# Keys of launchers whose text cannot be a path, a command or a line of a script.
_PLAIN_LAUNCHER_KEYS = (
    "account", "backend", "constraint", "gres", "mem_per_cpu", "mem_per_gpu", "name", "nodelist",
    "exclude", "partition", "prefer", "qos", "require", "reservation",
)  # fmt: skip
_PLAIN_TEXT = re.compile(r"[\w.,:=%*+-]*")
# A key that a launcher itself has; what is below one, such as flags of sbatch, has any name.
_LAUNCHER_KEY = re.compile(r"hydra\.launcher\.([A-Za-z0-9_]+)")


class ForbiddenError(InputError):
    """A configuration could run code; nothing on its command line is carried out."""


def check_hydra_keys(overrides: Iterable[Override]) -> None:
    """Check that overrides name no code, by ``hydra`` or ``_target_``, raise InputError otherwise.

    Raises
    ------
    InputError
        With one problem per forbidden override.
    """
    problems = []
    for override in overrides:
        key = override.key_or_group
        if "_target_" in key or "_target_" in str(override.value()):
            problems.append(
                Problem(key, "'_target_' names code, which is not allowed in a configuration")
            )
        elif key == "hydra.sweep.subdir":
            problems += subdir_problems(str(override.value()))
        elif key == "hydra/sweeper" and override.value() != "runner":
            problems.append(other_sweeper(str(override.value())))
        elif re.match(r"hydra\b", override.package or "") or (
            re.match(r"hydra\b", key) and not _OPEN_HYDRA_KEYS.fullmatch(key)
        ):
            problems.append(
                Problem(
                    key,
                    "cannot be set, since it can run code or misplace files",
                    "Hydra's keys that can be set are hydra.run.dir, hydra.sweep.dir, "
                    "hydra.sweep.subdir, hydra.sweeper.params, hydra.mode, hydra.verbose, "
                    "hydra.job.name and hydra/launcher",
                )
            )
    if problems:
        raise InputError(problems)


def other_sweeper(name: str) -> Problem:
    """Return what is wrong with the choice of a sweeper other than Runner's."""
    advice = "leave out hydra/sweeper: Runner's own sweeper runs every combination, as basic does"
    if name != "basic":
        advice = "leave it out, and call runner.run from the optimizer in Python"
    return Problem("hydra/sweeper", f"'{name}' cannot be used", advice)


def subdir_problems(subdir: str) -> Iterator[Problem]:
    """Yield a problem if a job's folder would be outside the sweep's folder."""
    path = PureWindowsPath(subdir)
    if path.anchor or ".." in path.parts or not path.parts or not subdir.isprintable():
        yield Problem(
            "hydra.sweep.subdir",
            f"{subdir!r} is not a folder inside the sweep's folder",
            "use a plain name",
        )


def file_problems(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], sweeper: str
) -> Iterator[Problem]:
    """Yield a problem for each key of ``hydra`` in files that could run code or misplace files.

    Parameters
    ----------
    theirs
        Values of the node ``hydra``, composed with the user's files, without the command line.
    ours
        The same without the user's files.
    sweeper
        The chosen sweeper.
    """
    parents = {key[: dot.start()] for key in theirs for dot in re.finditer(r"\.", key)}
    changed = (
        key
        for key in {**theirs, **ours}
        if theirs.get(key, ...) != ours.get(key, ...) and key not in parents
    )
    problems = (
        other_sweeper(sweeper)  # the file chose it, and none of its keys
        if sweeper != "runner" and f"{key}.".startswith("hydra.sweeper.")
        else _file_problem(key, theirs.get(key))
        for key in changed
    )
    yield from dict.fromkeys(problem for problem in problems if problem is not None)


def _file_problem(key: str, value: Any) -> Problem | None:
    if _OPEN_IN_FILES.fullmatch(key):
        return None
    if key == "hydra.launcher._target_" and value in _launchers():
        return None
    if key.startswith("hydra.help.") and str(value).replace("\n", "").isprintable():
        return None
    if "_target_" in key:
        return Problem(key, f"names code ('{value}')", "remove it")
    if key == "hydra.job.name" and _is_plain(value):  # launchers name their jobs after it
        return None
    if key.startswith("hydra.launcher."):
        launcher_key = _LAUNCHER_KEY.fullmatch(key)
        if launcher_key and (
            value is None
            or isinstance(value, int | float)
            or (launcher_key[1] in _PLAIN_LAUNCHER_KEYS and _is_plain(value))
        ):
            return None
        place = ".".join(key.split(".")[:3])
        advice = "leave it out of the file, and set it on the command line"
        return Problem(place, "can run code or misplace files", advice)
    place = ".".join(key.split(".")[: 3 if key.startswith(("hydra.job.", "hydra.sw")) else 2])
    return Problem(place, "can run code or misplace files", "keep Runner's value")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and _PLAIN_TEXT.fullmatch(value) is not None


def _launchers() -> set[str]:
    """Return the full class names of the installed launchers."""
    found = Plugins.instance().discover(Launcher)
    return {f"{launcher.__module__}.{launcher.__qualname__}" for launcher in found}


def hydra_values(cfg: DictConfig) -> dict[str, Any]:
    """Return every value of the node ``hydra`` as written, by key path."""
    values: dict[str, Any] = {}

    def visit(value: Any, key: str) -> None:
        if isinstance(value, dict) and value:
            for name, below in value.items():
                visit(below, f"{key}.{name}")
        elif isinstance(value, list) and value:
            for number, below in enumerate(value):
                visit(below, f"{key}.{number}")
        else:
            values[key] = value

    visit(OmegaConf.to_container(cfg.hydra, resolve=False, enum_to_str=True), "hydra")
    return values
