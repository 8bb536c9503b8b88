"""Where callbacks write: inside the run's folder, whatever their paths and formats say."""

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
"""The callback of Keras that fills in its path, and the argument."""

WRITTEN = frozenset((
    FORMATTED, ("CSVLogger", "filename"), ("TensorBoard", "log_dir"),
    ("BackupAndRestore", "backup_dir"), ("OrbaxCheckpoint", "directory"),
))  # fmt: skip
"""What Keras's callbacks write to: class and argument. The last two are bases of people's own."""

WORDS = frozenset(("monitor", "mode", "separator", "save_freq", "update_freq"))
"""Arguments of Keras's callbacks that are text and no path. Any other text may be one."""

_NAME_BYTES = 255
_PATH_BYTES = 1024
# Without a fill character, a width of more than two digits or `c` (a character by its number).
_SPEC = re.compile(r"\d{0,2}(\.\d{1,2})?[bdeEfFgG%]?")


class RunPath(str):
    """A path below a folder that callbacks write to; filled in, it is still below it.

    Parameters
    ----------
    folder
        Where callbacks write.
    given
        The path inside it, perhaps with fields such as ``{epoch}``.

    Raises
    ------
    RunError
        If it leads out of the folder, be it through a symbolic link.
    """

    folder: Path
    given: str

    def __new__(cls, folder: Path, given: str) -> RunPath:
        """Join the two."""
        path = super().__new__(cls, _below(folder, given))
        path.folder, path.given = folder, given
        return path

    def format(self, *values: object, **named: object) -> str:
        """Fill in the given part; braces in the folder's name stay as they are."""
        return _below(self.folder, self.given.format(*values, **named))


def written_by(callback: type) -> dict[str, bool]:
    """Return the arguments of a callback that are paths it writes to, and which it fills in.

    Those of Keras's own classes and of what derives from them, and any that a class's
    signature declares as ``Path`` or ``os.PathLike``.
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
    """Yield a problem for each text among a callback's arguments that leads out of a folder."""
    for key, value in arguments.items():
        if (class_name, key) in WRITTEN and not isinstance(value, str):
            yield Problem(join(place, key), f"expected a path, found {shown(value)}")
        elif key not in WORDS:
            for below, text in _texts(value, join(place, key)):
                yield from _outside(text, below)


def field_problems(
    template: str, numbers: Mapping[str, int | float], place: str, *, complete: bool
) -> Iterator[Problem]:
    """Yield what is wrong with a path that Keras fills in as ``str.format`` does.

    Parameters
    ----------
    template
        Such as ``{epoch:02d}-{val_loss:.2f}.keras``.
    numbers
        The fields that there will be, each with a number of its type.
    place
        Key path of the template.
    complete
        Whether there can be no other fields.
    """
    expected = "expected fields such as {epoch:02d} and {val_loss:.2f}"
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError:
        yield Problem(place, f"{expected}, found a brace without its other half in '{template}'")
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
            yield Problem(place, f"there is no '{name}' to fill in when it is written", advice)
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
            "give a plain one, such as best.keras",
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
