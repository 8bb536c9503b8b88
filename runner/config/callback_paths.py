"""Checks that callbacks write only inside the run's folder."""

from __future__ import annotations

import inspect
import os
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from runner.config.arguments import join, shown
from runner.errors import Problem, RunError, suggest

FORMATTED = ("ModelCheckpoint", "filepath")
"""The Keras callback that formats its path, and the name of the argument."""

WRITTEN = frozenset((
    FORMATTED, ("CSVLogger", "filename"), ("TensorBoard", "log_dir"),
    ("BackupAndRestore", "backup_dir"), ("OrbaxCheckpoint", "directory"),
))  # fmt: skip
"""Classes and path arguments of Keras callbacks that write files. The last two classes matter only
as bases of users' own callbacks.
"""

_FILES = frozenset((FORMATTED, ("CSVLogger", "filename")))
"""Those of them that are files, not folders."""

WORDS = frozenset(("monitor", "mode", "separator", "save_freq", "update_freq"))
"""Arguments of Keras callbacks that are text but not paths. Any other text may be a path."""

_NAME_BYTES = 255
_PATH_BYTES = 1024
# No fill character, no width of more than two digits, no `c` (a character by its number).
_SPEC = re.compile(r"\d{0,2}(\.\d{1,2})?[bdeEfFgG%]?")


class RunPath(str):
    """A path that stays inside the callbacks' folder when its fields are formatted.

    Parameters
    ----------
    folder
        Folder that callbacks write to.
    given
        Path inside the folder, optionally with fields such as ``{epoch}``.

    Raises
    ------
    RunError
        If the path leads out of the folder, also through a symbolic link.
    """

    folder: Path
    given: str

    def __new__(cls, folder: Path, given: str) -> RunPath:
        """Join the folder and the path."""
        path = super().__new__(cls, _below(folder, given))
        path.folder, path.given = folder, given
        return path

    def format(self, *values: object, **named: object) -> str:
        """Format the path inside the folder; braces in the folder's name are kept."""
        return _below(self.folder, self.given.format(*values, **named))


def written_by(callback: type) -> dict[str, bool]:
    """Return the arguments that are paths a callback writes to, and whether it formats them.

    These are the known arguments of Keras's own classes, also in derived classes, and any that
    a class's signature annotates as ``Path`` or ``os.PathLike``.
    """
    found: dict[str, bool] = {}
    for base in inspect.getmro(callback):
        of_keras = base.__module__.partition(".")[0] == "keras"
        if of_keras:
            known = [pair for pair in WRITTEN if pair[0] == base.__name__]
            found |= {argument: (name, argument) == FORMATTED for name, argument in known}
        maker = vars(base).get("__init__")
        for parameter in inspect.signature(maker).parameters.values() if maker else ():
            if re.search(r"\bPath(Like)?\b", str(parameter.annotation)):
                found.setdefault(parameter.name, False)
    return found


def path_problems(class_name: str, arguments: Mapping[str, Any], place: str) -> Iterator[Problem]:
    """Yield a problem for each text in a callback's arguments that leads out of the folder."""
    for key, value in arguments.items():
        if (class_name, key) in WRITTEN and not isinstance(value, str):
            yield Problem(join(place, key), f"expected a path, found {shown(value)}")
        elif key not in WORDS:
            for below, text in _texts(value, join(place, key)):
                yield from _outside(text, below)


def shared_problems(paths: Mapping[tuple[str, str, str], str]) -> Iterator[Problem]:
    """Yield a problem for each path of a callback that is, or is below, the file of another one.

    Parameters
    ----------
    paths
        Paths as declared, by the class of the callback, the argument and its key path.
    """
    files: dict[PurePosixPath, str] = {}
    for (class_name, key, place), path in paths.items():
        if (class_name, key) in _FILES:
            file = PurePosixPath(path)
            if file in files:
                yield Problem(place, f"'{path}' is also the file of {files[file]}", "rename one")
            files.setdefault(file, place)
    for (class_name, key, place), path in paths.items():
        inside = PurePosixPath(path)
        above = inside.parents if (class_name, key) in _FILES else (inside, *inside.parents)
        for folder in set(above) & files.keys():
            yield Problem(
                place, f"'{folder}' is a file, that of {files[folder]}, no folder", "rename one"
            )


def field_problems(
    template: str, numbers: Mapping[str, int | float], place: str, *, complete: bool
) -> Iterator[Problem]:
    """Yield the problems of a path that Keras fills in with ``str.format``.

    Parameters
    ----------
    template
        Path with fields, such as ``{epoch:02d}-{val_loss:.2f}.keras``.
    numbers
        Available fields, each with an example number of its type.
    place
        Key path of the template.
    complete
        Whether `numbers` holds every possible field.
    """
    expected = "expected fields such as {epoch:02d} and {val_loss:.2f}"
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError:
        yield Problem(place, f"{expected}, found an unmatched brace in '{template}'")
        return
    for _, name, spec, conversion in fields:
        assert name is not None
        spec = spec or ""
        written = f"{name}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}"
        plain = name and not name.isdigit() and not set(name) & set(".[]") and name.isprintable()
        if not plain or conversion or not _SPEC.fullmatch(spec):
            yield Problem(place, f"{expected}, found '{{{written}}}'")
        elif name not in numbers and complete:
            advice = suggest(name, numbers) or f"there are {', '.join(numbers)}"
            yield Problem(place, f"'{name}' is not known when the file is written", advice)
        else:
            try:
                format(numbers.get(name, 0.0), spec)
            except ValueError as error:
                yield Problem(place, f"'{{{written}}}' cannot be filled in: {error}")


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a value with its key path."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, join(place, str(key)))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, join(place, str(position)))


def _outside(path: str, place: str) -> Iterator[Problem]:
    parts = re.split(r"[/\\]", path)
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).anchor
    elsewhere = absolute or ".." in parts or path.startswith("~") or "://" in path
    if elsewhere or not path.strip("./\\ ") or not path.isprintable():
        yield Problem(
            place,
            f"expected a path inside the run's folder, found {path!r}",
            "use a plain name, such as best.keras",
        )
    elif len(path.encode()) > _PATH_BYTES or any(
        len(part.encode()) > _NAME_BYTES for part in parts
    ):
        yield Problem(
            place,
            f"expected a path of at most {_PATH_BYTES:,} bytes, {_NAME_BYTES} for each name, "
            f"found {len(path.encode()):,}",
            "shorten it",
        )


def _below(folder: Path, given: str) -> str:
    path = Path(folder, given)
    inside = Path(os.path.realpath(path))
    is_inside = inside.is_relative_to(os.path.realpath(folder)) and ".." not in path.parts
    if not is_inside or not given.isprintable():
        raise RunError(f"a callback would write to '{given}', outside the run's folder")
    return str(path)
