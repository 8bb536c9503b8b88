"""The folder of runs by default, and a check that an output path is on a file system."""

from __future__ import annotations

import re
from pathlib import Path

from runner.errors import InputError

OUTPUTS = Path("outputs")
"""The folder of runs by default, as in ``conf/config.yaml``."""

# A drive (C:/) has one letter; `Path` reduces a URL's two slashes to one.
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""The beginning of a URL."""


def local_path(
    path: str | Path,
    place: str,
    doing: str = "write to",
    advice: str = "give a path of this machine",
) -> Path:
    """Return a path after checking that it is not a URL.

    Parameters
    ----------
    path
        The path as given by the user.
    place
        The argument or key that it comes from.
    doing
        What is to be done with it, for the message.
    advice
        What to give in the place of a URL.

    Raises
    ------
    InputError
        If it is a URL, from which a folder named ``s3:`` would be made.
    """
    if match := URL.match(str(path)):
        if match[1] == "file":
            advice = "give the path without file://"
        raise InputError.of(place, f"cannot {doing} {match[1]}://", advice)
    return Path(path)
