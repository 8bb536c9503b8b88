"""A hash of everything that a run was made from, so that equal runs are not repeated."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.capture.reductions import REDUCTIONS
from runner.config.composition import Composition
from runner.config.experiment_config import ExperimentConfig
from runner.config.intervene_config import ACTIONS
from runner.config.model_config import RUNTIMES, SavedModel, runtime_of
from runner.config.probe_config import SOURCES
from runner.config.references import Reference, references_in
from runner.config.sharing import shared_part
from runner.converted_models.loading import data_files_of
from runner.errors import InputError
from runner.given_files import FileInStore
from runner.given_folders import GivenFolder, given_folder, given_place
from runner.model.backend import default_backend
from runner.record.environment import read_environment, versions
from runner.regular_files import written_file
from runner.store_urls import StoreUrl
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
    return _fingerprint(config, _contents_of(experiment), _packages_of(experiment))


_START = 64  # bytes that show what kind of file it is

_Contents = Mapping[Path | StoreUrl, Reference | None]
"""Files, folders and objects, and the references that name them."""


def _contents_of(experiment: ExperimentConfig) -> _Contents:
    """Return what an experiment names, with the files of its modules and models."""
    references = [each for _, each in references_in(experiment)]
    named = {one: each for each in references if (one := each.content) is not None}
    files = [data_files_of(one) for one in named if isinstance(one, Path)]
    return {**dict.fromkeys(path for each in files for path in each), **named}


def _packages_of(experiment: ExperimentConfig) -> dict[str, str]:
    """Return the packages of which a run uses something, and their versions."""
    return (
        named_packages(experiment)
        | FORMATS.packages([experiment.format])
        | STATISTICS.packages(STATISTICS.names)
    )


def named_packages(experiment: ExperimentConfig) -> dict[str, str]:
    """Return the packages of what an experiment names, besides its format, and their versions."""
    data = experiment.train.data if experiment.train is not None else None
    sources = [each for each in (experiment.probe, data) if each is not None]
    actions = [each.name() for each in experiment.intervene.values()]
    reductions = {each.partition(":")[0] for each in experiment.capture.reduce.values()} - {"none"}
    model = experiment.model
    runtime = runtime_of(model.path) if isinstance(model, SavedModel) else None
    runtimes = [name for name in RUNTIMES if runtime is not None and RUNTIMES[name] is runtime]
    return (
        versions(package for each in sources for package in each.packages)
        | SOURCES.packages(each.name() for each in sources)
        | ACTIONS.packages(actions)
        | REDUCTIONS.packages(reductions)
        | versions(package for name in runtimes for package in RUNTIMES[name].packages)
        | RUNTIMES.packages(runtimes)
    )


class Fingerprints:
    """The fingerprints of the jobs of a batch, most of which use the same files and packages."""

    def __init__(self) -> None:
        self._common: ExperimentConfig | None = None
        self._contents: _Contents = {}
        self._packages: Mapping[str, str] = {}

    def of(self, composition: Composition) -> str:
        """Return the fingerprint of a job."""
        common = shared_part(composition.experiment)
        if common != self._common:
            self._common, self._contents = common, _contents_of(composition.experiment)
            self._packages = _packages_of(composition.experiment)
        return _fingerprint(composition.resolved, self._contents, self._packages)


def _fingerprint(
    config: Mapping[str, Any], contents: _Contents, packages: Mapping[str, str]
) -> str:
    made_of = {
        "config": {**config, "backend": config.get("backend") or default_backend()[0]},
        "files": {str(one): _content(one, reference) for one, reference in contents.items()},
        "packages": {**read_environment(Path.cwd()).packages, **packages},
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def _content(one: Path | StoreUrl, reference: Reference | None) -> str | None:
    """Return the hash of a file, a folder or an object; ``None`` if it cannot be read.

    That of a folder is of the names of all files in it, and of the content of those that the run
    reads. An object is known by its tag in the store, and one without a tag by its content.
    """
    try:
        if isinstance(one, StoreUrl):
            return _stored_content(one)
        if one.is_dir():
            return _folder_content(one, reference)
        state = one.stat()
        return _file_content(one, state.st_ino, state.st_size, state.st_mtime_ns)
    except (OSError, InputError):  # reported when it is read for the run
        return None


def _folder_content(folder: Path, reference: Reference | None) -> str:
    whole = hashlib.sha256()
    for name, file in given_folder(folder, "").files():
        read = reference is None or reference.reads(name, file.start(_START))
        content = _content(folder / name, None) if read else ""
        whole.update(os.fsencode(f"{name}\0{content}\n"))
    return whole.hexdigest()


def _stored_content(url: StoreUrl) -> str:
    given = given_place(str(url), "")
    found = given.files() if isinstance(given, GivenFolder) else [("", given)]
    whole = hashlib.sha256()
    for name, file in found:
        tag = file.about.tag if isinstance(file, FileInStore) else None
        content = tag or hashlib.sha256(file.content()).hexdigest()
        whole.update(f"{name}\0{file.size} {content}\n".encode())
    return whole.hexdigest()


@functools.cache
def _file_content(path: Path, *_: int) -> str:
    """Return the hash of a file, read once for all jobs of a sweep unless its state changes."""
    with written_file(path, "").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
