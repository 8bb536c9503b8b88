"""Checks that an output path is on a file system, not a URL of an object store."""

from __future__ import annotations

import re
from pathlib import Path

from runner.errors import InputError

# A drive (C:/) has one letter; `Path` reduces a URL's two slashes to one.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(path: str | Path, place: str) -> Path:
    """Return an output path after checking that it is not a URL.

    Parameters
    ----------
    path
        The path as given by the user.
    place
        The argument or key that it comes from.

    Raises
    ------
    InputError
        If it is a URL, from which a folder named ``s3:`` would be made.
    """
    if match := _URL.match(str(path)):
        advice = "give a path of this machine, and copy the finished folder there"
        if match[1] == "file":
            advice = "give the path without file://"
        raise InputError.of(place, f"cannot write to {match[1]}://", advice)
    return Path(path)
