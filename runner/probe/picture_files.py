"""The pictures of a folder, recognized by their content."""

from __future__ import annotations

import contextlib
import importlib
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from runner.caller_warnings import warn_caller
from runner.config.references import ProbeFolder
from runner.errors import InputError, Problem, first_line, some
from runner.given_files import GivenFile, opened_ahead
from runner.given_folders import GivenFolder

FORMATS = (
    "PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "ICO",
    "TGA", "PCX", "DDS", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM", "MSP",
)  # fmt: skip
"""Pillow's formats that are decoded in this process.

Others start a program (EPS: Ghostscript), are drawn by the system (WMF), are not pictures by
themselves, or hold JPEG 2000 whose header is not checked (ICNS).
"""

# Formats that have no magic bytes: tried only for files with their extension.
_BY_ENDING = ("TGA",)
_OF_PAGES = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")
_MOST_NAMES = 100
_BROKEN = "it is incomplete or damaged"


@dataclass(frozen=True)
class Picture:
    """A picture file, recognized by its content.

    Attributes
    ----------
    file
        The file.
    name
        Path below the probe's folder, with ``/``.
    format
        Format of the picture, by Pillow's name.
    """

    file: GivenFile
    name: str
    format: str


class PictureFolder(ProbeFolder):
    """A folder of pictures."""

    def reads(self, name: str, start: bytes) -> bool:
        """Return whether a file is a picture, by its name or its first bytes."""
        pillow = load_pillow()
        ending = PurePosixPath(name).suffix.lower()
        if pillow.registered_extensions().get(ending) in FORMATS:
            return True
        return any(_accepts(pillow, each, start) for each in formats_of(pillow, ending))


def _accepts(pillow: Any, format: str, start: bytes) -> bool:
    """Return whether a file may be a picture of a format, by its first bytes."""
    accepts = pillow.OPEN[format][1]
    try:
        return accepts is None or bool(accepts(start))
    except (SyntaxError, IndexError, TypeError, struct.error):  # as Pillow does: a short file
        return False


def listed(
    pillow: Any, folder: GivenFolder, table: GivenFile | None
) -> tuple[list[Picture], tuple[str, ...]]:
    """Return the pictures below a folder, sorted by path, and notes about the other files.

    Parameters
    ----------
    pillow
        The module, from `load_pillow`.
    folder
        Folder that is searched.
    table
        A file in it that is not looked at.

    Raises
    ------
    InputError
        If there is no picture, or one is damaged; a warning names the files left out.
    """
    pictures: list[Picture] = []
    left_out: list[str] = []
    cut: list[str] = []
    problems: list[Problem] = []
    found = {name: file for name, file in folder.files() if table is None or file != table}
    with opened_ahead(found.values()) as opened:
        for (name, file), content in zip(found.items(), opened, strict=True):
            try:
                format, pages = _identified(pillow, file, content)
            except InputError as error:
                problems += error.problems
                continue
            if not format:
                left_out.append(name)
                continue
            pictures.append(Picture(file, name, format))
            cut += [name] if pages else []
    if problems:
        raise InputError(problems)
    if not pictures:
        others = f"; found {some(left_out)}" if left_out else ""
        raise InputError.of("probe.path", f"no pictures in '{folder.place}'{others}")
    notes = []
    for names, what in (
        (left_out, "left out (not pictures)"),
        (cut, "with several pages or frames, of which only the first is shown"),
    ):
        if names:
            files = "1 file" if len(names) == 1 else f"{len(names)} files"
            said = f"{files} of '{folder.place}' {what}: "
            warn_caller(said + some(names))
            notes.append(said + some(names, _MOST_NAMES))
    return pictures, tuple(notes)


def _identified(pillow: Any, file: GivenFile, opened_file: BinaryIO) -> tuple[str, bool]:
    """Return the format of a picture, empty if it is none, and whether it has several pages.

    Raises
    ------
    InputError
        If it has the extension or the first bytes of a picture, but is not one.
    """
    named = pillow.registered_extensions().get(PurePosixPath(file.place).suffix.lower())
    formats = formats_of(pillow, PurePosixPath(file.place).suffix[1:])
    try:
        with opened_picture(pillow, opened_file, formats, file.place) as opened:
            # Only for formats with pages, since `is_animated` may read the whole file.
            several = opened.format in _OF_PAGES and getattr(opened, "is_animated", False)
            # Pillow opens an MPO, a JPEG followed by further pictures, as a JPEG.
            return "JPEG" if opened.format == "MPO" else opened.format, several
    except InputError as error:
        if not isinstance(error.__cause__, pillow.UnidentifiedImageError):
            raise
        what = file.what_it_is()
        if "a picture" in what:
            raise _broken(file.place, ValueError(_BROKEN)) from error
        if named in formats:
            why = f"expected a picture, {what}"
            raise InputError.of(file.place, why, "replace it, or move it away") from error
        return "", False


def formats_of(pillow: Any, ending: str) -> list[str]:
    """Return the formats that a picture may have, of which some are known by its ending alone."""
    named = pillow.registered_extensions().get(f".{ending.rpartition('.')[2].lower()}")
    known = [format for format in FORMATS if format in pillow.OPEN]
    return [format for format in known if format not in _BY_ENDING or format == named]


def _broken(place: str, error: Exception) -> InputError:
    said = first_line(error)
    if re.search(r"\bb['\"]|<_io", said):  # Pillow shows the bytes that it cannot read
        said = _BROKEN
    return InputError.of(place, f"cannot be read as a picture: {said}")


@contextlib.contextmanager
def opened_picture(pillow: Any, source: Any, formats: Sequence[str], place: str) -> Iterator[Any]:
    """Open a picture, and tell what is broken in it, also in what is read inside the context.

    Parameters
    ----------
    pillow
        The module, from `load_pillow`.
    source
        The open file.
    formats
        What it may be, by Pillow's names.
    place
        Where it is, for messages.

    Raises
    ------
    InputError
        If it cannot be read, or has too many pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            with pillow.open(source, formats=formats) as opened:
                yield opened
        except InputError:
            raise
        except Exception as error:  # what a broken picture raises has no common class
            raise _broken(place, error) from error


def load_pillow() -> Any:
    """Return the module ``PIL.Image`` with all formats, raise InputError if it is missing."""
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise InputError.missing("probe", "needs Pillow", "[images]") from error
    pillow.init()
    return pillow
