"""What a run was made of, as one hash: the same again is worth no second run."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.record.environment import read_environment
from runner.regular_files import regular_file

_BLOCK = 2**20


def fingerprint_of(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an experiment: its values, what its files hold, its packages.

    Parameters
    ----------
    config
        The experiment as plain data, interpolations resolved. Of a module that it names,
        the module's own file is read, not those that it imports.
    """
    made_of = {
        "config": config,
        "files": {place: _content(Path(place)) for place in sorted({*_named(config)})},
        "packages": read_environment(Path.cwd()).packages,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()


def _named(value: Any) -> Iterator[str]:
    """Yield the files that a configuration names, those of its modules included."""
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        modules = [item] if key == "function" else item if key == "custom_modules" else []
        for module in modules:
            yield from filter(None, [_file_of(module.partition(":")[0])])
        if isinstance(item, str) and (key in ("path", "weights") or key.endswith("_path")):
            yield item
        yield from _named(item)


def _file_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return None if spec is None else spec.origin


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
