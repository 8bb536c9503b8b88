"""What reading a damaged zip archive raises."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib

DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,  # offsets outside of the file
    OverflowError,
    ValueError,  # names that are no text; also InputError, which is to be raised on before
    RuntimeError,  # passwords, and the versions and compressions that Python does not have
)
"""The errors of `zipfile`, which have no common class."""
