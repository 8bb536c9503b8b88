"""Probes from folders of pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from runner.config.references import InputFile, InputFolder
from runner.errors import InputError
from runner.model.backend import load_backend
from runner.probe.batch import Batch
from runner.probe.label_table import joined_labels
from runner.probe.picture_files import Picture, broken_picture, listed, load_pillow, opened_picture
from runner.probe.probe import Probe
from runner.probe.sample_ids import categories, identifiers, numbers_or_text
from runner.probe.source import ProbeSource
from runner.regular_files import folder as existing_folder
from runner.sizes import readable
from runner.tensors import InputSpec

_BLOCK = 32
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ORIENTATION = 0x0112
_LARGEST = 2**30  # bytes of a picture's file


class ImagesConfig(ProbeSource):
    """A folder of pictures, labelled by default with the name of the subfolder that holds them."""

    order = 60
    examples: ClassVar = {
        "path": "probe=images probe.path=photos",
        "labels": "probe.labels=labels.csv",
        "file_column": "probe.file_column=picture",
        "label_column": "probe.label_column=species",
        "id_column": "probe.id_column=number",
        "scale": "probe.scale=0-255",
        "interpolation": "probe.interpolation=bicubic",
        "fit": "probe.fit=crop",
        "exif_rotation": "probe.exif_rotation=true",
    }

    source: Literal["images"]
    path: InputFolder
    """The folder."""
    labels: InputFile | None = None
    """A CSV or Parquet table of labels, and optionally of ids, joined by file name; `null`: the
    name of the folder that holds a picture is its label.
    """
    file_column: str | None = None
    """Column of file names in that table; `null`: `file` if there is one, else the first."""
    label_column: str | None = None
    """Column of labels in that table; `null`: `label` if there is one."""
    id_column: str | None = None
    """Column of sample ids in that table; `null`: `id` if there is one, else the picture's path."""
    scale: Literal["0-1", "0-255"] = "0-1"
    """Range of the pixel values: as Keras reads them (`0-255`), or divided by 255."""
    interpolation: Literal[
        "bilinear",
        "nearest",
        "bicubic",
        "area",
        "lanczos3",
        "lanczos5",
        "gaussian",
        "mitchellcubic",
    ] = "bilinear"
    """Method of resizing, as in `keras.utils.image_dataset_from_directory`."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How other proportions are fitted, as by `crop_to_aspect_ratio` or `pad_to_aspect_ratio`."""
    exif_rotation: bool = False
    """Whether to apply the rotation in a picture's EXIF data, which Keras ignores."""

    def open(self, expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the pictures of a folder, resized to the input size of the model.

        Formats are recognized by content. Pictures are sorted by path; the path is the sample id,
        and the folder below `path` is the label, unless a table gives others. For formats of
        `keras.utils.image_dataset_from_directory`, values are bit-for-bit identical to those of
        that function (with ``scale: 0-1``, divided by 255); other formats are decoded by Pillow
        and resized in the same way.

        Raises
        ------
        InputError
            If there is no picture, a picture is damaged, or the model does not take pictures.
        """
        folder = existing_folder(self.path, "probe.path")
        height, width, channels = _size(expected)
        pillow = load_pillow()
        table = None if self.labels is None else Path(self.labels)
        pictures, notes = listed(pillow, folder, table)
        ids, labels = _ids_and_labels(self, table, [picture.name for picture in pictures])
        decoder = _Decoder(pillow, self, height, width, channels)

        def blocks() -> Iterator[Batch]:
            for start in range(0, len(pictures), _BLOCK):
                rows = slice(start, start + _BLOCK)
                shown = np.stack([decoder.pixels(picture) for picture in pictures[rows]])
                yield Batch(ids[rows], shown, None if labels is None else labels[rows])

        source = f"images {self.path}, {self.interpolation}, {self.scale}"
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

    def pixels(self, picture: Picture) -> np.ndarray:
        """Return the pixels of a picture: shape (height, width, channels), float32."""
        load_backend()  # not earlier, so that mistakes in the files are reported sooner
        from runner.probe.decoding import resized

        config = self._config
        try:
            array = self._decoded(picture)
        except InputError:
            raise
        except Exception as error:  # what a broken picture raises has no common class
            raise broken_picture(picture.path, error) from error
        shown = resized(array, *self._size, config.interpolation, config.fit)
        return shown / np.float32(255) if config.scale == "0-1" else shown

    def _decoded(self, picture: Picture) -> np.ndarray:
        from runner.probe.decoding import decoded

        if (size := picture.path.stat().st_size) > _LARGEST:
            message = f"has {readable(size)}, the limit of a picture is {readable(_LARGEST)}"
            raise InputError.of(str(picture.path), message)
        data = picture.path.read_bytes()
        # Pillow recognizes an MPO, a JPEG followed by further pictures, as a JPEG.
        kind = "JPEG" if picture.format == "MPO" else picture.format
        with opened_picture(self._pillow, io.BytesIO(data), [kind]) as opened:
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
        ids, labels = joined_labels(
            table, names, config.file_column, config.label_column, config.id_column
        )
    elif all("/" in name for name in names):
        labels = numbers_or_text([name.rpartition("/")[0] for name in names])
    return (
        identifiers(names if ids is None else ids, "probe"),
        None if labels is None else categories(labels, "probe"),
    )
