"""The environment of a run: versions, machine, git commit."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runner.bounds import Count, Entries
from runner.model.backend import ENGINES

# What every run uses to compute, store and read values, by its name in texts. The frameworks, and
# what a run chooses, name their packages themselves.
_EVERY_RUN = {
    "Runner": "activation-runner",
    "Hydra": "hydra-core",
    "Keras": "keras",
    "NumPy": "numpy",
    "pandas": "pandas",
    "PyArrow": "pyarrow",
}


@dataclass(frozen=True)
class Git:
    """The git commit that a folder was at.

    Attributes
    ----------
    commit
        Hash of the commit; ``None`` before the first commit.
    dirty
        Whether a tracked file had uncommitted changes.
    remote
        URL of ``origin`` without user name, password, query and fragment, if there is one.
    """

    commit: str | None
    dirty: bool
    remote: str | None


@dataclass(frozen=True)
class Environment:
    """The environment of a process, apart from its backend.

    Attributes
    ----------
    python
        Version of Python.
    platform
        Operating system, its version and the machine's architecture.
    packages
        Version of each package that can affect the values: those that every run uses, the
        frameworks that are installed, and those of what the run chose.
    git
        The commit of the folder where the command was started; ``None`` outside a
        repository and without git.
    processor
        Model of the processor; ``None`` if it was not recorded.
    cores
        Number of cores that the process could use; ``None`` if it was not recorded.
    """

    python: str
    platform: str
    packages: Entries[str, str]
    git: Git | None
    processor: str | None = None
    cores: Count | None = None


@functools.cache
def read_environment(directory: Path) -> Environment:
    """Return the environment of this process; `directory` is where the git commit is read.

    It is read once per process, because loaded packages do not change.
    """
    frameworks = (package for each in ENGINES.values() for package in each.packages)
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=versions((*_EVERY_RUN.values(), *frameworks)),
        git=_git(directory),
        processor=_processor(),
        cores=_cores(),
    )


def told_versions() -> str:
    """Return the versions of what every run uses, and of the frameworks, one in a line."""
    titles = _EVERY_RUN | {each.title: each.packages[0] for each in ENGINES.values()}
    found = versions(titles.values())
    return "".join(
        f"{title} {found.get(package, '(not installed)')}\n" for title, package in titles.items()
    )


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages; those that are not installed are left out."""
    found = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):  # on Linux, where a process may be kept from some
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _git(directory: Path) -> Git | None:
    status = _asked_git(directory, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return None
    lines = status.splitlines()
    head = next(line for line in lines if line.startswith("# branch.oid ")).split()[-1]
    remote = _asked_git(directory, "config", "--get", "remote.origin.url")
    return Git(
        commit=None if head == "(initial)" else head,
        dirty=any(not line.startswith("#") for line in lines),
        remote=_without_credentials(remote.strip()) if remote else None,
    )


def _asked_git(directory: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # take no locks
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _without_credentials(url: str) -> str:
    return re.split("[?#]", re.sub(r"^(\w[\w+.-]*://)?[^/]*@", r"\1", url))[0]
