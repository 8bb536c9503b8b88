"""Places to write to: on a file system, until object stores are there too."""

from __future__ import annotations

import re
from pathlib import Path

from runner.errors import InputError

# A drive (C:/) has one letter; a path has lost the second slash already.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(path: str | Path, place: str) -> Path:
    """Return a path to write to.

    Parameters
    ----------
    path
        As a person gave it.
    place
        The argument or key that it is.

    Raises
    ------
    InputError
        If it is a URL: a folder would be made that is called ``s3:``.
    """
    if match := _URL.match(str(path)):
        advice = "give a path of this machine, and copy the finished folder there"
        if match[1] == "file":
            advice = "give the path without file://"
        raise InputError.of(place, f"cannot write to {match[1]}://", advice)
    return Path(path)
