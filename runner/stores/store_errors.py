"""Turns the exceptions of the clients of object stores into an OSError of a few words."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from runner.errors import first_line

_KINDS: dict[str, tuple[int, str]] = {
    "FileNotFoundError": (errno.ENOENT, "No such file or directory"),
    "NotFoundError": (errno.ENOENT, "No such file or directory"),
    "AlreadyExistsError": (errno.EEXIST, "File exists"),
    "PreconditionError": (errno.EIO, "was changed while it was read"),
    "PermissionDeniedError": (errno.EACCES, "the store denies access"),
    "UnauthenticatedError": (errno.EACCES, "the store does not accept the credentials"),
    "NotSupportedError": (errno.ENOTSUP, "the store cannot do this"),
    "NotImplementedError": (errno.ENOTSUP, "the store cannot do this"),
    "NoCredentialsError": (errno.EACCES, "there are no credentials"),
    "ProfileNotFound": (errno.EACCES, "there is no such profile as AWS_PROFILE names"),
}
"""What exceptions of obstore and botocore mean, by the names of their classes."""

_TEXTS: dict[str, tuple[int, str]] = {
    r"NoSuchBucket|ContainerNotFound|bucket does not exist": (
        errno.ENXIO,
        "there is no such bucket",
    ),
    r"performing token request|service account file": (
        errno.EACCES,
        "no credentials were found, or they are not accepted",
    ),
    r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|status: 403|status code: 403": (
        errno.EACCES,
        "the store denies access",
    ),
    r"connect error|ConnectError|error sending request|Could not connect": (
        errno.EHOSTUNREACH,
        "the store cannot be reached",
    ),
    r"timed out": (errno.ETIMEDOUT, "the store does not answer"),
    r"status: 5\d\d|50[0-9] |server error": (errno.EIO, "the store fails"),
}
"""What the texts of errors mean, by a pattern in them."""


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn the exceptions of the store's client into an OSError of a few words."""
    try:
        yield
    except Exception as error:
        ours = isinstance(error, OSError) and error.errno is not None
        if ours or not (
            isinstance(error, (FileNotFoundError, NotImplementedError))
            or type(error).__module__.partition(".")[0] in ("obstore", "botocore")
        ):
            raise
        text, kind = str(error), _KINDS.get(type(error).__name__)
        found = next((told for pattern, told in _TEXTS.items() if re.search(pattern, text)), None)
        if found is not None and found[0] == errno.ENXIO:
            kind = found  # an object in a missing bucket is not found either
        number, why = kind or found or (errno.EIO, _shortened(text))
        raise OSError(number, why) from error


def _shortened(text: str) -> str:
    """Return the beginning of a message, without addresses, which may hold a signature."""
    return re.sub(r"\w+://\S+", "the store", first_line(Exception(text)))[:160]
