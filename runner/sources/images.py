"""Probes from folders of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np

from runner.config.references import ProbeFile
from runner.errors import InputError
from runner.given_files import GivenFile, given_file, opened_ahead
from runner.given_folders import given_folder
from runner.probe.batch import Batch
from runner.probe.label_table import joined_labels
from runner.probe.picture_files import Picture, PictureFolder, listed, load_pillow, opened_picture
from runner.probe.pictures import (
    LARGEST,
    SET_SIZE,
    PictureDecoder,
    PictureSource,
    declared_size,
    shown_size,
)
from runner.probe.probe import Probe
from runner.probe.sample_ids import categories, identifiers, numbers_or_text
from runner.sizes import readable
from runner.tensors import InputSpec, shape_text

_BLOCK = 32


class ImagesConfig(PictureSource):
    """A folder of pictures, labelled by default with the name of the subfolder that holds them."""

    order = 60
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=images probe.path=photos",
        "labels": "probe.labels=labels.csv",
        "file_column": "probe.file_column=picture",
        "label_column": "probe.label_column=species",
        "id_column": "probe.id_column=number",
        **PictureSource.examples,
    }

    source: Literal["images"]
    path: PictureFolder
    """The folder."""
    labels: ProbeFile | None = None
    """A CSV or Parquet table of labels, and optionally of ids, joined by file name; `null`: the
    name of the folder that holds a picture is its label.
    """
    file_column: str | None = None
    """Column of file names in that table; `null`: `file` if there is one, else the first."""
    label_column: str | None = None
    """Column of labels in that table; `null`: `label` if there is one."""
    id_column: str | None = None
    """Column of sample ids in that table; `null`: `id` if there is one, else the picture's path."""

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
        folder = given_folder(self.path, "probe.path")
        size, is_first = declared_size(expected, self)
        pillow = load_pillow()
        table = None
        if self.labels is not None:
            table = given_file(self.labels, "probe.labels", whole=True)
        pictures, notes = listed(pillow, folder, table)
        size = size or _common_size(pillow, pictures, self.exif_rotation)
        ids, labels = _ids_and_labels(self, table, [picture.name for picture in pictures])
        decoder = PictureDecoder(pillow, self, size, is_first)

        def blocks(first: int = 0) -> Iterator[Batch]:
            for start in range(first, len(pictures), _BLOCK):
                rows = slice(start, start + _BLOCK)
                shown = decoder.batch([*_pixels(decoder, pictures[rows])])
                yield Batch(ids[rows], shown, None if labels is None else labels[rows])

        return Probe(
            f"images {self.path}, {self.said}",
            (decoder.spec(expected),),
            blocks,
            len(pictures),
            "string" if ids.dtype == object else "int64",
            labels is not None,
            notes=notes,
            seek=blocks,
        )


def _pixels(decoder: PictureDecoder, pictures: Sequence[Picture]) -> Iterator[np.ndarray]:
    with opened_ahead(picture.file for picture in pictures) as files:
        for picture, file in zip(pictures, files, strict=True):
            if (size := picture.file.size) > LARGEST:
                message = f"has {readable(size)}, the limit of a picture is {readable(LARGEST)}"
                raise InputError.of(picture.file.place, message)
            yield decoder.pixels(file, picture.file.place, [picture.format])


def _common_size(pillow: Any, pictures: Sequence[Picture], rotate: bool) -> tuple[int, int, int]:
    """Return the size of all pictures, for a model that declares none: gray ones have 1 channel."""
    sizes: dict[tuple[int, int], str] = {}
    are_gray = True
    with opened_ahead(picture.file for picture in pictures) as files:
        for picture, file in zip(pictures, files, strict=True):
            with opened_picture(pillow, file, [picture.format], picture.file.place) as opened:
                height, width, is_gray = shown_size(opened, rotate)
                sizes.setdefault((height, width), picture.name)
                are_gray &= is_gray
    if len(sizes) > 1:
        examples = (f"{name} {shape_text(size)}" for size, name in sizes.items())
        message = "the model declares no input, and the pictures differ in size: "
        raise InputError.of("probe", message + ", ".join(islice(examples, 2)), SET_SIZE)
    [(height, width)] = sizes
    return height, width, 1 if are_gray else 3


def _ids_and_labels(
    config: ImagesConfig, table: GivenFile | None, names: list[str]
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
