"""Probes from folders of pictures."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.config.probe_config import ImagesConfig
from runner.errors import InputError, Problem, first_line, some
from runner.model.backend import load_backend
from runner.probe.label_table import joined_labels
from runner.probe.probe import Batch, Probe
from runner.probe.sample_ids import categories, identifiers, numbers_or_text
from runner.regular_files import folder as existing_folder
from runner.regular_files import what_it_is
from runner.tensors import InputSpec

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
_BLOCK = 32
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 0x0112
_MOST_NAMES = 100


@dataclass(frozen=True)
class _Picture:
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


def images(config: ImagesConfig, expected: Sequence[InputSpec]) -> Probe:
    """Return the probe of the pictures of a folder, resized to the input size of the model.

    Formats are recognized by content. Pictures are sorted by path; the path is the sample id,
    and the folder below `config.path` is the label, unless a table gives others. For formats of
    `keras.utils.image_dataset_from_directory`, values are bit-for-bit identical to those of
    that function (with ``scale: 0-1``, divided by 255); other formats are decoded by Pillow
    and resized in the same way.

    Raises
    ------
    InputError
        If there is no picture, a picture is damaged, or the model does not take pictures.
    """
    folder = existing_folder(config.path, "probe.path")
    height, width, channels = _size(expected)
    pillow = _pillow()
    table = None if config.labels is None else Path(config.labels)
    pictures, notes = _listed(pillow, folder, table)
    ids, labels = _ids_and_labels(config, table, [picture.name for picture in pictures])
    decoder = _Decoder(pillow, config, height, width, channels)

    def blocks() -> Iterator[Batch]:
        for start in range(0, len(pictures), _BLOCK):
            rows = slice(start, start + _BLOCK)
            shown = np.stack([decoder.pixels(picture) for picture in pictures[rows]])
            yield Batch(ids[rows], shown, None if labels is None else labels[rows])

    source = f"images {config.path}, {config.interpolation}, {config.scale}"
    inputs = (InputSpec(expected[0].name, (height, width, channels)),)
    return Probe(
        source,
        inputs,
        blocks,
        len(pictures),
        "string" if ids.dtype == object else "int64",
        labels is not None,
        notes=notes,
    )


class _Decoder:
    """Decodes pictures into the pixels that a model takes."""

    def __init__(
        self, pillow: Any, config: ImagesConfig, height: int, width: int, channels: int
    ) -> None:
        self._pillow = pillow
        self._config = config
        self._size = (height, width)
        self._channels = channels

    def pixels(self, picture: _Picture) -> np.ndarray:
        """Return the pixels of a picture: shape (height, width, channels), float32."""
        load_backend()  # not earlier, so that mistakes in the files are reported sooner
        from runner.probe.decoding import resized

        config = self._config
        try:
            array = self._decoded(picture)
        except InputError:
            raise
        except Exception as error:  # what a broken picture raises has no common class
            raise _unreadable(picture.path, error) from error
        shown = resized(array, *self._size, config.interpolation, config.fit)
        return shown / np.float32(255) if config.scale == "0-1" else shown

    def _decoded(self, picture: _Picture) -> np.ndarray:
        from runner.probe.decoding import decoded

        data = picture.path.read_bytes()
        # Pillow recognizes an MPO, a JPEG followed by further pictures, as a JPEG.
        kind = "JPEG" if picture.format == "MPO" else picture.format
        with _opened(self._pillow, io.BytesIO(data), [kind]) as opened:
            try:
                array = decoded(data, picture.format, opened.mode, self._channels)
            except ValueError:
                opened.load()  # Pillow may raise a more specific error
                raise
            if array is None:
                # Pillow would clip the values of a picture of more than 8 bits.
                if opened.mode.startswith(("I", "F")):
                    raise InputError.of(
                        str(picture.path),
                        f"has pixels of more than 8 bits ({opened.mode})",
                        "convert it to 8 bits",
                    )
                array = np.asarray(opened.convert(_MODES[self._channels]))
                array = array.reshape(*array.shape[:2], self._channels)
            if self._config.exif_rotation:
                array = _upright(array, opened.getexif().get(_ORIENTATION, 1))
        return array


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels rotated and mirrored according to an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):  # rows and columns are swapped
        array = array.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(array[::rows, ::columns])


def _listed(
    pillow: Any, folder: Path, table: Path | None
) -> tuple[list[_Picture], tuple[str, ...]]:
    """Return the pictures below a folder, and notes about the other files."""
    pictures: list[_Picture] = []
    left_out: list[str] = []
    cut: list[str] = []
    problems: list[Problem] = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        hidden = any(part[0] == "." or part.lower() in _LEFT_BY_SYSTEMS for part in below.parts)
        if hidden or path.is_dir() or (table is not None and table.resolve() == path.resolve()):
            continue
        name = below.as_posix()
        try:
            format, pages = _identified(pillow, path) if path.is_file() else ("", False)
        except InputError as error:
            problems += error.problems
            continue
        if not format:
            left_out.append(name)
            continue
        pictures.append(_Picture(path, name, format))
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
            warnings.warn(said + some(names), UserWarning, stacklevel=4)
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
        with _opened(pillow, path, formats) as opened:
            # Only for formats with pages, since `is_animated` may read the whole file.
            several = opened.format in _OF_PAGES and getattr(opened, "is_animated", False)
            return opened.format, several
    except pillow.UnidentifiedImageError as error:
        what = what_it_is(path)
        if "a picture" in what:
            raise _unreadable(path, ValueError("it is incomplete or damaged")) from error
        if named in known:
            why = f"expected a picture, {what}"
            raise InputError.of(str(path), why, "replace it, or move it away") from error
        return "", False
    except Exception as error:  # what a broken picture raises has no common class
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError.of(str(path), f"cannot be read as a picture: {first_line(error)}")


@contextlib.contextmanager
def _opened(pillow: Any, source: Any, formats: Sequence[str]) -> Iterator[Any]:
    """Open a picture in one of the given formats; too many pixels are an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        with pillow.open(source, formats=formats) as opened:
            yield opened


def _size(expected: Sequence[InputSpec]) -> tuple[int, int, int]:
    """Return height, width and channels of the single input of a model."""
    shape = expected[0].shape if len(expected) == 1 else ()
    if len(shape) != 3 or shape[-1] not in _MODES or None in shape:
        raise InputError.of(
            "probe",
            "pictures need a model with one input of height x width x channels (1, 3 or 4)",
            "give the model a fixed input size",
        )
    height, width, channels = (int(axis) for axis in shape if axis is not None)
    return height, width, channels


def _ids_and_labels(
    config: ImagesConfig, table: Path | None, names: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    ids: list[Any] | None = None
    labels: list[Any] | None = None
    if table is not None:
        ids, labels = joined_labels(config, table, names)
    elif all("/" in name for name in names):
        labels = numbers_or_text([name.rpartition("/")[0] for name in names])
    return (
        identifiers(names if ids is None else ids, "probe"),
        None if labels is None else categories(labels, "probe"),
    )


def _pillow() -> Any:
    try:
        pillow = importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe", "needs Pillow", 'type: pip install "activation-runner[images]"'
        ) from error
    pillow.init()
    return pillow
