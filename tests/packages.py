"""Packages that offer Runner something, as if they were installed."""

from __future__ import annotations

import configparser
import itertools
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

_numbers = itertools.count()


def installed(project: Path) -> None:
    """Write beside a pyproject.toml what its installation would write: its entry points."""
    described = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    folder = project.parent / f"{described['name']}-{described['version']}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: {described['version']}\n"
    )
    groups = configparser.ConfigParser(delimiters="=")
    groups.read_dict(described["entry-points"])
    with (folder / "entry_points.txt").open("w") as file:
        groups.write(file)


def offered(
    group: str, names: Mapping[str, str], code: str, folder: Path, patch: pytest.MonkeyPatch
) -> None:
    """Install a package whose only module has some objects, for one test.

    Parameters
    ----------
    group
        The last word of the group of entry points.
    names
        Names of the objects, and what they are called in the code.
    code
        The code of the module.
    folder
        An empty folder, in which a folder for the package is made.
    patch
        Takes the package away after the test.
    """
    module = f"offered_{next(_numbers)}"
    place = folder / module
    place.mkdir()
    (place / f"{module}.py").write_text(code)
    entries = "".join(f"{name} = '{module}:{called}'\n" for name, called in names.items())
    (place / "pyproject.toml").write_text(
        f"[project]\nname = '{module}'\nversion = '1.0'\n"
        f"[project.entry-points.'runner.{group}']\n{entries}"
    )
    installed(place / "pyproject.toml")
    patch.syspath_prepend(place)


LIMIT_NORM = """
from runner.intervening.action import Action


class LimitNorm(Action):
    limit_norm: float

    @property
    def did(self):
        return f"limited to the norm {self.limit_norm:g}"

    def numbers(self, output):
        return {"most": self.limit_norm}

    def changed(self, tensor, numbers, arithmetic):
        norms = arithmetic.sqrt(arithmetic.sum(tensor**2, axis=-1, keepdims=True))
        most = numbers["most"]
        return tensor * most / arithmetic.clip(norms, most, most * 1e6)


class Sorted(Action):
    sorted: float

    @property
    def did(self):
        return "sorted"

    def numbers(self, output):
        return {}

    def changed(self, tensor, numbers, arithmetic):
        return arithmetic.sort(tensor)
"""
"""Actions: one with operations that all libraries of models have, one with one of Keras alone."""
