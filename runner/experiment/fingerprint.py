"""What a run was made of, as one hash: the same again is worth no second run."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.config.experiment_config import ExperimentConfig
from runner.config.references import references_in
from runner.errors import InputError
from runner.record.environment import read_environment
from runner.regular_files import regular_file

_BLOCK = 2**20


def fingerprint_of(config: Mapping[str, Any], experiment: ExperimentConfig) -> str:
    """Return the SHA-256 of an experiment: its values, what its files hold, its packages.

    Parameters
    ----------
    config
        The experiment as plain data, interpolations resolved.
    experiment
        The same, typed: the types say which values are files, folders and modules. Of a
        module, its own file is read, not those that it imports.
    """
    found = {path for _, each in references_in(experiment) if (path := each.content) is not None}
    made_of = {
        "config": config,
        "files": {str(path): _content(path) for path in sorted(found)},
        "packages": read_environment(Path.cwd()).packages,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def _content(path: Path) -> str | None:
    """Return the hash of a file, or of all files of a folder; ``None`` where there is none.

    Read once a process, so that the jobs of a sweep are held to the same content.
    """
    whole = hashlib.sha256()
    if path.is_dir():
        for below in sorted(path.rglob("*")):
            if below.is_file():
                whole.update(f"{below.relative_to(path).as_posix()}\0{_content(below)}\n".encode())
        return whole.hexdigest()
    try:
        with regular_file(path, "").open("rb") as file:
            while block := file.read(_BLOCK):
                whole.update(block)
    except (OSError, InputError):  # whoever reads it says what is wrong with it
        return None
    return whole.hexdigest()
