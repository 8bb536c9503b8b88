"""A hash of everything that a run was made from, so that equal runs are not repeated."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.config.cheap_keys import without
from runner.config.composition import Composition
from runner.config.experiment_config import CHEAP_KEYS, ExperimentConfig
from runner.config.probe_config import SOURCES
from runner.config.references import references_in
from runner.errors import InputError
from runner.record.environment import read_environment
from runner.regular_files import written_file
from runner.table_formats import FORMATS
from runner.tables.statistics import STATISTICS


def fingerprint_of(config: Mapping[str, Any], experiment: ExperimentConfig) -> str:
    """Return the SHA-256 of an experiment: its values, the content of its files, its packages.

    Parameters
    ----------
    config
        The experiment as plain data, interpolations resolved.
    experiment
        The same experiment, typed: the types show which values are files, folders and modules.
        For a module, only its own file is read, not the modules that it imports.
    """
    return _fingerprint(config, _paths_in(experiment), _packages_of(experiment))


def _paths_in(experiment: ExperimentConfig) -> list[Path]:
    """Return every file and folder that an experiment names, and the files of its modules."""
    return sorted({p for _, each in references_in(experiment) if (p := each.content) is not None})


def _packages_of(experiment: ExperimentConfig) -> dict[str, str]:
    """Return the packages whose sources, format and statistics a run uses, and their versions."""
    return (
        source_packages(experiment)
        | FORMATS.packages([experiment.format])
        | STATISTICS.packages(STATISTICS.names)
    )


def source_packages(experiment: ExperimentConfig) -> dict[str, str]:
    """Return the packages whose sources an experiment uses, and their versions."""
    data = experiment.train.data if experiment.train is not None else None
    return SOURCES.packages(each.name() for each in (experiment.probe, data) if each is not None)


class Fingerprints:
    """The fingerprints of the jobs of a batch, most of which use the same files and packages."""

    def __init__(self) -> None:
        self._common: ExperimentConfig | None = None
        self._paths: Sequence[Path] = ()
        self._packages: Mapping[str, str] = {}

    def of(self, composition: Composition) -> str:
        """Return the fingerprint of a job."""
        common = without(composition.experiment, CHEAP_KEYS)
        if common != self._common:
            self._common, self._paths = common, _paths_in(composition.experiment)
            self._packages = _packages_of(composition.experiment)
        return _fingerprint(composition.resolved, self._paths, self._packages)


def _fingerprint(
    config: Mapping[str, Any], paths: Sequence[Path], packages: Mapping[str, str]
) -> str:
    made_of = {
        "config": config,
        "files": {str(path): _content(path) for path in paths},
        "packages": {**read_environment(Path.cwd()).packages, **packages},
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def _content(path: Path) -> str | None:
    """Return the hash of a file, or of all files of a folder; ``None`` if it cannot be read."""
    if path.is_dir():
        whole = hashlib.sha256()
        for below in sorted(path.rglob("*")):
            if below.is_file():
                whole.update(
                    os.fsencode(f"{below.relative_to(path).as_posix()}\0{_content(below)}\n")
                )
        return whole.hexdigest()
    try:
        state = path.stat()
        return _file_content(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except (OSError, InputError):  # reported when it is read for the run
        return None


@functools.cache
def _file_content(path: Path, *_: int) -> str:
    """Return the hash of a file, read once for all jobs of a sweep unless its state changes."""
    with written_file(path, "").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
