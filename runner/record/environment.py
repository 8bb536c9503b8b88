"""The environment of a run: versions, machine, git commit."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from runner.bounds import Entries

# Packages that can change a value, or how it is stored and read.
_PACKAGES = (
    "activation-runner",
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "pyarrow",
    "hydra-core",
    "scikit-learn",
)


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
        Version of each package that can affect the values; those not installed are left out.
    git
        The commit of the folder where the command was started; ``None`` outside a
        repository and without git.
    """

    python: str
    platform: str
    packages: Entries[str, str]
    git: Git | None


@functools.cache
def read_environment(directory: Path) -> Environment:
    """Return the environment of this process; `directory` is where the git commit is read.

    It is read once per process, because loaded packages do not change.
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Environment(platform.python_version(), platform.platform(), packages, _git(directory))


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
