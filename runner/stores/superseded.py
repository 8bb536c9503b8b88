"""Earlier runs, moved out of the folder in which another one is to appear."""

from __future__ import annotations

import secrets
from pathlib import Path

from runner.errors import InputError

_SUPERSEDED = ".superseded"


def move_aside(folder: Path, mark: str) -> None:
    """Move a folder to ``.superseded`` beside it, where no run is looked for.

    Nothing is moved out of the parent folder.

    Parameters
    ----------
    folder
        The folder, or whatever is in its place.
    mark
        Added to its name, such as the id of its run.

    Raises
    ------
    InputError
        If it cannot be moved.
    """
    place = folder.parent / _SUPERSEDED
    try:
        place.mkdir(exist_ok=True)
        if place.is_symlink():
            raise InputError.of(str(place), "is a link, and runs are not moved through one")
        target = place / f"{folder.name}-{mark}"
        if target.exists() or target.is_symlink():
            target = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
        folder.rename(target)
    except OSError as error:
        raise InputError.of(
            str(folder), f"its content cannot be moved to {place}: {error.strerror}"
        ) from error
