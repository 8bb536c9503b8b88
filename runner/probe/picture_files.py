"""The pictures of a folder, recognized by their content."""

from __future__ import annotations

import contextlib
import importlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError, Problem, first_line, is_text, some
from runner.regular_files import what_it_is

# Pillow's formats that are decoded in this process. Others start a program (EPS: Ghostscript),
# are drawn by the system (WMF) or are not pictures by themselves.
_FORMATS = (
    "PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "ICO",
    "ICNS", "TGA", "PCX", "DDS", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM", "MSP",
)  # fmt: skip
# Formats that have no magic bytes: tried only for files with their extension.
_BY_ENDING = ("TGA",)
_OF_PAGES = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")
_LEFT_BY_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")
_MOST_NAMES = 100
_BROKEN = "it is incomplete or damaged"


@dataclass(frozen=True)
class Picture:
    """A picture file, recognized by its content.

    Attributes
    ----------
    path
        Path of the file.
    name
        Path below the probe's folder, with ``/``.
    format
        Format of the picture, by Pillow's name.
    """

    path: Path
    name: str
    format: str


def listed(pillow: Any, folder: Path, table: Path | None) -> tuple[list[Picture], tuple[str, ...]]:
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
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        hidden = any(part[0] == "." or part.lower() in _LEFT_BY_SYSTEMS for part in below.parts)
        if hidden or path.is_dir() or (table is not None and table.resolve() == path.resolve()):
            continue
        name = below.as_posix()
        if not is_text(name):
            problems.append(Problem("probe.path", f"the name '{path}' is not UTF-8", "rename it"))
            continue
        try:
            format, pages = _identified(pillow, path) if path.is_file() else ("", False)
        except InputError as error:
            problems += error.problems
            continue
        if not format:
            left_out.append(name)
            continue
        pictures.append(Picture(path, name, format))
        cut += [name] if pages else []
    if problems:
        raise InputError(problems)
    if not pictures:
        found = f"; found {some(left_out)}" if left_out else ""
        raise InputError.of("probe.path", f"no pictures in '{folder}'{found}")
    notes = []
    for names, what in (
        (left_out, "left out (not pictures)"),
        (cut, "with several pages or frames, of which only the first is shown"),
    ):
        if names:
            files = "1 file" if len(names) == 1 else f"{len(names)} files"
            said = f"{files} of '{folder}' {what}: "
            warnings.warn(said + some(names), UserWarning, stacklevel=3)
            notes.append(said + some(names, _MOST_NAMES))
    return pictures, tuple(notes)


def _identified(pillow: Any, path: Path) -> tuple[str, bool]:
    """Return the format of a picture, empty if it is none, and whether it has several pages.

    Raises
    ------
    InputError
        If it has the extension or the first bytes of a picture, but is not one.
    """
    named = pillow.registered_extensions().get(path.suffix.lower())
    known = [format for format in _FORMATS if format in pillow.OPEN]
    formats = [format for format in known if format not in _BY_ENDING or format == named]
    try:
        with opened_picture(pillow, path, formats) as opened:
            # Only for formats with pages, since `is_animated` may read the whole file.
            several = opened.format in _OF_PAGES and getattr(opened, "is_animated", False)
            return opened.format, several
    except pillow.UnidentifiedImageError as error:
        what = what_it_is(path)
        if "a picture" in what:
            raise broken_picture(path, ValueError(_BROKEN)) from error
        if named in known:
            why = f"expected a picture, {what}"
            raise InputError.of(str(path), why, "replace it, or move it away") from error
        return "", False
    except Exception as error:  # what a broken picture raises has no common class
        raise broken_picture(path, error) from error


def broken_picture(path: Path, error: Exception) -> InputError:
    """Return the error that a picture cannot be read."""
    said = first_line(error)
    if re.search(r"\bb['\"]", said):  # Pillow shows the bytes that it cannot read
        said = _BROKEN
    return InputError.of(str(path), f"cannot be read as a picture: {said}")


@contextlib.contextmanager
def opened_picture(pillow: Any, source: Any, formats: Sequence[str]) -> Iterator[Any]:
    """Open a picture in one of the given formats; too many pixels are an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        with pillow.open(source, formats=formats) as opened:
            yield opened


def load_pillow() -> Any:
    """Return the module ``PIL.Image`` with all formats, raise InputError if it is missing."""
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe", "needs Pillow", 'type: pip install "activation-runner[images]"'
        ) from error
    pillow.init()
    return pillow
