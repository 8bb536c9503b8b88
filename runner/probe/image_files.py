"""A folder of pictures as a probe."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runner.config.probe_config import ImagesConfig
from runner.errors import InputError, first_line
from runner.probe.memory_sources import categories, identifiers, numbers_or_text
from runner.probe.probe import Batch, Probe
from runner.tensors import InputSpec

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_BLOCK = 32
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def images(config: ImagesConfig, expected: Sequence[InputSpec]) -> Probe:
    """Return the pictures of a folder, resized to what the model takes.

    They come sorted by their path, which is their sample id; the folder inside `path` that
    holds one is its label. The rotation noted by a camera is applied, colours are brought
    to the model's channels, the size by bilinear interpolation, and pixels to 0-1 or left
    at 0-255.
    """
    folder = Path(config.path)
    if not folder.is_dir():
        raise InputError.of("probe.path", f"no folder '{config.path}' (looked in {Path.cwd()})")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.name[0] != "." and path.is_file()
    )
    if not paths:
        raise InputError.of("probe.path", f"no pictures in '{config.path}'")
    shape = expected[0].shape if len(expected) == 1 else ()
    if len(shape) != 3 or shape[-1] not in _MODES or None in shape:
        raise InputError.of(
            "probe",
            "pictures go to a model with one input of height x width x channels (1, 3 or 4)",
            "give the model a fixed input size",
        )
    height, width, channels = (int(axis) for axis in shape if axis is not None)
    pillow, ops = _pillow()
    names = [path.relative_to(folder).as_posix() for path in paths]
    labels = categories(numbers_or_text([name.rpartition("/")[0] for name in names]), "probe")
    ids = identifiers(names, "probe")
    labelled = all("/" in name for name in names)
    scale = 255.0 if config.scale == "0-1" else 1.0

    def pixels(path: Path) -> np.ndarray:
        try:
            with warnings.catch_warnings(), pillow.open(path) as opened:
                warnings.simplefilter("ignore")  # of notes beside the pixels
                deep = opened.mode if opened.mode.startswith(("I", "F")) else ""
                picture = ops.exif_transpose(opened).convert(_MODES[channels])
                picture = picture.resize((width, height), pillow.Resampling.BILINEAR)
        except Exception as error:  # what a broken picture raises has no common class
            why = first_line(error)
            raise InputError.of(str(path), f"cannot be read as a picture: {why}") from error
        if deep:
            raise InputError.of(str(path), f"has pixels of more than 8 bits ({deep})", "convert it")
        array = np.asarray(picture, dtype="float32") / np.float32(scale)
        return array.reshape(height, width, channels)

    def blocks() -> Iterator[Batch]:
        for start in range(0, len(paths), _BLOCK):
            rows = slice(start, start + _BLOCK)
            shown = np.stack([pixels(path) for path in paths[rows]])
            yield Batch(ids[rows], shown, labels[rows] if labelled else None)

    source = f"images {config.path}, bilinear, {config.scale}"
    inputs = (InputSpec(expected[0].name, (height, width, channels)),)
    return Probe(source, inputs, blocks, len(paths), "string", labelled)


def _pillow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageOps")
    except ModuleNotFoundError as error:
        raise InputError.of(
            "probe", "needs Pillow", 'type: pip install "activation-runner[images]"'
        ) from error
